"""Hops of `minimize`: on from a local minimum, for as long as there are evaluations left.

Basin hopping (Wales and Doye 1997) without its temperature: the next descent starts at the best
point so far with a few coordinates displaced, so that most of what has been gained is kept, and
the better end counts. How far is taken from the run itself: a multiple of how far the best point
is from x0, since the first descent shows over what distances the function changes.
"""

from __future__ import annotations

import numpy as np

SHARE = 0.2  # of the coordinates
REACH = 2.0  # standard deviation, in root mean squares of what the coordinates have travelled
SHORTEST = 0.1  # least of those, in z: as long as the learned optimizer's first steps


def displaced(random: np.random.Generator, best: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Where the next descent starts.

    Args:
      best: lowest point so far, float64 [N]. start: x0. Both in z, which is x / x_scale.

    Returns:
      float64 [N], differs from `best` in at least one coordinate.
    """
    chosen = random.random(best.size) < SHARE
    chosen[random.integers(best.size)] = True
    travelled = best - start
    largest = np.max(np.abs(travelled))  # first, since squares of 1e200 overflow
    typical = largest * np.sqrt(np.mean((travelled / largest) ** 2)) if largest else 0.0
    reach = REACH * max(typical, SHORTEST)
    return np.where(chosen, best + reach * random.normal(size=best.size), best)
