"""What hosts answer. A host may be compromised: what it says is data of the shape that was asked
for, without characters that steer a terminal, or it is a problem of that host."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.fleet import RUN
from optimus.errors import LONGEST, printable
from optimus.files import parse_json

_MOST = 10_000  # processes of a host, each with a log


@dataclass(frozen=True)
class Answer:
    """What one host said: `problem`, one line, is empty and `data` its JSON, or the other way
    round."""

    problem: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "problem", printable(self.problem, keep="")[:500])
        object.__setattr__(self, "data", _clean(self.data))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, keep="\t")
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list) else value


def parsed(text: str) -> Answer:
    """The answer in a host's JSON."""
    try:
        data = parse_json(text)
        return Answer(str(data.get("error", "")), data)
    except (ValueError, AttributeError):
        return Answer("its answer is not a JSON object")


def checked(action: str, answer: Answer) -> Answer:
    """The values that the action answers with, or a problem where one is not of the type or size
    that it can have."""
    if answer.problem:
        return answer
    shapes = _SHAPES[action]
    wrong = _wrong(answer.data, shapes)
    data = {key: answer.data.get(key) for key in (each.removesuffix("?") for each in shapes)}
    return Answer(f"its answer cannot be: {', '.join(wrong)}") if wrong else Answer("", data)


def _wrong(record: Mapping[str, Any], shapes: Mapping[str, Any]) -> list[str]:
    """The keys whose values have another shape; one with a "?" may be missing or None."""
    found = []
    for key, shape in shapes.items():
        value = record.get(key.removesuffix("?"))
        if not (_fits(value, shape) or (value is None and key.endswith("?"))):
            found.append(key.removesuffix("?"))
    return found


def _fits(value: Any, shape: Any) -> bool:
    """Whether a value is of a kind, an integer in [least, most], a list of what "[]" says, or an
    object: of what "*" says, or a record."""
    if isinstance(shape, str):
        return _KINDS[shape](value)
    if isinstance(shape, list):
        return type(value) is int and shape[0] <= value <= shape[1]
    if "[]" in shape:
        return isinstance(value, list) and all(_fits(each, shape["[]"]) for each in value)
    if "*" in shape:
        few = isinstance(value, dict) and len(value) <= _MOST
        return few and all(_fits(k, "text") and _fits(v, shape["*"]) for k, v in value.items())
    return isinstance(value, dict) and not _wrong(value, shape)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str) and len(value) <= LONGEST,
    "line": lambda value: isinstance(value, str),  # cut where it is printed
    "flag": lambda value: isinstance(value, bool),
    "name": lambda value: isinstance(value, str) and bool(re.fullmatch(RUN[0], value)),
    "number": lambda value: type(value) in (int, float) and 0 <= value < 1e15,  # no NaN
}
# Action -> key -> its shape. A run is as `start` left it there; an earlier version's lacks "own"
# and "usable".
_SHAPES = json.loads(Path(__file__).with_name("answers.json").read_text(encoding="utf-8"))
