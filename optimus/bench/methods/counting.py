"""What a method sees of a problem, and what it leaves behind.

An evaluation is one new point at which f, or f and its gradient, is computed. Values alone,
gradients and Hessian-vector products are counted apart. Best-so-far runs over all points,
line-search trials included.
"""

import functools
import itertools
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import OptimizeResult

from optimus.problems.presets import Objective, Problem, arithmetic

Status = Literal[
    "converged",  # by the method's own test
    "steps",  # all iterations done
    "evaluations",  # the cap on evaluations was reached
    "stalled",  # the line search or trust region failed, or a learned step was not finite
    "non_finite",  # nothing finite after the start
]
STATUSES: tuple[Status, ...] = get_args(Status)
# Compiled programs that each method keeps. Cells of one objective follow each other, and of what is
# kept for ever a long benchmark would fill the process's memory maps.
KEPT = 4
PATHS = ("rosenbrock",)  # functions whose iterates are kept: the paper's Fig. 6


@dataclass(frozen=True)
class Trace:
    """One method on one problem.

    Attributes:
      points: float64 `[P]`, reported value at each new point in order, finite or not.
      iterates: float64 `[K + 1]`, reported value of the iterate after k iterations (0: the start).
      evaluations: int64 `[K + 1]`, number of points evaluated by then, at least 1.
      n_f, n_g, n_hvp: new points with f, gradients at new points, Hessian-vector products.
      status: how it ended.
      lr: learning rate, NaN where there is none.
      seconds: wall time without compilation; a share of the whole where starts run together.
      path: float64 `[K + 1, 2]`, first two coordinates of the iterates in the optimizer's variable
        z, for the functions of `PATHS` and methods that can tell; else None.
    """

    points: np.ndarray
    iterates: np.ndarray
    evaluations: np.ndarray
    n_f: int
    n_g: int
    n_hvp: int
    status: Status
    lr: float = float("nan")
    seconds: float = 0.0
    path: np.ndarray | None = None

    @property
    def best(self) -> np.ndarray:
        """Best-so-far by evaluation, float64 `[P]`; infinite before the first finite value."""
        return best_so_far(self.points)

    @property
    def best_by_iteration(self) -> np.ndarray:
        """Best-so-far by iteration over all points until then, float64 `[K + 1]`."""
        return self.best[np.clip(self.evaluations, 1, len(self.points)) - 1]

    @property
    def non_finite(self) -> int:
        """Number of points with a value that is not finite."""
        return int(np.sum(~np.isfinite(self.points)))

    def evaluations_to(self, value: float) -> int | None:
        """Evaluations until the best-so-far is at most `value`; None if never."""
        reached = np.flatnonzero(self.best <= value)
        return int(reached[0]) + 1 if len(reached) else None


Cap = int | None  # of the points evaluated; None: there is none
Problems = Sequence[Problem]  # of one cell
RunAll = Callable[..., list[Trace]]  # (problems of one cell, steps, **options) -> their traces


def best_so_far(values: np.ndarray) -> np.ndarray:
    """Running minimum along the last axis of `[..., P]`; what is not finite counts as +infinity."""
    return np.minimum.accumulate(np.where(np.isfinite(values), values, np.inf), axis=-1)


def path_of(problem: Problem, iterates: np.ndarray) -> np.ndarray | None:
    """`Trace.path` from the iterates, `[K + 1, N]` or their first coordinates."""
    if problem.function not in PATHS or problem.x0.size < 2:
        return None
    return np.asarray(iterates, np.float64)[:, :2]


def recorded(
    points: np.ndarray, iterates: np.ndarray, evaluations: np.ndarray, status: Status, **more: Any
) -> Trace:
    """A trace whose points are all that was evaluated.

    Args:
      points: reported values `[P]`.
      iterates, evaluations: `[K + 1]` each.
      status: how it ended; where nothing after the start was finite, "non_finite" all the same.
      **more: other fields of the trace; `n_g` and `n_hvp` are 0 by default.
    """
    if len(points) > 1 and not np.isfinite(points[1:]).any():
        status = "non_finite"
    counts = {"n_f": len(points), "n_g": 0, "n_hvp": 0}
    return Trace(points, iterates, evaluations, status=status, **(counts | more))


def one_point_a_step(
    points: np.ndarray, *, gradients: bool, status: Status = "steps", **more: Any
) -> Trace:
    """The trace of a method that evaluates exactly one point an iteration.

    Args:
      points: reported values `[P]`.
      gradients: whether the gradient was computed at each of them.
      status: how it ended.
      **more: `lr`, `seconds` and `path` of the trace.
    """
    points = np.asarray(points, np.float64)
    evaluations, n_g = np.arange(1, len(points) + 1), len(points) if gradients else 0
    return recorded(points, points, evaluations, status, n_g=n_g, **more)


# ------------------------------------------------------------------------- problems of one cell


