"""The one configuration of a run: frozen dataclasses, strict JSON in and out.

Every runner (`inprocess`, `local_mt`, `local_mp`, fleets) reads the same `TrainConfig`. Values are
checked when the object is made, so a bad configuration is one clear line before anything starts.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from optimus.architecture import OptimizerConfig
from optimus.tasks import FAMILIES


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line for the user."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_positive(value: float, where: str) -> None:
    _require(0 < value < math.inf, f"{where}: got {value}, want > 0 and finite")


@dataclass(frozen=True)
class AnalyticTask:
    """A closed-form JAX loss: evaluated inside the actor, a whole window in one compiled scan."""

    kind: str = "analytic"
    family: str = "quadratic"  # a name in `optimus.tasks.FAMILIES`
    dim: int = 10  # N, number of coordinates

    def __post_init__(self) -> None:
        _require(self.kind == "analytic", f"task.kind: got {self.kind!r}, want 'analytic'")
        _require(
            self.family in FAMILIES,
            f"task.family: got {self.family!r}, want one of {', '.join(sorted(FAMILIES))}",
        )
        _require(self.dim >= 1, f"task.dim: got {self.dim}, want at least 1")


@dataclass(frozen=True)
class PhysicsTask:
    """Motion reconstruction (optimus fact sheet, section 11): served by physics workers.

    Every window is drawn from the clips of `split`, a table fixed in `workers.physics.motion`.
    """

    kind: str = "physics"
    split: str = "train"
    seconds: float = 0.25  # window length, s
    control: str = "pd"  # "pd": x offsets PD targets; "torque": x is joint torque
    control_rate: float = 30.0  # controls per second and joint
    dt: float = 1.0 / 240.0  # simulation step, s

    def __post_init__(self) -> None:
        _require(self.kind == "physics", f"task.kind: got {self.kind!r}, want 'physics'")
        _require(
            self.control in ("pd", "torque"),
            f"task.control: got {self.control!r}, want 'pd' or 'torque'",
        )
        for name in ("seconds", "control_rate", "dt"):
            _require_positive(getattr(self, name), f"task.{name}")
        _require(self.dt <= 1 / 60, f"task.dt: got {self.dt} s, want at most 1/60 s")


ESTIMATORS = ("pes", "nres", "full_es", "truncated_es")
Task = AnalyticTask | PhysicsTask
_TASK_KINDS: dict[str, type] = {"analytic": AnalyticTask, "physics": PhysicsTask}


@dataclass(frozen=True)
class Estimator:
    """An evolution strategy over truncated unrolls; the defaults are the paper's (Table 3)."""

    kind: str = "pes"  # or "nres", "full_es", "truncated_es": see `optimus.estimators`
    sigma: float = 0.01  # standard deviation of the perturbation of every weight
    noise: str = "gaussian"  # or "rademacher"
    truncation: int = 5  # inner steps per window: one sample each
    horizon: int = 50  # inner steps per episode

    def __post_init__(self) -> None:
        _require(
            self.kind in ESTIMATORS,
            f"estimator.kind: got {self.kind!r}, want one of {', '.join(ESTIMATORS)}",
        )
        _require_positive(self.sigma, "estimator.sigma")
        _require(
            self.noise in ("gaussian", "rademacher"),
            f"estimator.noise: got {self.noise!r}, want 'gaussian' or 'rademacher'",
        )
        _require(self.truncation >= 1, f"estimator.truncation: got {self.truncation}, want >= 1")
        _require(
            self.horizon >= self.truncation and self.horizon % self.truncation == 0,
            f"estimator.horizon: got {self.horizon}, want a multiple of truncation "
            f"({self.truncation}): episodes end only at window boundaries",
        )

        _require(
            self.kind != "full_es" or self.truncation == self.horizon,
            f"estimator.truncation: got {self.truncation}, want horizon ({self.horizon}): full_es "
            "scores whole episodes",
        )

    @property
    def windows(self) -> int:
        """Windows in one episode."""
        return self.horizon // self.truncation


@dataclass(frozen=True)
class MetaOptimizer:
    """Clipped Adam on the weights (paper supplement, section on meta-training)."""

    learning_rate: float = 5e-4
    clip_norm: float = 3.0  # global norm of the estimate
    batch: int = 20  # samples per update, one antithetic pair each

    def __post_init__(self) -> None:
        _require_positive(self.learning_rate, "meta.learning_rate")
        _require_positive(self.clip_norm, "meta.clip_norm")
        _require(self.batch >= 1, f"meta.batch: got {self.batch}, want >= 1")


@dataclass(frozen=True)
class Layout:
    """How many of each role, and how lanes are grouped.

    A group of lanes is one vmapped program; an actor steps one group while another group's losses
    are in flight. Grouping changes rounding, so it belongs to the configuration, not to the runner.
    """

    actors: int = 1
    groups: int = 2  # lane groups per actor
    lanes: int = 10  # lanes per group
    workers: int = 2  # physics workers; analytic losses need none

    def __post_init__(self) -> None:
        for name in ("actors", "groups", "lanes"):
            _require(
                getattr(self, name) >= 1, f"layout.{name}: got {getattr(self, name)}, want >= 1"
            )
        _require(self.workers >= 0, f"layout.workers: got {self.workers}, want >= 0")

    @property
    def total_lanes(self) -> int:
        """Lanes over all actors."""
        return self.actors * self.groups * self.lanes


