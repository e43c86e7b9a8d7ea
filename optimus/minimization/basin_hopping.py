"""Hops of `minimize`: on from a local minimum, for as long as there are evaluations left.

Basin hopping (Wales and Doye 1997) without its temperature: the next descent starts at the best
point so far with a few coordinates displaced, so that most of what has been gained is kept, and
the better end counts. How far is taken from the run itself: about as far as the best point is
from x0, since the first descent shows over what distances the function changes. The descent takes
over the L-BFGS memory of the one it hops from, so that a learned step must be as good as that
promises from the start. Under the safeguard every other descent, the first after a hop among them,
is L-BFGS alone: on some functions its minima are as low and cost half as much (Styblinski-Tang),
on others the learned steps' are lower (Levy), and which it is a single run cannot tell.

Lengths, shares and the rules that end a descent were chosen on seeds 7 and 8 of the fair presets,
which no table shows: Styblinski-Tang (N = 10, 20), Rastrigin, Levy, Ackley, Griewank, 32 starts.
"""

from __future__ import annotations

import numpy as np

SHARE = 0.3  # of the coordinates
REACH = 1.4  # standard deviation, in root mean squares of what the coordinates have travelled
SPREAD = 2.0  # that is multiplied or divided by so much at most, log-uniformly, hop by hop
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
    reach = REACH * SPREAD ** random.uniform(-1.0, 1.0) * max(typical, SHORTEST)
    return np.where(chosen, best + reach * random.normal(size=best.size), best)
