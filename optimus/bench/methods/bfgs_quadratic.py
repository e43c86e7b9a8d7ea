"""SciPy's BFGS with its update in O(N²) instead of O(N³), for N beyond 250.

`scipy.optimize` multiplies N × N matrices at every iteration: half an hour for one cell of 64
starts at N = 1000. The loop and its tests are those of SciPy's BFGS, the line search is SciPy's
own; the update of the inverse Hessian H is the same formula multiplied out,
    H - ρ (s (Hy)ᵀ + (Hy) sᵀ) + ρ (1 + ρ yᵀHy) s sᵀ        with ρ = 1 / yᵀs.
A test holds the traces of the two against each other.
"""

import warnings

import numpy as np
import scipy.optimize

from optimus.bench.methods.counting import BudgetSpent, Counted, Status, Trace, one_by_one
from optimus.problems.presets import Problem, arithmetic

GTOL = 1e-5


def line_search(
    counted: Counted, x: np.ndarray, towards: np.ndarray, slope: float, value: float, before: float
) -> tuple[float, float] | None:
    """(step length, value there) by the line search of SciPy's BFGS; None where it fails.

    SciPy offers that search only as a part of BFGS, so this is the first iteration of BFGS in one
    variable, the step length. Its inverse Hessian is chosen such that the first length tried is
    that of BFGS in N variables, min(1, 2.02 (f - f before) / slope).

    Args:
      counted: the function.
      x, towards: `[N]`, where it stands and where it goes.
      slope: of the function at x along the direction.
      value: at x.
      before: value at the iterate before x.
    """
    if not -np.inf < slope < 0:
        return None  # no descent
    first = min(1.0, 2.02 * (value - before) / slope)
    if first == 0:
        return None
    first = 1.0 if first < 0 else first

    def along(length: np.ndarray) -> float:
        return counted.value(x + length * towards) if length[0] else value

    def slope_along(length: np.ndarray) -> np.ndarray:
        if not length[0]:
            return np.array([slope])
        return np.array([counted.gradient(x + length * towards) @ towards])

    one = {"maxiter": 1, "gtol": 0.0, "hess_inv0": np.array([[-first / slope]])}
    how = {"jac": slope_along, "method": "BFGS", "options": one}
    found = scipy.optimize.minimize(along, np.zeros(1), **how)
    return (float(found.x[0]), float(found.fun)) if found.nit else None


def update_inverse(inverse: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """H `[N, N]` after the pair (s, y), `[N]` each, in place."""
    curvature = y @ s
    rho = 1000.0 if curvature == 0 else 1 / curvature
    product = inverse @ y
    # - ρ(s pᵀ + p sᵀ) + c s sᵀ  =  s wᵀ + w sᵀ  with  w = c s / 2 - ρ p: one outer product.
    w = 0.5 * rho * (1 + rho * (y @ product)) * s - rho * product
    outer = np.outer(s, w)
    inverse += outer
    inverse += outer.T
    return inverse


def minimise(counted: Counted, x0: np.ndarray, steps: int) -> Status:
    """BFGS from x0 `[N]` for at most `steps` iterations; returns its status."""
    x = np.asarray(x0, np.float64)
    value, gradient = counted.value(x), counted.gradient(x)
    before = value + float(np.linalg.norm(gradient)) / 2
    inverse = np.eye(x.size)
    for _ in range(steps):
        if not np.max(np.abs(gradient)) > GTOL:
            break
        direction = -(inverse @ gradient)
        slope = float(gradient @ direction)
        found = line_search(counted, x, direction, slope, value, before)
        if found is None:
            return "stalled"
        before = value
        length, value = found
        s = length * direction
        x = x + s
        new_gradient = counted.gradient(x)  # the last point of the search: not evaluated again
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
    with arithmetic(problem.dtype), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # a failed line search shows in the status
        counted = Counted(problem, max_evaluations)
        try:
            return counted.trace(minimise(counted, problem.x0, steps))
        except BudgetSpent:
            return counted.trace("evaluations")


run_all = one_by_one(run)
