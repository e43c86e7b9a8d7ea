"""What a method leaves behind, and how its evaluations are counted.

Counting (fact sheet `benchmark.md`, section 11): an evaluation is one new point at which f, or f
and its gradient, is computed. Values alone, gradients and Hessian-vector products are counted
apart. Best-so-far runs over all points, line-search trials included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimus.problems.presets import Problem

STATUSES = (
    "converged",  # by the method's own test
    "steps",  # all iterations done
    "evaluations",  # the cap on evaluations was reached
    "stalled",  # the line search or trust region gave up, or a learned step was not finite
    "non_finite",  # nothing finite after the start
)
PATHS = ("rosenbrock",)  # functions whose iterates are kept: the paper's Fig. 6


@dataclass(frozen=True)
class Trace:
    """One method on one problem.

    Attributes:
      points: float64 `[P]`, reported value at each new point in order, finite or not.
      iterates: float64 `[K + 1]`, reported value of the iterate after k iterations (0: the start).
      evaluations: int64 `[K + 1]`, number of points evaluated by then, at least 1.
      n_f, n_g, n_hvp: new points with f, gradients at new points, Hessian-vector products.
      status: one of `STATUSES`.
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
    status: str
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


def best_so_far(values: np.ndarray) -> np.ndarray:
    """Running minimum along the last axis; what is not finite counts as +infinity."""
    return np.minimum.accumulate(np.where(np.isfinite(values), values, np.inf), axis=-1)


def path_of(problem: Problem, iterates: np.ndarray) -> np.ndarray | None:
    """`Trace.path` from the iterates, `[K + 1, N]` or their first coordinates."""
    if problem.function not in PATHS or problem.x0.size < 2:
        return None
    return np.asarray(iterates, np.float64)[:, :2]


def one_point_a_step(
    points: np.ndarray,
    *,
    gradients: bool,
    lr: float = float("nan"),
    seconds: float = 0.0,
    path: np.ndarray | None = None,
) -> Trace:
    """The trace of a method that evaluates exactly one point an iteration, `[P]` in all."""
    points = np.asarray(points, np.float64)
    count = len(points)
    return Trace(
        points=points,
        iterates=points,
        evaluations=np.arange(1, count + 1),
        n_f=count,
        n_g=count if gradients else 0,
        n_hvp=0,
        status="steps" if np.isfinite(points[1:]).any() or count == 1 else "non_finite",
        lr=lr,
        seconds=seconds,
        path=path,
    )
