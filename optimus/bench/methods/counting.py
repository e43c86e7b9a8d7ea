"""A problem as counted NumPy functions, for methods that run on the host."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.bench.methods.trace import Trace, path_of
from optimus.problems.presets import Objective, Problem, preset


class BudgetSpent(Exception):
    """A point beyond the cap was asked for: how a cap leaves foreign code."""


@functools.cache
def compiled_value(objective: Objective) -> Any:
    """(data, x) -> value, jitted once for all problems that share the objective."""
    return jax.jit(objective)


@functools.cache
def compiled_value_and_grad(objective: Objective) -> Any:
    """(data, x) -> (value, gradient `[N]`), jitted."""
    return jax.jit(jax.value_and_grad(objective, argnums=1))


@functools.cache
def compiled_hvp(objective: Objective) -> Any:
    """(data, x, v) -> Hessian times v, `[N]`, jitted: forward over reverse."""

    def hvp(data: Any, x: jax.Array, v: jax.Array) -> jax.Array:
        gradient = functools.partial(jax.grad(objective, argnums=1), data)
        return jax.jvp(gradient, (x,), (v,))[1]

    return jax.jit(hvp)


def stacked(problems: Sequence[Problem]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Data and starts of problems that share an objective, with a leading dimension S."""
    if any(each.objective is not problems[0].objective for each in problems):
        raise ValueError("problems of one batch must share preset, function and dimension")
    data = {name: np.stack([each.data[name] for each in problems]) for name in problems[0].data}
    return data, np.stack([each.x0 for each in problems])


class Counted:
    """Counts and records what a method asks of a problem; use inside `presets.arithmetic`.

    Asking again at the last point costs nothing: a value and a gradient there are one evaluation.
    SciPy gets float64 numbers, whatever the precision of the objective.

    Args:
      problem: what to minimise.
      cap: most points evaluated; beyond it `BudgetSpent` is raised. None for no cap.
    """

    def __init__(self, problem: Problem, cap: int | None = None, hvp: bool = False) -> None:
        self._problem = problem
        self._dtype = np.dtype(preset(problem.preset).dtype)
        self._data = {name: jnp.asarray(leaf) for name, leaf in problem.data.items()}
        self._value_and_grad = compiled_value_and_grad(problem.objective)
        self._hvp = compiled_hvp(problem.objective)
        self._cap = cap
        self._x: np.ndarray | None = None
        self._f = np.nan
        self._gradient = np.zeros(0)
        self._has_gradient = False
        self._points: list[float] = []
        self._iterates: list[float] = []
        self._evaluations: list[int] = []
        self._path: list[np.ndarray] = []
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
        value, gradient = self._value_and_grad(self._data, x.astype(self._dtype))
        self._x, self._f, self._has_gradient = x.copy(), float(value), False
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
        if not self._has_gradient:
            self._has_gradient = True
            self.n_g += 1
        return self._gradient.copy()

    def hvp(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Hessian at x times v, float64 `[N]`. No new point, whatever x is."""
        self.n_hvp += 1
        x, v = np.asarray(x, self._dtype), np.asarray(v, self._dtype)
        return np.asarray(self._hvp(self._data, x, v), np.float64)

    def iterated(self, value: float, x: np.ndarray) -> None:
        """Notes the end of an iteration with its iterate, `[N]`, and the value there."""
        self._iterates.append(float(value))
        self._path.append(np.array(x[:2], np.float64))
        self._evaluations.append(len(self._points))

    def trace(self, status: str) -> Trace:
        """What was recorded until now."""
        points = np.asarray(self._points)
        if len(points) > 1 and not np.isfinite(points[1:]).any():
            status = "non_finite"
        return Trace(
            points=points,
            iterates=np.asarray(self._iterates),
            evaluations=np.asarray(self._evaluations),
            n_f=len(points),
            n_g=self.n_g,
            n_hvp=self.n_hvp,
            status=status,
            seconds=time.perf_counter() - self._started,
            path=path_of(self._problem, np.asarray(self._path)),
        )
