"""Frozen dataclasses out of JSON values, strictly: unknown keys and wrong types are one line."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from optimus.errors import ConfigError, require_known
from optimus.fields import required


def convert(value: Any, annotation: Any, where: str) -> Any:
    """The value as the annotation wants it; raises `ConfigError`.

    Of a union of dataclasses, the value's "kind" chooses: the one whose `kind` (a field's default,
    else what `KINDS` says) is that; a dataclass without either is the choice where there is no
    "kind".
    """
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        choices = typing.get_args(annotation)
        if value is None and type(None) in choices:
            return None
        inner = [choice for choice in choices if choice is not type(None)]
        if len(inner) > 1:
            return _chosen(value, inner, where)
        return convert(value, inner[0], where)
    if origin is Literal:
        require_known(value, typing.get_args(annotation), where)
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: got {value!r}, want a list")
        item = typing.get_args(annotation)[0]
        return tuple(convert(each, item, f"{where}.{k}") for k, each in enumerate(value))
    if dataclasses.is_dataclass(annotation):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: got {value!r}, want an object")
        return build(typing.cast(type, annotation), value, where)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: the number is too large") from None
    if not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: got {value!r}, want {annotation.__name__}")
    return value


def _chosen(value: Any, choices: list[Any], where: str) -> Any:
    by_kind = {getattr(c, "kind", KINDS.get(c.__name__)): c for c in choices}
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind not in list(by_kind) or not isinstance(value, Mapping):  # a list has no hash
        known = sorted(name for name in by_kind if name is not None)
        raise ConfigError(f"{where}.kind: got {kind!r}, want one of {known}")
    cls = by_kind[kind]
    if not hasattr(cls, "kind"):
        value = {key: each for key, each in value.items() if key != "kind"}
    return build(cls, value, where)


KINDS = {"AdafactorMlpConfig": "adafactor_mlp"}  # dataclasses that do not say it themselves


def build(cls: type, values: Mapping[str, Any], where: str = "") -> Any:
    """The dataclass with these values; what is missing takes its default."""
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    arguments = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else key
        if key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
            raise ConfigError(f"unknown key {path!r}{hint}")
        arguments[key] = convert(value, hints[key], path)
    try:
        return cls(**arguments)
    except TypeError:
        missing = [name for name in required(cls) if name not in arguments]
        raise ConfigError(f"{where or 'config'}: missing {', '.join(missing)}") from None
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where or 'config'}: {error}") from None
