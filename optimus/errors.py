"""Errors that are messages for the user, and the checks that raise them.

Every error with one clear line (what, where, what would be right) is a `UserError`. Commands show
its message without a traceback and end with its exit code.
"""

import math


class UserError(Exception):
    """An error whose message is one clear line for the user.

    Attributes:
      exit_code: of the command that it ends. 1: work that failed; 2: a wrong name or value.
      final: another start would meet it again, so a node of a program is not restarted.
    """

    exit_code = 1
    final = False


class ConfigError(UserError, ValueError):
    """A name, value or configuration that cannot be used."""

    exit_code = 2
    final = True


def printable(text: str, keep: str = "\n\t") -> str:
    """A text that others may have written (a host, a file, a name), fit for a terminal: what steers
    one, ends a line or turns the order of letters around becomes a space, but for those to keep."""
    return "".join(c if c.isprintable() or c in keep else " " for c in text)


def require(condition: bool, message: str) -> None:
    """Raises `ConfigError` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def require_positive(value: float, where: str) -> None:
    """Raises `ConfigError` unless the value is positive and finite."""
    require(0 < value < math.inf, f"{where}: got {value}, want > 0 and finite")


def require_at_least(value: float, least: float, where: str) -> None:
    """Raises `ConfigError` unless the value is finite and no less than `least`."""
    require(least <= value < math.inf, f"{where}: got {value}, want >= {least} and finite")


def require_each(config: object, where: str, **least: float) -> None:
    """`require_at_least` of fields of `config`, a part of a configuration that `where` names."""
    for field, bound in least.items():
        require_at_least(getattr(config, field), bound, f"{where}.{field}".removeprefix("."))


def require_known(value: str, known: tuple[str, ...], where: str) -> None:
    """Raises `ConfigError` unless the value is one of those known."""
    require(value in known, f"{where}: got {value!r}, want one of {', '.join(known)}")
