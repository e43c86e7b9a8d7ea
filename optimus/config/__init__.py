"""The one configuration of a run: frozen dataclasses, strict JSON in and out.

Every runner (`inprocess`, `local_mt`, `local_mp`, fleets, `fused`) reads the same `TrainConfig`.
Values are checked when the object is made, so a bad configuration is one clear line before anything
starts. The parts are in `optimus.config.tasks` and `optimus.config.training`.
"""

from __future__ import annotations

import bisect
import dataclasses
import difflib
import hashlib
import itertools
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optimus.config.compatibility import FORMAT, PHASE_GROUPS, upgraded
from optimus.config.serialization import KINDS, build
from optimus.config.tasks import AnalyticTask, ClassicalTask, PhysicsTask, ServedTask
from optimus.config.training import ESTIMATORS as ESTIMATORS
from optimus.config.training import PATHWISE as PATHWISE
from optimus.config.training import Estimator as Estimator
from optimus.config.training import Evaluation, Layout, MetaLoss, Phase
from optimus.config.training import MetaOptimizer as MetaOptimizer
from optimus.errors import ConfigError as ConfigError
from optimus.errors import require
from optimus.fields import check_fields, whole, within
from optimus.files import parse_json, path_of
from optimus.model.config import AdafactorMlpConfig, OptimizerConfig

Task = AnalyticTask | PhysicsTask | ServedTask | ClassicalTask
LearnedRule = OptimizerConfig | AdafactorMlpConfig