@dataclass(frozen=True)
class Evaluation:
    """The fixed evaluation set: tasks that no training episode uses, the same for every run."""

    tasks: int = 16
    steps: int = 50
    split: str = "validation"  # of motion clips; analytic families use keys of their own
    seed: int = 20221201

    def __post_init__(self) -> None:
        _require(self.tasks >= 2, f"evaluation.tasks: got {self.tasks}, want >= 2 (interval)")
        _require(self.steps >= 1, f"evaluation.steps: got {self.steps}, want >= 1")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a meta-training run. `name` is also the default run directory."""

    name: str
    task: Task
    updates: int
    seed: int = 0
    synchronous: bool = True  # every update uses exactly the samples of the newest version
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    estimator: Estimator = field(default_factory=Estimator)
    meta: MetaOptimizer = field(default_factory=MetaOptimizer)
    layout: Layout = field(default_factory=Layout)
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoint_every: int = 25  # updates
    keep_checkpoints: int = 3  # newest ones kept beside the first
    max_staleness: int | None = None  # updates; None: 4 x lanes / (2 x batch), at least 1
    call_timeout: float = 60.0  # s, budget of one loss evaluation including its queueing

    def __post_init__(self) -> None:
        _require(self.updates >= 1, f"updates: got {self.updates}, want >= 1")
        _require(0 <= self.seed < 2**63, f"seed: got {self.seed}, want 0 <= seed < 2^63")
        _require(self.checkpoint_every >= 1, "checkpoint_every: want >= 1")
        _require(self.keep_checkpoints >= 1, "keep_checkpoints: want >= 1")
        _require_positive(self.call_timeout, "call_timeout")
        _require(
            self.max_staleness is None or self.max_staleness >= 0,
            f"max_staleness: got {self.max_staleness}, want >= 0 or null",
        )
        if isinstance(self.task, PhysicsTask):
            _require(
                self.layout.workers >= self.layout.actors,
                f"layout.workers: got {self.layout.workers} for {self.layout.actors} actors, want "
                "at least one physics worker per actor",
            )
        if self.synchronous:
            _require(
                self.meta.batch == self.layout.total_lanes,
                f"meta.batch: got {self.meta.batch}, want {self.layout.total_lanes} (actors x "
                "groups x lanes): a synchronous update waits for one sample of every lane, so "
                "another batch would wait for ever",
            )

    @property
    def staleness_bound(self) -> int:
        """Largest age of a sample in updates (0 when synchronous)."""
        if self.synchronous:
            return 0
        if self.max_staleness is not None:
            return self.max_staleness
        return max(1, 4 * self.layout.total_lanes // (2 * self.meta.batch))


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON types."""
    return dataclasses.asdict(config)


def config_hash(config: TrainConfig) -> str:
    """Short stable hash of everything in the configuration, the same before and after JSON."""
    same = from_dict(to_dict(config))  # where a float was given as 1, JSON reads back 1.0
    text = json.dumps(to_dict(same), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _convert(value: Any, annotation: Any, where: str) -> Any:
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        choices = typing.get_args(annotation)
        if value is None and type(None) in choices:
            return None
        if annotation == Task:
            kind = value.get("kind") if isinstance(value, Mapping) else None
            if kind not in _TASK_KINDS:
                raise ConfigError(f"{where}.kind: got {kind!r}, want one of {sorted(_TASK_KINDS)}")
            return _build(_TASK_KINDS[kind], value, where)
        inner = [choice for choice in choices if choice is not type(None)]
        return _convert(value, inner[0], where)
    if dataclasses.is_dataclass(annotation):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: got {value!r}, want an object")
        return _build(typing.cast(type, annotation), value, where)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: the number is too large") from None
    if not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: got {value!r}, want {annotation.__name__}")
    return value


def _build(cls: type, values: Mapping[str, Any], where: str = "") -> Any:
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    arguments = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else key
        if key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
            raise ConfigError(f"unknown key {path!r}{hint}")
        arguments[key] = _convert(value, hints[key], path)
    try:
        return cls(**arguments)
    except TypeError:
        missing = [
            f.name
            for f in dataclasses.fields(cls)
            if f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
            and f.name not in arguments
        ]
        raise ConfigError(f"{where or 'config'}: missing {', '.join(missing)}") from None
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where or 'config'}: {error}") from None


def from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Builds a `TrainConfig`; raises `ConfigError` on unknown keys, wrong types, bad values."""
    return typing.cast(TrainConfig, _build(TrainConfig, values))


def override(config: TrainConfig, assignments: typing.Sequence[str]) -> TrainConfig:
    """Applies `key=JSON` assignments such as `meta.batch=8` or `task.split="train"`."""
    tree = to_dict(config)
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(f"--set {assignment}: want key=JSON, for example updates=50")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text  # a bare word is a string: --set task.split=train
        node, parts = tree, key.split(".")
        for depth, part in enumerate(parts[:-1]):
            if not isinstance(node.get(part), dict):
                group = ".".join(parts[: depth + 1])
                raise ConfigError(f"--set {assignment}: {group!r} is no group")
            node = node[part]
        if parts[-1] not in node:
            close = difflib.get_close_matches(parts[-1], list(node), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(node)}"
            raise ConfigError(f"--set {assignment}: unknown key {key!r}{hint}")
        node[parts[-1]] = value
    return from_dict(tree)
