"""What a `TrainConfig` trains on."""

from dataclasses import dataclass
from typing import Literal, get_args

from optimus.errors import require, require_known, require_positive, require_whole, require_within
from optimus.problems.groups import FUNCTION_NAMES, NETWORK, TAGS, allowed, allowed_generated

ANALYTIC_FAMILIES = ("quadratic", "rosenbrock")  # the keys of `optimus.tasks.analytic.FAMILIES`

_LARGEST = 10**5  # N: more is a typo, found before memory is taken for it

ControlKind = Literal["pd", "torque"]


@dataclass(frozen=True)
class AnalyticTask:
    """A closed-form JAX loss: evaluated inside the actor, a whole window in one compiled scan."""

    kind: str = "analytic"
    family: str = "quadratic"  # a name in `ANALYTIC_FAMILIES`
    dim: int = 10  # N, number of coordinates

    def __post_init__(self) -> None:
        require(self.kind == "analytic", f"task.kind: got {self.kind!r}, want 'analytic'")
        require_known(self.family, ANALYTIC_FAMILIES, "task.family")
        require_whole(self, "task", dim=(1, _LARGEST))


@dataclass(frozen=True)
class ClassicalTask:
    """The benchmark's functions, generated families and small neural networks in random dimension;
    `--launch fused` only.

    Dimensions are log-uniform within each size: from `least_dim`, or the next smaller size + 1.
    """

    kind: str = "classical"
    functions: tuple[str, ...] = FUNCTION_NAMES  # equal shares of lanes
    generated: float = 0.0  # share of lanes with generated tasks
    hold_out: tuple[str, ...] = ()  # names in `tasks.groups.TAGS`: never drawn
    sizes: tuple[int, ...] = (10, 10, 10, 50)  # padded sizes, one per update in turn
    least_dim: int = 2
    shift: float = 0.0  # share of tasks whose optimum is moved, as by the fair presets
    rotate: float = 0.0  # share of tasks with a random rotation, in sizes up to 100
    x_scale: float = 1.0  # a factor log-uniform in 1/x_scale ... x_scale on x
    f_scale: float = 1.0  # the same on f
    networks: float = 0.0  # share of lanes that train a small neural network

    def __post_init__(self) -> None:
        require(self.kind == "classical", f"task.kind: got {self.kind!r}, want 'classical'")
        for name in self.functions:
            require_known(name, FUNCTION_NAMES, "task.functions")
        for name in self.hold_out:
            require_known(name, TAGS, "task.hold_out")
        for name in ("generated", "networks", "shift", "rotate"):
            require_within(getattr(self, name), 0.0, 1.0, f"task.{name}")
        both = self.generated + self.networks
        require(both <= 1.0, f"task.networks: got {both} with generated, want at most 1 together")
        for name in ("x_scale", "f_scale"):
            require_within(getattr(self, name), 1.0, 1e6, f"task.{name}")
        require_whole(self, "task", least_dim=(2, _LARGEST))
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

    kind: str = "served"
    dim: int = 32  # N, number of coordinates
    sleep: float = 0.0  # s per evaluation
    poison: int = 0
    nonfinite: int = 0
    slow: int = 0
    stagger: bool = False

    def __post_init__(self) -> None:
        require(self.kind == "served", f"task.kind: got {self.kind!r}, want 'served'")
        require_whole(self, "task", dim=(1, 10**6), poison=0, nonfinite=0, slow=0)
        require_within(self.sleep, 0, 3600, "task.sleep")


@dataclass(frozen=True)
class PhysicsTask:
    """Motion reconstruction: served by physics workers.

    Every window is drawn from the clips of `split`, a table fixed in `workers.physics.motion`.
    """

    kind: str = "physics"
    split: str = "train"
    seconds: float = 0.25  # window length, s
    control: ControlKind = "pd"  # "pd": x offsets PD targets; "torque": x is joint torque
    control_rate: float = 30.0  # controls per second and joint
    dt: float = 1.0 / 240.0  # simulation step, s

    def __post_init__(self) -> None:
        require(self.kind == "physics", f"task.kind: got {self.kind!r}, want 'physics'")
        require_known(self.control, get_args(ControlKind), "task.control")
        for name, most in (("seconds", 3600.0), ("control_rate", 1e5)):
            require_positive(getattr(self, name), f"task.{name}", most)
        dt = self.dt
        require(1e-6 <= dt <= 1 / 60, f"task.dt: got {dt} s, want at least 1e-6, at most 1/60 s")