def _same_functions(one: ClassicalTask, other: Task) -> bool:
    """Whether a phase's tasks are the run's in other proportions: what was held out stays so."""
    if not isinstance(other, ClassicalTask):
        return False
    fixed, optional = ("functions", "hold_out", "least_dim"), ("generated", "networks")
    same = all(getattr(one, name) == getattr(other, name) for name in fixed)
    return same and all(getattr(other, name) or not getattr(one, name) for name in optional)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a meta-training run. `name` is also the default run directory.

    A run is a list of phases, each with an estimator, a meta-optimizer and lanes of its own; one
    phase is the common case. The last phase lasts until `updates`, so that a longer run is the same
    run with another number.
    """

    name: str
    task: Task
    updates: int = whole(dataclasses.MISSING, 1)  # of all phases together
    phases: tuple[Phase, ...] = (Phase(),)
    seed: int = whole(0, 0, 2**63 - 1)
    synchronous: bool = True  # every update uses exactly the samples of the newest version
    optimizer: LearnedRule = field(default_factory=OptimizerConfig)
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoint_every: int = whole(25, 1)  # updates; a fused run validates then too
    keep_checkpoints: int = whole(3, 1)  # newest ones kept beside the first and the best
    keep_checkpoints_every: int = whole(0)  # updates; multiples of it are kept too; 0: no such rule
    evaluator: bool = False  # judge each checkpoint while it trains; a fused run does so itself
    # updates; None: 4 x lanes / (2 x batch), at least 1
    max_staleness: int | None = whole(None)
    # s, budget of one loss evaluation including its queueing
    call_timeout: float = within(60.0, 1e-3, 1e6)
    meta_loss: MetaLoss = field(default_factory=MetaLoss)
    initial: str = ""  # weights to start from, a name or path for `weights.load`; "": random
    weight_average: float = 0.0  # fused: decay of the moving average that is kept; 0: none

    def __post_init__(self) -> None:
        path_of(self.name, "name")  # of the default run directory
        plain = "/" not in self.name and self.name.strip(".") != "" and self.name.isprintable()
        require(plain, f"name: got {self.name!r}, want letters, digits and such, and no /")
        check_fields(self, "")
        average = self.weight_average
        require(0.0 <= average < 1.0, f"weight_average: got {average}, want 0 <= decay < 1")
        require(bool(self.phases), "phases: got none, want at least one")
        for index, phase in enumerate(self.phases):
            self._check_phase(phase, f"phases.{index}", index == len(self.phases) - 1)

    def _check_phase(self, phase: Phase, where: str, last: bool) -> None:
        got = "null" if phase.updates is None else phase.updates
        wanted = "null: the" if last else "a number: only the"
        wanted += " last phase lasts until the run's updates"
        require((phase.updates is None) == last, f"{where}.updates: got {got}, want {wanted}")
        layout, lanes = phase.layout, phase.layout.total_lanes
        got = f"layout.workers: got {layout.workers} for {layout.actors} actors"
        enough = not self.served or layout.workers >= layout.actors
        require(enough, f"{got}, want at least one loss worker per actor")
        same = phase.task is None or _same_functions(phase.task, self.task)
        want = "the same functions, hold_out and least_dim, and generated and networks only where"
        require(same, f"{where}.task: got other functions than task has, want {want} task has them")
        known = phase.estimator.guide == 0.0 or isinstance(self.task, ClassicalTask)
        wanted = "want 0 but with task.kind 'classical', whose minimisers are known"
        require(known, f"estimator.guide: got a weight, {wanted}")
        got = f"meta.batch: got {phase.meta.batch}, want {lanes} (actors x groups x lanes)"
        why = "a synchronous update waits for one sample of every lane, so another batch would wait"
        whole_batch = not self.synchronous or phase.meta.batch == lanes
        require(whole_batch, f"{got}: {why} for ever")

    @property
    def served(self) -> bool:
        """Whether losses come from a pool of workers rather than from inside the actor."""
        return isinstance(self.task, (PhysicsTask, ServedTask))

    # -- phases ----------------------------------------------------------------------------------

    @property
    def processes(self) -> Layout:
        """The layout that says how many processes there are: that of the first phase. In what
        they are, the phases of a run with actors agree."""
        return self.phases[0].layout

    @property
    def starts(self) -> tuple[int, ...]:
        """How many updates are done where each phase begins: 0, ..."""
        return (0, *itertools.accumulate(phase.updates or 0 for phase in self.phases[:-1]))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Updates of each phase; 0 where `updates` ends the run before it."""
        ends = (*self.starts[1:], self.updates)
        return tuple(max(0, min(e, self.updates) - s) for s, e in zip(self.starts, ends))

    def phase_index(self, step: int) -> int:
        """The index of the phase that makes the update after `step` updates."""
        return bisect.bisect_right(self.starts, step) - 1

    def phase_at(self, step: int) -> Phase:
        """The phase that makes the update after `step` updates."""
        return self.phases[self.phase_index(step)]

    @property
    def largest_batch(self) -> int:
        """Samples of one update, in the phase that takes most."""
        return max(phase.meta.batch for phase in self.phases)

    def staleness_bound(self, phase: Phase) -> int:
        """Largest age of a sample in updates (0 when synchronous)."""
        if self.synchronous:
            return 0
        if self.max_staleness is not None:
            return self.max_staleness
        return max(1, 4 * phase.layout.total_lanes // (2 * phase.meta.batch))


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration, or a part of one, as plain JSON types."""
    tree = dataclasses.asdict(config)
    kind = KINDS.get(type(getattr(config, "optimizer", None)).__name__)
    if kind is not None:
        tree["optimizer"] = {"kind": kind, **tree["optimizer"]}
    return {"format": FORMAT, **tree} if isinstance(config, TrainConfig) else tree


def config_hash(config: TrainConfig) -> str:
    """Short stable hash of everything in the configuration, the same before and after JSON."""
    same = from_dict(to_dict(config))  # where a float was given as 1, JSON reads back 1.0
    text = json.dumps(to_dict(same), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Builds a `TrainConfig`; raises `ConfigError` on unknown keys, wrong types, bad values."""
    return typing.cast(TrainConfig, build(TrainConfig, upgraded(values)))


def override(config: TrainConfig, assignments: typing.Sequence[str]) -> TrainConfig:
    """Applies `key=JSON` assignments such as `task.split="train"` or `phases.0.meta.batch=8`.

    `estimator`, `meta` and `layout` may be said without a phase: the value is that of every phase,
    as long as the phases agree in what it replaces.

    Raises:
      ConfigError: an unknown key, a value that cannot be used, or phases that differ in the key.
    """
    tree = to_dict(config)
    tree["phases"] = list(tree["phases"])
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(f"--set {assignment}: want key=JSON, for example updates=50")
        try:
            value = parse_json(text)
        except ValueError as error:
            if text[:1] in ("{", "[", '"'):
                raise ConfigError(f"--set {assignment}: not JSON: {error}") from None
            value = text  # a bare word is a string: --set task.split=train
        places = _places(tree, key, assignment)
        if any(node[last] != places[0][0][last] for node, last in places):
            phases = ", ".join(f"phases.{k}.{key}" for k in range(len(places)))
            raise ConfigError(f"--set {assignment}: the phases differ in it; want one of {phases}")
        for node, last in places:
            node[last] = value
    return from_dict(tree)


def _places(tree: dict[str, Any], key: str, assignment: str) -> list[tuple[Any, Any]]:
    """(dict or list, key or index) of what a key addresses; one in every phase for a short key."""
    if key.partition(".")[0] in PHASE_GROUPS and isinstance(tree["phases"], (list, tuple)):
        return [_place(phase, key, assignment) for phase in tree["phases"]]
    return [_place(tree, key, assignment)]


def _place(tree: Any, key: str, assignment: str) -> tuple[Any, Any]:
    node, parts = tree, key.split(".")
    for depth, part in enumerate(parts[:-1]):
        node = node[_keys(node)[part]] if part in _keys(node) else None
        if not _keys(node):
            group = ".".join(parts[: depth + 1])
            raise ConfigError(f"--set {assignment}: {group!r} is no group")
    known = _keys(node)
    if parts[-1] not in known:
        close = difflib.get_close_matches(parts[-1], list(known), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
        raise ConfigError(f"--set {assignment}: unknown key {key!r}{hint}")
    return node, known[parts[-1]]


def _keys(node: Any) -> dict[str, Any]:
    """What may follow in a dotted path -> the key or index; {}: nothing may."""
    if isinstance(node, dict):
        return {key: key for key in node if key != "format"}
    if isinstance(node, (list, tuple)) and all(isinstance(each, dict) for each in node):
        return {str(index): index for index in range(len(node))}
    return {}