def stacked(problems: Problems) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Data and starts `[S, N]` of problems that share an objective, with a leading dimension S."""
    if any(each.objective is not problems[0].objective for each in problems):
        raise ValueError("problems of one batch must share preset, function and dimension")
    data = {name: np.stack([each.data[name] for each in problems]) for name in problems[0].data}
    return data, np.stack([each.x0 for each in problems])


def timed(problem: Problem, jitted: Any, *arguments: Any) -> tuple[Any, float]:
    """What a jitted function returns, as NumPy arrays, and its seconds without compilation."""
    with arithmetic(problem.dtype):
        run = jitted.lower(*arguments).compile()
        started = time.perf_counter()
        found = jax.tree_util.tree_map(np.asarray, run(*arguments))
        return found, time.perf_counter() - started


def one_by_one(run: Callable[..., Trace]) -> RunAll:
    """`run_all` of a method that runs on the host: the problems one after the other."""

    def run_all(problems: Problems, steps: int, **options: Any) -> list[Trace]:
        return [run(problem, steps, **options) for problem in problems]

    return run_all


def random_of(problem: Problem, word: str) -> np.random.Generator:
    """The random numbers a method has for this problem; they depend on nothing else."""
    names = zlib.crc32(f"{word} {problem.function}".encode())
    return np.random.default_rng([problem.seed, names, problem.dim, problem.start])


def further_starts(problem: Problem) -> Iterator[np.ndarray]:
    """Points `[N]` uniform in the start box, for the restarts of every multistart method."""
    random = random_of(problem, "multistart")
    while True:
        yield random.uniform(*problem.box, problem.x0.size)


def restart_points(problem: Problem, count: int) -> np.ndarray:
    """The first of `further_starts`: `[count, N]`, of the preset's dtype."""
    points = np.asarray(list(itertools.islice(further_starts(problem), count)))
    return points.reshape(count, problem.x0.size).astype(problem.x0.dtype)


# ------------------------------------------------------------- counted functions, for the host


class BudgetSpent(Exception):
    """A point beyond the cap was asked for: how a cap leaves foreign code."""


@functools.lru_cache(maxsize=KEPT)
def compiled_value(objective: Objective) -> Any:
    """(data, x) -> value, jitted once for all problems that share the objective."""
    return jax.jit(lambda data, x: objective(data, x))  # JAX keeps programs as long as functions


@functools.lru_cache(maxsize=KEPT)
def compiled_value_and_grad(objective: Objective) -> Any:
    """(data, x) -> (value, gradient `[N]`), jitted."""
    return jax.jit(jax.value_and_grad(objective, argnums=1))


@functools.lru_cache(maxsize=KEPT)
def compiled_hvp(objective: Objective) -> Any:
    """(data, x, v) -> Hessian times v, `[N]`, jitted: forward over reverse."""

    def hvp(data: Any, x: jax.Array, v: jax.Array) -> jax.Array:
        gradient = functools.partial(jax.grad(objective, argnums=1), data)
        return jax.jvp(gradient, (x,), (v,))[1]

    return jax.jit(hvp)


class Counted:
    """Counts and records what a method asks of a problem; use inside `presets.arithmetic`.

    Asking again at the last point costs nothing: a value and a gradient there are one evaluation.
    SciPy gets float64 numbers, whatever the precision of the objective.

    Args:
      problem: what to minimise.
      cap: most points evaluated; beyond it `BudgetSpent` is raised. None for no cap.
      hvp: whether `hvp` will be called, so that it is compiled outside the clock.
    """

    def __init__(self, problem: Problem, cap: Cap = None, hvp: bool = False) -> None:
        self._problem = problem
        self._data = {name: jnp.asarray(leaf) for name, leaf in problem.data.items()}
        self._value_and_grad = compiled_value_and_grad(problem.objective)
        self._hvp = compiled_hvp(problem.objective)
        self._cap = cap
        self._x: np.ndarray | None = None
        self._f = np.nan
        self._gradient = np.zeros(0)
        self._points: list[float] = []
        self._iterates: list[tuple[float, int, np.ndarray]] = []  # value, points by then, x[:2]
        self._graded = 0  # points when a gradient was asked for last
        self.n_g = 0
        self.n_hvp = 0
        # Compile outside the clock and the counts.
        self._value_and_grad(self._data, problem.x0)
        if hvp:
            self._hvp(self._data, problem.x0, problem.x0)
        self._started = time.perf_counter()

    def _at(self, x: np.ndarray) -> None:
        x = np.asarray(x, np.float64)
        if self._x is not None and np.array_equal(x, self._x):
            return
        if self._cap is not None and len(self._points) >= self._cap:
            raise BudgetSpent
        value, gradient = self._value_and_grad(self._data, x.astype(self._problem.dtype))
        self._x = x.copy()
        self._f = float(value)
        self._gradient = np.asarray(gradient, np.float64)
        self._points.append(self._f)
        if not self._iterates:
            self.iterated(self._f, x)  # the first point is the start

    def value(self, x: np.ndarray) -> float:
        """Reported value at x `[N]`."""
        self._at(x)
        return self._f

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Gradient at x, float64 `[N]`."""
        self._at(x)
        self.n_g += self._graded < len(self._points)
        self._graded = len(self._points)
        return self._gradient.copy()

    def hvp(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Hessian at x times v, float64 `[N]`. No new point, whatever x is."""
        self.n_hvp += 1
        at = (np.asarray(each, self._problem.dtype) for each in (x, v))
        return np.asarray(self._hvp(self._data, *at), np.float64)

    def iterated(self, value: float, x: np.ndarray) -> None:
        """Notes the end of an iteration with its iterate, `[N]`, and the value there."""
        self._iterates.append((float(value), len(self._points), np.array(x[:2], np.float64)))

    def noted(self, intermediate_result: OptimizeResult) -> None:
        """`iterated` as a callback of SciPy's, which goes by the name of its argument."""
        self.iterated(intermediate_result.fun, intermediate_result.x)

    def trace(self, status: Status) -> Trace:
        """What was recorded until now."""
        seconds = time.perf_counter() - self._started
        iterates, evaluations, path = map(np.asarray, zip(*self._iterates))
        more = {"n_g": self.n_g, "n_hvp": self.n_hvp, "path": path_of(self._problem, path)}
        points = np.asarray(self._points)
        return recorded(points, iterates, evaluations, status, seconds=seconds, **more)
