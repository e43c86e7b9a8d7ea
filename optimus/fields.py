"""Fields of configurations that say which values they take, and the check of them all.

@dataclass(frozen=True)
class Part:
    steps: int = whole(5, 1, 100)  # 5, of 1 ... 100
    form: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        check_fields(self, "part")  # "part.steps: got 0, want an integer of at least 1"
"""

import dataclasses
import math
import typing
from typing import Any

from optimus import errors


def required(kind: Any) -> list[str]:
    """The fields of a dataclass that have no default."""
    none = dataclasses.MISSING
    fields = dataclasses.fields(kind)
    return [each.name for each in fields if each.default is each.default_factory is none]


def whole(default: Any, least: int = 0, most: int = errors.MANY) -> Any:
    """An integer in least ... most, or None where that is the default."""
    return dataclasses.field(default=default, metadata={"whole": (least, most)})


def within(default: float, least: float = 0.0, most: float = math.inf) -> Any:
    """A finite number in least ... most."""
    return dataclasses.field(default=default, metadata={"within": (least, most)})


def check_fields(config: Any, where: str) -> None:
    """Raises `ConfigError` unless each field has a value that it takes: of a `Literal` a choice, of
    a bool true or false, and what `whole` and `within` say.

    Args:
      config: a part of a configuration, a dataclass. where: its name in messages, or "".
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), f"{where}.{field.name}".removeprefix(".")
        hint, says = hints[field.name], field.metadata
        if hint is bool:
            errors.require(isinstance(value, bool), f"{path}: got {value!r}, want true or false")
        elif typing.get_origin(hint) is typing.Literal:
            errors.require_known(value, typing.get_args(hint), path)
        elif "within" in says:
            least, most = says["within"]
            errors.require_within(value, least, most, path)
        elif "whole" in says and (value is not None or field.default is not None):
            errors.require_whole(config, where, **{field.name: says["whole"]})
