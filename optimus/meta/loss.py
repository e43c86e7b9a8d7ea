"""From a raw inner loss to the meta-loss that scores it.

The logarithm makes tasks of different scale comparable inside one batch, where raw values would
let the largest dominate.
"""

from typing import Any

import numpy as np

FLOOR = 1e-8  # smallest gap that counts, in units of the loss
CAP = 5.0  # a step may lose at most this many e-folds against the start; NaN and inf score the same


def log_gap(value: Any, initial: Any, minimum: float = 0.0, xp: Any = np) -> Any:
    """`log((f - f*) / (f0 - f*))`, both gaps floored at 1e-8, at most `CAP`.

    Args:
      value: f after a step, any shape; NaN or infinite allowed.
      initial: f at the episode's start, finite, broadcastable to `value`.
      minimum: `f*` or a lower bound of f.
      xp: `numpy` or `jax.numpy`.

    Returns:
      The meta-loss, shape and dtype of `value`: 0 at the start, negative when better.
    """
    return score("log_gap", value - minimum, initial - minimum, xp=xp)


def log_gap_slope(value: float, initial: float) -> float:
    """Derivative of `log_gap` by f at `value`, `f* = 0`: 1 / f, 0 where floored or capped."""
    return 1.0 / value if FLOOR < value < max(initial, FLOOR) * np.exp(CAP) else 0.0


def score(
    kind: str, value: Any, initial: Any, floor: float = FLOOR, cap: float = CAP, xp: Any = np
) -> Any:
    """One of the meta-losses; NaN and infinity score as the cap.

    Args:
      kind: "log_gap", as `log_gap` but with this floor and cap; "log_ratio": log(r + floor) with
        r = gap / initial gap, where a constant factor on f changes nothing.
      value: gap `f - f*` after a step, any shape.
      initial: gap at the start, finite, broadcastable to `value`.
      floor: smallest gap ("log_gap") or ratio of gaps ("log_ratio") that counts.
      cap: a step scores at most this.
      xp: `numpy` or `jax.numpy`.

    Returns:
      The score, shape and dtype of `value`.
    """
    finite = xp.isfinite(value)
    gap = xp.maximum(xp.where(finite, value, initial), 0.0)
    if kind == "log_gap":
        scored = xp.log(xp.maximum(gap, floor)) - xp.log(xp.maximum(initial, floor))
    else:
        scored = xp.log(gap / xp.maximum(initial, 1e-30) + floor)
    return xp.where(finite, xp.minimum(scored, cap), cap)
