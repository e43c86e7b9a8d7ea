"""From a raw inner loss to the meta-loss that scores it.

The logarithm makes tasks of different scale comparable inside one batch, where raw values would
let the largest dominate (optimus fact sheet, section 7.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

FLOOR = 1e-8  # smallest gap that counts, in units of the loss
CAP = 5.0  # a step may lose at most this many e-folds against the start; NaN and inf score the same


def log_gap(value: Any, initial: Any, minimum: float = 0.0, xp: Any = np) -> Any:
    """log((f - f*) / (f0 - f*)), both gaps floored at 1e-8, at most `CAP`.

    Args:
      value: f after a step, any shape; NaN or infinite allowed.
      initial: f at the episode's start, finite, broadcastable to `value`.
      minimum: f* or a lower bound of f.
      xp: `numpy` or `jax.numpy`.

    Returns:
      The meta-loss, shape and dtype of `value`: 0 at the start, negative when better.
    """
    gap = xp.log(xp.maximum(initial - minimum, FLOOR))
    finite = xp.isfinite(value)
    safe = xp.where(finite, value, initial)
    score = xp.log(xp.maximum(safe - minimum, FLOOR)) - gap
    return xp.where(finite, xp.minimum(score, CAP), CAP)
