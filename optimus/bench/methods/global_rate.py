"""Adam and Momentum with one learning rate for all problems, chosen on other functions.

What a user has who does not tune, and the fair neighbour of a learned optimizer that was not
trained on the function either (fact sheet `benchmark.md`, sections 10.6 and 11). The rule:

  * Functions that are relatives form a group (`GROUPS`, those of arm C). The rate for a function
    is chosen on the functions of all the other groups, so at most five rates are in use for a
    preset, whatever the dimension and whichever functions a benchmark is run on.
  * The choice is made in dimensions `DIMS` on the tuning starts, which never enter a result.
  * The best rate of `first_order.grid` has the least mean over functions, dimensions and starts of
        log10( floored gap reached / floored gap at the start ),
    in which no function outweighs the others. Of equals the smallest wins.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from optimus.bench.methods import first_order
from optimus.bench.methods.trace import Trace
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS
from optimus.problems.presets import TUNING_START, Problem

DIMS = (10, 100)
GROUPS = (
    # Quadratics and what is nearly one; Perm is Sum of Squares under `paper`.
    ("sphere", "sum_of_squares", "rotated_hyper_ellipsoid", "trid", "zakharov", "perm"),
    ("sum_of_powers", "powell", "dixon_price"),
    ("rosenbrock",),
    ("ackley", "griewank", "rastrigin"),
    ("levy", "styblinski_tang"),
)


def group_of(function: str) -> tuple[str, ...]:
    """The group of a function; one that is in none is alone."""
    return next((group for group in GROUPS if function in group), (function,))


@functools.cache
def scores(
    preset: str, function: str, dim: int, seed: int, method: str, steps: int
) -> np.ndarray | None:
    """Mean log10 of the share of the gap that is left, by rate of the grid: `[rates]`, at most 0.

    None where the preset has no such problem.
    """
    try:
        problem = presets.problem(preset, function, dim, seed, TUNING_START)
    except ValueError:
        return None
    rates = first_order.grid(preset, method)
    first, best = first_order.tuning_runs(problem, method, steps, "constant", rates)
    first, best = (np.maximum(each - problem.minimum, problem.floor) for each in (first, best))
    return np.mean(np.log10(best / first), axis=1)


def rate_for(preset: str, function: str, seed: int, method: str, steps: int) -> float:
    """The rate a function gets: the best of the grid on the functions of the other groups."""
    group = group_of(function)
    found = [
        scores(preset, other, dim, seed, method, steps)
        for other in FUNCTIONS
        if other not in group
        for dim in DIMS
    ]
    mean = np.mean([each for each in found if each is not None], axis=0)
    return float(first_order.grid(preset, method)[int(np.argmin(mean))])


def run_all(
    problems: Sequence[Problem],
    steps: int,
    *,
    method: str = "adam",
    lr: float | None = None,
    max_evaluations: int | None = None,
) -> list[Trace]:
    """As `first_order.run_all` with the rate of this module's rule, or the one given."""
    if lr is None:
        first = problems[0]
        length = min(steps, max_evaluations or steps)
        lr = rate_for(first.preset, first.function, first.seed, method, length)
    return first_order.run_all(
        problems, steps, method=method, lr=lr, max_evaluations=max_evaluations
    )
