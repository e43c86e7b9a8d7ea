"""The one configuration of a run: frozen dataclasses, strict JSON in and out.

Every runner (`inprocess`, `local_mt`, `local_mp`, fleets, `fused`) reads the same `TrainConfig`.
Values are checked when the object is made, so a bad configuration is one clear line before anything
starts. The parts are in `optimus.config.tasks` and `optimus.config.training`.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optimus.config import compatibility
from optimus.config.serialization import KINDS, build
from optimus.config.tasks import AnalyticTask as AnalyticTask
from optimus.config.tasks import ClassicalTask as ClassicalTask
from optimus.config.tasks import PhysicsTask as PhysicsTask
from optimus.config.tasks import ServedTask as ServedTask
from optimus.config.training import ESTIMATORS as ESTIMATORS
from optimus.config.training import EVOLUTION as EVOLUTION
from optimus.config.training import PATHWISE as PATHWISE
from optimus.config.training import Estimator as Estimator
from optimus.config.training import Evaluation as Evaluation
from optimus.config.training import Layout as Layout
from optimus.config.training import MetaLoss as MetaLoss
from optimus.config.training import MetaOptimizer as MetaOptimizer
from optimus.config.training import Phase as Phase
from optimus.config.training import require_one_sample_per_lane
from optimus.errors import ConfigError as ConfigError
from optimus.errors import require, require_positive
from optimus.model.config import AdafactorMlpConfig, OptimizerConfig

Task = AnalyticTask | PhysicsTask | ServedTask | ClassicalTask
LearnedRule = OptimizerConfig | AdafactorMlpConfig


def _same_functions(one: ClassicalTask, other: Task) -> bool:
    """Whether a phase's tasks are the run's in other proportions, so that its arm stays true."""
    if not isinstance(other, ClassicalTask):
        return False
    fixed, optional = ("functions", "hold_out", "least_dim"), ("generated", "networks")
    same = all(getattr(one, name) == getattr(other, name) for name in fixed)
    return same and all(getattr(other, name) or not getattr(one, name) for name in optional)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a meta-training run. `name` is also the default run directory."""

    name: str
    task: Task
    updates: int
    seed: int = 0
    synchronous: bool = True  # every update uses exactly the samples of the newest version
    optimizer: LearnedRule = field(default_factory=OptimizerConfig)
    estimator: Estimator = field(default_factory=Estimator)
    meta: MetaOptimizer = field(default_factory=MetaOptimizer)
    layout: Layout = field(default_factory=Layout)
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoint_every: int = 25  # updates; a fused run validates then too
    keep_checkpoints: int = 3  # newest ones kept beside the first and the best
    keep_checkpoints_every: int = 0  # updates; multiples of it are kept too; 0: no such rule
    evaluator: bool = False  # judge each checkpoint while it trains; a fused run does so itself
    max_staleness: int | None = None  # updates; None: 4 x lanes / (2 x batch), at least 1
    call_timeout: float = 60.0  # s, budget of one loss evaluation including its queueing
    meta_loss: MetaLoss = field(default_factory=MetaLoss)
    phases: tuple[Phase, ...] = ()  # fused: in place of estimator, meta and layout
    initial: str = ""  # weights to start from, a name or path for `weights.load`; "": random
    weight_average: float = 0.0  # fused: decay of the moving average that is kept; 0: none

    def __post_init__(self) -> None:
        require(self.updates >= 1, f"updates: got {self.updates}, want >= 1")
        require(0 <= self.seed < 2**63, f"seed: got {self.seed}, want 0 <= seed < 2^63")
        require(self.checkpoint_every >= 1, "checkpoint_every: want >= 1")
        require(self.keep_checkpoints >= 1, "keep_checkpoints: want >= 1")
        every = self.keep_checkpoints_every
        require(every >= 0, f"keep_checkpoints_every: got {every}, want >= 0")
        require_positive(self.call_timeout, "call_timeout")
        average = self.weight_average
        require(0.0 <= average < 1.0, f"weight_average: got {average}, want 0 <= decay < 1")
        require(
            self.max_staleness is None or self.max_staleness >= 0,
            f"max_staleness: got {self.max_staleness}, want >= 0 or null",
        )
        if self.served:
            require(
                self.layout.workers >= self.layout.actors,
                f"layout.workers: got {self.layout.workers} for {self.layout.actors} actors, want "
                "at least one loss worker per actor",
            )
        total = sum(phase.updates for phase in self.phases)
        require(
            not self.phases or self.updates <= total,
            f"updates: got {self.updates}, want at most {total}, the sum over the phases",
        )
        for phase in self.phases:
            require(
                phase.task is None or _same_functions(phase.task, self.task),
                "phases.task: got other functions than task has, want the same functions, hold_out "
                "and least_dim, and generated and networks only where task has them",
            )
        if self.synchronous:
            require_one_sample_per_lane(self.meta, self.layout)
        guided = any(phase.estimator.guide for phase in self.schedule)
        require(
            not guided or isinstance(self.task, ClassicalTask),
            "estimator.guide: got a weight, want 0 but with task.kind 'classical', whose "
            "minimisers are known",
        )

    @property
    def served(self) -> bool:
        """Whether losses come from a pool of workers rather than from inside the actor."""
        return isinstance(self.task, (PhysicsTask, ServedTask))

    @property
    def staleness_bound(self) -> int:
        """Largest age of a sample in updates (0 when synchronous)."""
        if self.synchronous:
            return 0
        if self.max_staleness is not None:
            return self.max_staleness
        return max(1, 4 * self.layout.total_lanes // (2 * self.meta.batch))

    @property
    def schedule(self) -> tuple[Phase, ...]:
        """The phases; without any, the one that the configuration itself describes."""
        alone = dataclasses.replace(self.meta, batch=self.layout.total_lanes)
        return self.phases or (Phase(self.updates, self.estimator, alone, self.layout),)

    @property
    def fused_only(self) -> str | None:
        """The first value that only `--launch fused` understands, or None."""
        default = Estimator(truncation=self.estimator.truncation, horizon=self.estimator.horizon)
        pathwise = self.estimator.kind in PATHWISE
        for needs, what in (
            (isinstance(self.task, ClassicalTask), "task.kind 'classical'"),
            (bool(self.phases), "phases"),
            (pathwise and not self.served, f"estimator.kind {self.estimator.kind!r}"),
            (self.estimator.shortest != default.shortest, "estimator.shortest"),
            (self.meta_loss != MetaLoss(), "meta_loss"),
            (self.weight_average > 0, "weight_average"),
        ):
            if needs:
                return what
        return None


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON types."""
    tree = dataclasses.asdict(config)
    kind = KINDS.get(type(getattr(config, "optimizer", None)).__name__)
    if kind is not None:
        tree["optimizer"] = {"kind": kind, **tree["optimizer"]}
    return tree


def config_hash(config: TrainConfig) -> str:
    """Short stable hash of everything in the configuration, the same before and after JSON."""
    same = from_dict(to_dict(config))  # where a float was given as 1, JSON reads back 1.0
    text = json.dumps(to_dict(same), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Builds a `TrainConfig`; raises `ConfigError` on unknown keys, wrong types, bad values."""
    return typing.cast(TrainConfig, build(TrainConfig, compatibility.upgraded(values)))


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
