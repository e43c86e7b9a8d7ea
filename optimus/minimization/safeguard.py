"""The safeguard of `minimize`: tests each learned step, and replaces bad ones by L-BFGS steps.

A learned step s from x is taken when

    f(x + s) <= median of the last 3 values - 0.75 * p,     p = 1/2 g^T H g

where H is the L-BFGS inverse Hessian of the path so far and p the decrease it promises. The median
makes the test non-monotone without keeping a huge first value for long. Asking for a share of p,
rather than for any decrease, keeps a learned step that is far too small for the problem's scale
from being taken for ever. A step that fails is halved once, then replaced by a line search along
-H g for weak Wolfe conditions by bisection (Lewis and Overton 2013): the Armijo part makes f
decrease, the curvature part yields a usable pair.

A refusal costs two evaluations. So after n refusals in a row the learned step is not tried for the
next min(2^n - 1, 15) steps, which are L-BFGS steps: where the learned optimizer is of no use, the
run is L-BFGS at about nine tenths of its speed. On an ill-conditioned quadratic (N = 30, condition
1e4, 400 evaluations) the rests took the gap from 2e-1 to 2e-5 where hardly a learned step was
good enough. 3 and 0.75 were chosen on that quadratic, where a laxer test takes more learned steps
and ends higher.
"""

from collections import deque
from collections.abc import Iterable

import numpy as np

from optimus.minimization.objective import Objective, Point

HISTORY = 3  # values the median is taken of
SHARE = 0.75  # of the predicted decrease
PAIRS = 10
LONGEST_REST = 15
ARMIJO, CURVATURE = 1e-4, 0.9  # of the line search
MAX_TRIALS = 20

Pairs = deque[tuple[np.ndarray, np.ndarray]]  # (x change, gradient change), oldest first


def new_pairs(known: Iterable[tuple[np.ndarray, np.ndarray]] = ()) -> Pairs:
    """A memory, empty or of the pairs known, of float64 [N] each, oldest first."""
    return deque(known, maxlen=PAIRS)


def remember(pairs: Pairs, old: Point, new: Point) -> None:
    """Adds the pair of a step, unless it shows no positive curvature."""
    assert old.gradient is not None and new.gradient is not None
    s, y = new.z - old.z, new.gradient - old.gradient
    with np.errstate(over="ignore", invalid="ignore"):
        curvature, floor = s @ y, 1e-10 * np.linalg.norm(s) * np.linalg.norm(y)
        usable = np.isfinite(curvature) and np.isfinite(y @ y) and curvature > floor
    if usable and curvature > 0.0:
        pairs.append((s, y))


def direction(pairs: Pairs, gradient: np.ndarray) -> np.ndarray:
    """-H g, float64 [N], by the two-loop recursion; of length 1 while there are no pairs."""
    if not pairs:
        largest = np.max(np.abs(gradient))  # first, since squares of 1e200 overflow
        return -(gradient / largest) / np.linalg.norm(gradient / largest)
    result, weights = -gradient, []
    for s, y in reversed(pairs):
        weight = (s @ result) / (s @ y)
        weights.append(weight)
        result = result - weight * y
    s, y = pairs[-1]
    result = result * ((s @ y) / (y @ y))
    for (s, y), weight in zip(pairs, reversed(weights)):
        result = result + (weight - (y @ result) / (s @ y)) * s
    return result


def promise(pairs: Pairs, point: Point) -> float:
    """The decrease of f that is to be expected from here, 1/2 g^T H g; infinite without pairs."""
    assert point.gradient is not None
    slope = float(point.gradient @ direction(pairs, point.gradient)) if pairs else -np.inf
    return 0.5 * -slope if np.isfinite(slope) and slope < 0.0 else np.inf


def rest(refusals: int) -> int:
    """For how many steps the learned one is not tried after so many refusals in a row."""
    return min(2**refusals - 1, LONGEST_REST)


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


def guarded_step(
    objective: Objective, pairs: Pairs, recent: list[float], point: Point, step: np.ndarray | None
) -> tuple[Point | None, bool]:
    """One safeguarded iteration.

    Args:
      objective: evaluates and counts.
      pairs: L-BFGS memory; gets the pair of this step. Emptied where its direction fails.
      recent: values of the last iterations, oldest first, this point's last.
      point: where we are, complete and finite, with a gradient that is not 0.
      step: the learned step in z, float64 [N]; may be NaN. None: an L-BFGS step is due.

    Returns:
      The next point, complete, or None when no decrease is found; and whether the step was learned.
    """
    assert point.gradient is not None
    towards = direction(pairs, point.gradient)
    slope = float(point.gradient @ towards)
    if not np.isfinite(towards).all() or not slope < 0.0:
        pairs.clear()
        towards = direction(pairs, point.gradient)
        slope = float(point.gradient @ towards)
    window = sorted(recent[-HISTORY:])
    enough = window[(len(window) - 1) // 2] - SHARE * 0.5 * -slope
    if step is not None and np.isfinite(step).all():
        for factor in (1.0, 0.5):
            trial = objective.value(point.z + factor * step)
            if trial.finite and trial.fun <= enough and not np.array_equal(trial.z, point.z):
                trial = objective.complete(trial)
                if trial.finite:
                    remember(pairs, point, trial)
                    return trial, True
    found = line_search(objective, point, towards, slope)
    if found is None and pairs:  # the memory misled: once more, straight down
        pairs.clear()
        towards = direction(pairs, point.gradient)
        found = line_search(objective, point, towards, float(point.gradient @ towards))
    if found is not None:
        remember(pairs, point, found)
    return found, False
