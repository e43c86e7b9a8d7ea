"""The parts of a `TrainConfig` beside its task: estimator, meta-loss, Adam, layout, evaluation."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from optimus.config.tasks import ClassicalTask
from optimus.errors import require
from optimus.fields import check_fields, whole, within

EstimatorKind = Literal[
    "pes", "nres", "full_es", "truncated_es", "bptt", "pes_pathwise", "nres_pathwise"
]
ESTIMATORS: tuple[EstimatorKind, ...] = get_args(EstimatorKind)
PATHWISE: tuple[EstimatorKind, ...] = ESTIMATORS[4:]  # with derivatives through the window
# More than anybody needs: what is more is a typo, found before memory is taken for it.
_LONGEST, _MOST_LANES, _MOST_PROCESSES = 10**7, 10**6, 10**5  # inner steps; tasks at once
_LEAST, _MOST = 1e-15, 1e15  # what float32 holds the squares of


@dataclass(frozen=True)
class Estimator:
    """How the meta-gradient is estimated; the defaults are the paper's (Table 3)."""

    kind: EstimatorKind = "pes"  # see `optimus.meta.estimators`
    # standard deviation of the perturbation of every weight; less is lost in float32 weights
    sigma: float = within(0.01, 1e-6, 1e3)
    noise: Literal["gaussian", "rademacher"] = "gaussian"
    truncation: int = whole(5, 1, _LONGEST)  # inner steps per window: one sample each
    horizon: int = whole(50, 0, _LONGEST)  # inner steps per episode
    # pathwise: largest norm of one task's gradient; 0: none
    task_clip: float = within(1.0, 0.0, _MOST)
    # pathwise: 1 holds inner gradients constant, 2 differentiates them too
    order: int = whole(1, 1, 2)
    # The rest is for `--launch fused`.
    shortest: int = whole(0, 0, _LONGEST)  # > 0: episodes are log-uniform in shortest ... horizon
    # bptt: weight of the log distance to the minimiser (supervision by it); 0: none
    guide: float = within(0.0, 0.0, _MOST)
    # distance per coordinate at which that fades out
    guide_radius: float = within(1e-4, _LEAST, _MOST)

    def __post_init__(self) -> None:
        check_fields(self, "estimator")
        length = self.truncation
        wanted = f"a multiple of truncation ({length}): episodes end only at window boundaries"
        for name, least in (("horizon", length), ("shortest", 0)):
            value = getattr(self, name)
            good = value >= least and value % length == 0
            require(good, f"estimator.{name}: got {value}, want {wanted}")
        wanted = f"want at most horizon ({self.horizon})"
        fits = self.shortest <= self.horizon
        require(fits, f"estimator.shortest: got {self.shortest}, {wanted}")
        wanted = f"want horizon ({self.horizon}): full_es scores whole episodes"
        fits = self.kind != "full_es" or length == self.horizon
        require(fits, f"estimator.truncation: got {length}, {wanted}")
        got = f"got {self.guide} with {self.kind!r}"
        guided = self.guide == 0.0 or self.kind == "bptt"
        require(guided, f"estimator.guide: {got}, want 0 but with 'bptt'")

    @property
    def windows(self) -> int:
        """Windows in one episode, the longest where lengths differ."""
        return self.horizon // self.truncation

    @property
    def signs(self) -> int:
        """Trajectories per task: an antithetic pair, or one."""
        return 1 if self.kind == "bptt" else 2


@dataclass(frozen=True)
class MetaLoss:
    """How an inner loss is scored: see `optimus.meta.loss`. Only `--launch fused` reads it."""

    kind: Literal["log_gap", "log_ratio"] = "log_gap"
    floor: float = within(1e-8, _LEAST, _MOST)  # smallest gap, or ratio of gaps, that counts
    cap: float = within(5.0, _LEAST, _MOST)  # a step scores at most this

    def __post_init__(self) -> None:
        check_fields(self, "meta_loss")


@dataclass(frozen=True)
class MetaOptimizer:
    """Clipped Adam on the weights (paper supplement, section on meta-training)."""

    learning_rate: float = within(5e-4, 1e-12, 1e3)  # of Adam, whose steps are as long
    clip_norm: float = within(3.0, _LEAST, _MOST)  # bound of the estimate, in the sense of `clip`
    batch: int = whole(20, 1, _MOST_LANES)  # samples per update, one antithetic pair each
    clip: Literal["global_norm", "value"] = "global_norm"  # "value": every entry on its own
    warmup: int = whole(0)  # updates over which the rate rises linearly
    cosine: int = whole(0)  # updates after which a cosine has brought the rate to 1 %; 0: constant

    def __post_init__(self) -> None:
        check_fields(self, "meta")


@dataclass(frozen=True)
class Layout:
    """How many of each role, and how lanes are grouped.

    A group of lanes is one vmapped program; an actor steps one group while another group's losses
    are in flight. Grouping changes rounding, so it belongs to the configuration, not to the runner.
    The fused trainer takes groups one after the other, which bounds its memory, or spreads them
    over the devices that there are.
    """

    actors: int = whole(1, 1, _MOST_PROCESSES)
    groups: int = whole(2, 1, _MOST_LANES)  # lane groups per actor
    lanes: int = whole(10, 1, _MOST_LANES)  # lanes per group
    workers: int = whole(2, 0, _MOST_PROCESSES)  # loss workers; analytic losses need none
    per_process: int = whole(1, 1, _MOST_PROCESSES)  # loss workers in one process
    restarts: int = whole(5)  # of one process within 10 minutes, before the run ends with its cause

    def __post_init__(self) -> None:
        check_fields(self, "layout")
        lanes = f"layout.lanes: got {self.total_lanes} over all groups and actors"
        require(self.total_lanes <= _MOST_LANES, f"{lanes}, want at most {_MOST_LANES}")

    @property
    def total_lanes(self) -> int:
        """Lanes over all actors."""
        return self.actors * self.groups * self.lanes


@dataclass(frozen=True)
class Phase:
    """A stretch of a run with an estimator, a meta-optimizer and lanes of its own.

    It takes over the weights and nothing else: Adam's moments and all episodes start afresh.
    """

    # None, of the last phase: until the run's `updates`
    updates: int | None = whole(None, 1)
    estimator: Estimator = field(default_factory=Estimator)
    meta: MetaOptimizer = field(default_factory=MetaOptimizer)
    layout: Layout = field(default_factory=Layout)
    task: ClassicalTask | None = None  # other proportions of the same functions; None: the run's

    def __post_init__(self) -> None:
        check_fields(self, "phases")

    @property
    def inner_steps(self) -> int:
        """Inner steps of one update, over lanes and signs."""
        return self.layout.total_lanes * self.estimator.signs * self.estimator.truncation


@dataclass(frozen=True)
class Evaluation:
    """The fixed evaluation set: tasks that no training episode uses, the same for every run."""

    tasks: int = whole(16, 2, _MOST_LANES)  # in a fused run, per size; two at least: an interval
    steps: int = whole(50, 1, _LONGEST)
    split: str = "validation"  # of motion clips; analytic families use keys of their own
    seed: int = whole(20221201, 0, 2**63 - 1)

    def __post_init__(self) -> None:
        check_fields(self, "evaluation")
