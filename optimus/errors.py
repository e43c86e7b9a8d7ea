"""Errors that are messages for the user, and the checks that raise them.

Every error with one clear line (what, where, what would be right) is a `UserError`. Commands show
its message without a traceback and end with its exit code.
"""

import math
import numbers

LONGEST = 4000  # characters of a message
MANY = 10**12  # bound of counts that cost nothing by being large, such as updates


class UserError(Exception):
    """An error whose message is one clear line for the user.

    Attributes:
      exit_code: of the command that it ends. 1: work that failed; 2: a wrong name or value.
      final: another start would meet it again, so a node of a program is not restarted.
    """

    exit_code = 1
    final = False

    def __str__(self) -> str:
        line = printable(super().__str__(), keep="")
        half = LONGEST // 2
        return line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}"


class ConfigError(UserError, ValueError):
    """A name, value or configuration that cannot be used."""

    exit_code = 2
    final = True


def printable(text: str, keep: str = "\n\t") -> str:
    """A text that others may have written (a host, a file, a name), fit for a terminal: what steers
    one, ends a line or turns the order of letters around is escaped, but for what is to be kept."""
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def require(condition: bool, message: str) -> None:
    """Raises `ConfigError` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def require_positive(value: float, where: str, most: float = math.inf) -> None:
    """Raises `ConfigError` unless the value is positive, finite and at most `most`."""
    wanted = f"want > 0 and {'finite' if most == math.inf else f'at most {most:g}'}"
    good = _is_number(value) and 0 < value <= most and value < math.inf
    require(good, f"{where}: got {value!r}, {wanted}")


def require_within(value: float, least: float, most: float, where: str) -> None:
    """Raises `ConfigError` unless the value is a finite number in least ... most.

    Args:
      value: to be checked. least, most: its bounds, of which `most` may be infinite.
      where: names it.
    """
    good = _is_number(value) and least <= value <= most and value < math.inf
    wanted = f"within [{least:g}, {most:g}]" if most < math.inf else f">= {least:g} and finite"
    require(good, f"{where}: got {value!r}, want {wanted}")


def require_size(value: int, where: str, least: int, most: int) -> None:
    """Raises `ConfigError` unless the value is an integer in least ... most.

    Args:
      value: to be checked. where: names it.
      least, most: its bounds.
    """
    good = isinstance(value, int) and not isinstance(value, bool) and least <= value
    require(good, f"{where}: got {value!r}, want an integer of at least {least}")
    require(value <= most, f"{where}: got {value!r}, want at most {most}")


def require_whole(config: object, where: str, **bounds: int | tuple[int, int]) -> None:
    """Raises `ConfigError` unless fields of `config` are integers within their bounds.

    Args:
      config: a part of a configuration. where: its name, or "".
      **bounds: by field, (least, most), or the least alone of what may be large.
    """
    for field, bound in bounds.items():
        bounds_of = bound if isinstance(bound, tuple) else (bound, MANY)
        require_size(getattr(config, field), f"{where}.{field}".removeprefix("."), *bounds_of)


def require_known(value: str, known: tuple[str, ...], where: str) -> None:
    """Raises `ConfigError` unless the value is one of those known."""
    require(value in known, f"{where}: got {value!r}, want one of {', '.join(known)}")
