"""What a `TrainConfig` trains on."""

from dataclasses import dataclass
from typing import Literal

from optimus.errors import require, require_known
from optimus.fields import check_fields, whole, within
from optimus.problems.groups import FUNCTION_NAMES, NETWORK, TAGS, allowed, allowed_generated

ANALYTIC_FAMILIES = ("quadratic", "rosenbrock")  # the keys of `optimus.tasks.analytic.FAMILIES`

_LARGEST = 10**5  # N: more is a typo, found before memory is taken for it


@dataclass(frozen=True)
class AnalyticTask:
    """A closed-form JAX loss: evaluated inside the actor, a whole window in one compiled scan."""

    kind: Literal["analytic"] = "analytic"
    family: str = "quadratic"  # a name in `ANALYTIC_FAMILIES`
    dim: int = whole(10, 1, _LARGEST)  # N, number of coordinates

    def __post_init__(self) -> None:
        require_known(self.family, ANALYTIC_FAMILIES, "task.family")
        check_fields(self, "task")


@dataclass(frozen=True)
class ClassicalTask:
    """The benchmark's functions, generated families and small neural networks in random dimension;
    `--launch fused` only.

    Dimensions are log-uniform within each size: from `least_dim`, or the next smaller size + 1.
    """

    kind: Literal["classical"] = "classical"
    functions: tuple[str, ...] = FUNCTION_NAMES  # equal shares of lanes
    generated: float = within(0.0, 0.0, 1.0)  # share of lanes with generated tasks
    hold_out: tuple[str, ...] = ()  # names in `tasks.groups.TAGS`: never drawn
    sizes: tuple[int, ...] = (10, 10, 10, 50)  # padded sizes, one per update in turn
    least_dim: int = whole(2, 2, _LARGEST)
    # share of tasks whose optimum is moved, as by the fair presets
    shift: float = within(0.0, 0.0, 1.0)
    # share of tasks with a random rotation, in sizes up to 100
    rotate: float = within(0.0, 0.0, 1.0)
    x_scale: float = within(1.0, 1.0, 1e6)  # a factor log-uniform in 1/x_scale ... x_scale on x
    f_scale: float = within(1.0, 1.0, 1e6)  # the same on f
    networks: float = within(0.0, 0.0, 1.0)  # share of lanes that train a small neural network

    def __post_init__(self) -> None:
        for name in self.functions:
            require_known(name, FUNCTION_NAMES, "task.functions")
        for name in self.hold_out:
            require_known(name, TAGS, "task.hold_out")
        check_fields(self, "task")
        both = self.generated + self.networks
        require(both <= 1.0, f"task.networks: got {both} with generated, want at most 1 together")
        least = max(4, self.least_dim)
        whole = all(type(size) is int and least <= size <= _LARGEST for size in self.sizes)
        wanted = f"want at least one, each an integer in {least} ... {_LARGEST}"
        require(bool(self.sizes) and whole, f"task.sizes: got {self.sizes}, {wanted}")
        left = allowed(self.functions, self.hold_out)
        generated = bool(self.generated > 0.0 and allowed_generated(self.hold_out))
        generated |= self.networks > 0.0 and NETWORK not in self.hold_out
        drawn = generated or bool(left)
        require(drawn, "task.functions: none is left and none are generated; want one")
        # Such a function would never be drawn in some size, and nobody would notice.
        fit = left != ("perm",) or generated or max(self.sizes) <= 10
        require(fit, f"task.sizes: got {self.sizes}, want at most 10 for perm alone")


@dataclass(frozen=True)
class ServedTask:
    """A synthetic quadratic served by loss workers that sleep: for fleet timings and fault tests.

    `poison`, `nonfinite` and `slow` are periods k: each k-th episode is one that workers raise an
    error about, that has no finite loss, or whose evaluations sleep four times as long; 0: none.
    `stagger`: a worker's first evaluation takes up to twice as long, by chance, so that workers
    that start together and always take equally long do not answer all at once for ever.
    """

    kind: Literal["served"] = "served"
    dim: int = whole(32, 1, 10**6)  # N, number of coordinates
    sleep: float = within(0.0, 0.0, 3600.0)  # s per evaluation
    poison: int = whole(0)
    nonfinite: int = whole(0)
    slow: int = whole(0)
    stagger: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "task")


@dataclass(frozen=True)
class PhysicsTask:
    """Motion reconstruction: served by physics workers.

    Every window is drawn from the clips of `split`, a table fixed in `workers.physics.motion`.
    """

    kind: Literal["physics"] = "physics"
    split: str = "train"
    seconds: float = within(0.25, 1e-3, 3600.0)  # window length, s
    # "pd": x offsets PD targets; "torque": x is joint torque
    control: Literal["pd", "torque"] = "pd"
    control_rate: float = within(30.0, 1e-3, 1e5)  # controls per second and joint
    dt: float = 1.0 / 240.0  # simulation step, s

    def __post_init__(self) -> None:
        check_fields(self, "task")
        dt = self.dt
        require(1e-6 <= dt <= 1 / 60, f"task.dt: got {dt} s, want at least 1e-6, at most 1/60 s")
