"""Two rivals that never look at the function: return zero, and x <- 0.9 x.

The paper's start box is centred on 0, the optimum of most of its functions; what they score there
is what centre-seeking alone is worth (fact sheet `benchmark.md`, section 6).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from optimus.bench.methods.counting import stacked
from optimus.bench.methods.trace import Trace, one_point_a_step, path_of
from optimus.problems import presets
from optimus.problems.presets import Objective, Problem


@functools.cache
def _compiled(objective: Objective) -> Any:
    """(data, x0, factors `[K]`) -> values `[S, K]` at factor · x0, jitted."""

    def along(data: Any, x0: jax.Array, factors: jax.Array) -> jax.Array:
        return jax.lax.map(lambda factor: objective(data, factor * x0), factors)

    return jax.jit(jax.vmap(along, in_axes=(0, 0, None)))


def _along(problems: Sequence[Problem], factors: np.ndarray) -> list[Trace]:
    data, x0 = stacked(problems)
    with presets.arithmetic(presets.preset(problems[0].preset).dtype):
        run = _compiled(problems[0].objective).lower(data, x0, factors.astype(x0.dtype)).compile()
        started = time.perf_counter()
        values = np.asarray(run(data, x0, factors.astype(x0.dtype)), np.float64)
        seconds = (time.perf_counter() - started) / len(problems)
    return [
        one_point_a_step(
            row,
            gradients=False,
            seconds=seconds,
            path=path_of(problem, factors[:, None] * problem.x0),
        )
        for problem, row in zip(problems, values)
    ]


def shrink_all(
    problems: Sequence[Problem],
    steps: int,
    *,
    factor: float = 0.9,
    max_evaluations: int | None = None,
) -> list[Trace]:
    """x <- factor · x, `steps` values."""
    return _along(problems, factor ** np.arange(min(steps, max_evaluations or steps)))


def zero_all(
    problems: Sequence[Problem], steps: int, *, max_evaluations: int | None = None
) -> list[Trace]:
    """x = 0: one evaluation, and not even the start is looked at."""
    return _along(problems, np.zeros(1))
