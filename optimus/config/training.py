"""The parts of a `TrainConfig` beside its task: estimator, meta-loss, Adam, layout, evaluation."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from optimus.config.tasks import ClassicalTask
from optimus.errors import require, require_known, require_whole, require_within

EstimatorKind = Literal[
    "pes", "nres", "full_es", "truncated_es", "bptt", "pes_pathwise", "nres_pathwise"
]
NoiseKind = Literal["gaussian", "rademacher"]
MetaLossKind = Literal["log_gap", "log_ratio"]
ClipKind = Literal["global_norm", "value"]
ESTIMATORS: tuple[EstimatorKind, ...] = get_args(EstimatorKind)
PATHWISE: tuple[EstimatorKind, ...] = ESTIMATORS[4:]  # with derivatives through the window
# More than anybody needs: what is more is a typo, found before memory is taken for it.
_LONGEST, _MOST_LANES, _MOST_PROCESSES = 10**7, 10**6, 10**5  # inner steps; tasks at once
_LEAST, _MOST = 1e-15, 1e15  # what float32 holds the squares of


@dataclass(frozen=True)
class Estimator:
    """How the meta-gradient is estimated; the defaults are the paper's (Table 3)."""

    kind: EstimatorKind = "pes"  # see `optimus.meta.estimators`
    sigma: float = 0.01  # standard deviation of the perturbation of every weight
    noise: NoiseKind = "gaussian"
    truncation: int = 5  # inner steps per window: one sample each
    horizon: int = 50  # inner steps per episode
    task_clip: float = 1.0  # pathwise: largest norm of one task's gradient; 0: none
    order: int = 1  # pathwise: 1 holds inner gradients constant, 2 differentiates them too
    # The rest is for `--launch fused`.
    shortest: int = 0  # > 0: episodes are log-uniform in shortest ... horizon
    # bptt: weight of the log distance to the minimiser (supervision by it); 0: none
    guide: float = 0.0
    guide_radius: float = 1e-4  # distance per coordinate at which that fades out

    def __post_init__(self) -> None:
        require_known(self.kind, ESTIMATORS, "estimator.kind")
        # Less is lost in float32 weights of size 1; more leaves nothing of them.
        require_within(self.sigma, 1e-6, 1e3, "estimator.sigma")
        require_known(self.noise, get_args(NoiseKind), "estimator.noise")
        require_whole(self, "estimator", truncation=(1, _LONGEST), horizon=(0, _LONGEST))
        require_whole(self, "estimator", shortest=(0, _LONGEST), order=(1, 2))
        for name in ("horizon", "shortest"):
            value = getattr(self, name)
            require(
                value >= (self.truncation if name == "horizon" else 0)
                and value % self.truncation == 0,
                f"estimator.{name}: got {value}, want a multiple of truncation "
                f"({self.truncation}): episodes end only at window boundaries",
            )
        require(
            self.shortest <= self.horizon,
            f"estimator.shortest: got {self.shortest}, want at most horizon ({self.horizon})",
        )
        require(
            self.kind != "full_es" or self.truncation == self.horizon,
            f"estimator.truncation: got {self.truncation}, want horizon ({self.horizon}): full_es "
            "scores whole episodes",
        )
        require(
            self.guide == 0.0 or self.kind == "bptt",
            f"estimator.guide: got {self.guide} with {self.kind!r}, want 0 but with 'bptt'",
        )
        for name in ("task_clip", "guide"):
            require_within(getattr(self, name), 0, _MOST, f"estimator.{name}")
        require_within(self.guide_radius, _LEAST, _MOST, "estimator.guide_radius")

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

    kind: MetaLossKind = "log_gap"
    floor: float = 1e-8  # smallest gap, or ratio of gaps, that counts
    cap: float = 5.0  # a step scores at most this

    def __post_init__(self) -> None:
        require_known(self.kind, get_args(MetaLossKind), "meta_loss.kind")
        require_within(self.floor, _LEAST, _MOST, "meta_loss.floor")
        require_within(self.cap, _LEAST, _MOST, "meta_loss.cap")


@dataclass(frozen=True)
class MetaOptimizer:
    """Clipped Adam on the weights (paper supplement, section on meta-training)."""

    learning_rate: float = 5e-4
    clip_norm: float = 3.0  # bound of the estimate, in the sense of `clip`
    batch: int = 20  # samples per update, one antithetic pair each
    clip: ClipKind = "global_norm"  # "value": every entry on its own
    warmup: int = 0  # updates over which the rate rises linearly
    cosine: int = 0  # updates after which a cosine has brought the rate to 1 %; 0: constant

    def __post_init__(self) -> None:
        # Adam's steps are as long as the rate.
        require_within(self.learning_rate, 1e-12, 1e3, "meta.learning_rate")
        require_within(self.clip_norm, _LEAST, _MOST, "meta.clip_norm")
        require_known(self.clip, get_args(ClipKind), "meta.clip")
        require_whole(self, "meta", batch=(1, _MOST_LANES), warmup=0, cosine=0)


@dataclass(frozen=True)
class Layout:
    """How many of each role, and how lanes are grouped.

    A group of lanes is one vmapped program; an actor steps one group while another group's losses
    are in flight. Grouping changes rounding, so it belongs to the configuration, not to the runner.
    The fused trainer takes groups one after the other, which bounds its memory, or spreads them
    over the devices that there are.
    """

    actors: int = 1
    groups: int = 2  # lane groups per actor
    lanes: int = 10  # lanes per group
    workers: int = 2  # loss workers; analytic losses need none
    per_process: int = 1  # loss workers in one process
    restarts: int = 5  # of one process within 10 minutes, before the run ends with its cause

    def __post_init__(self) -> None:
        most = (1, _MOST_PROCESSES)
        require_whole(self, "layout", actors=most, groups=(1, _MOST_LANES), lanes=(1, _MOST_LANES))
        require_whole(self, "layout", workers=(0, _MOST_PROCESSES), per_process=most, restarts=0)
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

    updates: int | None = None  # None, of the last phase: until the run's `updates`
    estimator: Estimator = field(default_factory=Estimator)
    meta: MetaOptimizer = field(default_factory=MetaOptimizer)
    layout: Layout = field(default_factory=Layout)
    task: ClassicalTask | None = None  # other proportions of the same functions; None: the run's

    def __post_init__(self) -> None:
        if self.updates is not None:
            require_whole(self, "phases", updates=1)

    @property
    def inner_steps(self) -> int:
        """Inner steps of one update, over lanes and signs."""
        return self.layout.total_lanes * self.estimator.signs * self.estimator.truncation


@dataclass(frozen=True)
class Evaluation:
    """The fixed evaluation set: tasks that no training episode uses, the same for every run."""

    tasks: int = 16  # in a fused run, per size
    steps: int = 50
    split: str = "validation"  # of motion clips; analytic families use keys of their own
    seed: int = 20221201

    def __post_init__(self) -> None:
        # Two tasks: for an interval.
        require_whole(self, "evaluation", tasks=(2, _MOST_LANES), steps=(1, _LONGEST))
        require_whole(self, "evaluation", seed=(0, 2**63 - 1))
