"""SciPy's BFGS with its update in O(N²) instead of O(N³), for N beyond 250.

`scipy.optimize` multiplies N × N matrices at every iteration: half an hour for one cell of 64
starts at N = 1000. The loop, its line search (SciPy's own) and its tests are those of SciPy's
`_minimize_bfgs`; the update of the inverse Hessian H is the same formula multiplied out,
    H - ρ (s (Hy)ᵀ + (Hy) sᵀ) + ρ (1 + ρ yᵀHy) s sᵀ        with ρ = 1 / yᵀs.
A test holds the traces of the two against each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize._linesearch import line_search_wolfe1, line_search_wolfe2

from optimus.bench.methods.counting import BudgetSpent, Counted
from optimus.bench.methods.trace import Trace
from optimus.problems.presets import Problem, arithmetic, preset

GTOL = 1e-5
WOLFE = {"c1": 1e-4, "c2": 0.9, "amax": 1e100}


def _line_search(counted: Counted, *arguments: Any) -> tuple[Any, ...] | None:
    """(step length, ..., value, value before, gradient or None), or None where both searches fail.

    The arguments are x, direction, gradient, value, value before.
    """
    found = line_search_wolfe1(counted.value, counted.gradient, *arguments, amin=1e-100, **WOLFE)
    if found[0] is None:
        found = line_search_wolfe2(counted.value, counted.gradient, *arguments, **WOLFE)
    return None if found[0] is None else found


def update_inverse(inverse: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """H after the pair (s, y), in place."""
    curvature = y @ s
    rho = 1000.0 if curvature == 0 else 1 / curvature
    product = inverse @ y
    # - ρ(s pᵀ + p sᵀ) + c s sᵀ  =  s wᵀ + w sᵀ  with  w = c s / 2 - ρ p: one outer product.
    w = 0.5 * rho * (1 + rho * (y @ product)) * s - rho * product
    outer = np.outer(s, w)
    inverse += outer
    inverse += outer.T
    return inverse


def minimise(counted: Counted, x0: np.ndarray, steps: int) -> str:
    """BFGS from x0 for at most `steps` iterations; returns its status."""
    x = np.asarray(x0, np.float64)
    value, gradient = counted.value(x), counted.gradient(x)
    before = value + np.linalg.norm(gradient) / 2
    inverse = np.eye(x.size)
    for _ in range(steps):
        if not np.max(np.abs(gradient)) > GTOL:
            break
        direction = -(inverse @ gradient)
        found = _line_search(counted, x, direction, gradient, value, before)
        if found is None:
            return "stalled"
        length, _, _, value, before, new_gradient = found
        s = length * direction
        x = x + s
        if new_gradient is None:
            new_gradient = counted.gradient(x)
        y, gradient = new_gradient - gradient, new_gradient
        counted.iterated(value, x)
        if not np.any(s) or not np.isfinite(value):
            break
        if np.max(np.abs(gradient)) > GTOL:
            inverse = update_inverse(inverse, s, y)
    else:
        return "steps"
    return "converged" if np.max(np.abs(gradient)) <= GTOL else "stalled"


def run(problem: Problem, steps: int, *, max_evaluations: int | None = None) -> Trace:
    """One problem, at most `steps` iterations and `max_evaluations` points."""
    with (
        arithmetic(preset(problem.preset).dtype),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")  # a failed line search shows in the status
        counted = Counted(problem, max_evaluations)
        try:
            status = minimise(counted, problem.x0, steps)
        except BudgetSpent:
            status = "evaluations"
        return counted.trace(status)


def run_all(problems: Sequence[Problem], steps: int, **options: Any) -> list[Trace]:
    """The problems one after the other; options as for `run`."""
    return [run(problem, steps, **options) for problem in problems]
