"""What hosts answer. A host may be compromised: what it says is data of the shape that was asked
for, without characters that steer a terminal, or it is a problem of that host."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from launch.fleet import RUN
from optimus.errors import printable
from optimus.files import parse_json

_Check = Callable[[Any], bool]


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
    data = {key: answer.data.get(key) for key in _SHAPES[action]}
    wrong = [key for key, fits in _SHAPES[action].items() if not fits(data[key])]
    return Answer(f"its answer cannot be: {', '.join(wrong)}") if wrong else Answer("", data)


def _is(kind: type) -> _Check:
    return lambda value: type(value) is kind


def _count(least: int, most: int) -> _Check:
    return lambda value: type(value) is int and least <= value <= most


def _name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(RUN[0], value) is not None


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e300  # no NaN


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _list(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _each(check: _Check) -> _Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _record(**checks: _Check) -> _Check:
    return lambda value: (
        isinstance(value, dict) and all(fits(value.get(key)) for key, fits in checks.items())
    )


_TEXT, _WORKERS = _is(str), _count(0, 2**31)
_RUN = _record(  # as `start` left it there; an earlier version's lacks the last two
    run=_name, role=_TEXT, workers=_WORKERS, own=_or_none(_WORKERS), usable=_or_none(_WORKERS)
)
_WATCH = _record(evaluations_per_second=_or_none(_number), checkpoint_age=_or_none(_number))
# action -> key -> what it can be; where it may be missing, that is None
_SHAPES: Mapping[str, Mapping[str, _Check]] = {
    "look": {
        "unfit": _TEXT,
        "free": _count(0, 2**62),
        "cores": _count(1, 4096),
        "deployed": _or_none(_TEXT),
        "run": _or_none(_RUN),
        "alive": _is(bool),
        "programs": _each(_TEXT),
        "taken": _list(_count(0, 65535)),
        "watch": _or_none(_WATCH),
    },
    "install": {},
    "start": {"finished": _or_none(_TEXT)},
    "stop": {"stopped": _or_none(_name), "killed": _count(0, 2**31)},
    "logs": {"logs": _each(_list(_TEXT))},
    "pack": {"run": _or_none(_name), "file": _or_none(_TEXT), "id": _or_none(_TEXT)},
}
