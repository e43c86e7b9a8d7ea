"""The line search of the safeguard: weak Wolfe conditions by bisection (Lewis and Overton 2013).

The Armijo part makes f decrease, the curvature part yields a usable pair for L-BFGS.
"""

from __future__ import annotations

import numpy as np

from optimus.minimization.objective import Objective, Point

ARMIJO, CURVATURE = 1e-4, 0.9
MAX_TRIALS = 20


def line_search(
    objective: Objective, point: Point, towards: np.ndarray, slope: float
) -> Point | None:
    """A point that meets both conditions; after MAX_TRIALS the last that decreased enough, or None.

    Args:
      objective: evaluates and counts.
      point: where we are, complete and finite.
      towards: the direction, float64 [N] in z; its whole length is tried first.
      slope: of f along it, negative.
    """
    low, high, length = 0.0, np.inf, 1.0
    decreased: Point | None = None
    flat = False  # whether the last trial had just the value of the start
    for _ in range(MAX_TRIALS):
        trial = objective.value(point.z + length * towards)
        if np.array_equal(trial.z, point.z):
            break  # shorter than rounding
        if flat and trial.fun == point.fun:
            break  # at both lengths: f is flat to rounding (at one it may be a mirror image)
        flat = trial.fun == point.fun
        excess = trial.fun - point.fun - length * slope  # over the tangent
        if trial.finite and trial.fun < point.fun + ARMIJO * length * slope:
            trial = objective.complete(trial)
        if trial.finite and trial.fun < point.fun + ARMIJO * length * slope:
            assert trial.gradient is not None
            decreased, low = trial, length
            if trial.gradient @ towards >= CURVATURE * slope:
                break
            length = 2.0 * length if np.isinf(high) else 0.5 * (low + high)
        else:
            high = length
            share = 0.5
            if low == 0.0 and np.isfinite(excess) and excess > 0.0:
                # The minimum of the parabola through both values and the slope.
                share = min(max(-slope * length / (2.0 * excess), 0.1), 0.5)
            length = low + share * (high - low)
    return decreased
