"""Methods of one evaluation a step, a whole cell one compiled program.

Adam and Momentum (optax): the value is read before the update, so `steps` evaluations are
`steps` − 1 updates. Their learning rate is tuned per function and dimension: the best of a log grid
by the mean best-so-far over starts of their own. Under `paper` the grid is 100 rates in 1e-6 ... 1,
the cap of 1 included, which held the paper back; under the fair presets 1e-4 ... 10, Momentum's
from 1e-9.

Return zero, and x <- 0.9 x, never look at the function. The paper's start box is centred on 0, the
optimum of most of its functions; what they score there is what seeking the centre alone is worth.
"""

import functools
from typing import Any, Literal

import jax
import numpy as np
import optax

from optimus.bench.methods import counting
from optimus.bench.methods.counting import (
    Cap,
    Problems,
    Trace,
    one_point_a_step,
    path_of,
    stacked,
    timed,
)
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS
from optimus.problems.presets import TUNING_START, Objective, Problem

Name = Literal["adam", "adam_cosine", "momentum"]
MOMENTUM = 0.9
TUNING_STARTS = 16
SHARED_RATE_DIMS = (10, 100)


@functools.lru_cache(maxsize=counting.KEPT)
def _compiled(objective: Objective, method: Name, steps: int) -> Any:
    """(data, x0, lr), all of leading dimension S -> values `[S, steps]` and the first two
    coordinates `[S, steps, 2]` of the points they belong to, jitted."""

    def descend(data: Any, x0: jax.Array, lr: jax.Array) -> jax.Array:
        rate = optax.cosine_decay_schedule(lr, steps) if method == "adam_cosine" else lr
        momentum = method == "momentum"
        optimizer = optax.sgd(rate, momentum=MOMENTUM) if momentum else optax.adam(rate)

        def step(carry: Any, _: None) -> tuple[Any, Any]:
            x, state = carry
            value, gradient = jax.value_and_grad(objective, argnums=1)(data, x)
            updates, state = optimizer.update(gradient, state, x)
            return (optax.apply_updates(x, updates), state), (value, x[:2])

        return jax.lax.scan(step, (x0, optimizer.init(x0)), None, length=steps)[1]

    return jax.jit(jax.vmap(descend))


def run_all(
    problems: Problems,
    steps: int,
    *,
    method: Name = "adam",
    lr: float | None = None,
    max_evaluations: Cap = None,
) -> list[Trace]:
    """Problems of one cell together.

    Args:
      problems: of one cell.
      steps: evaluations.
      method: which; the rate of "adam_cosine" falls over the steps.
      lr: learning rate; None tunes it first, outside the clock.
      max_evaluations: caps `steps`.
    """
    steps = min(steps, max_evaluations or steps)
    lr = tune(problems[0], method, steps) if lr is None else lr
    data, x0 = stacked(problems)
    run = _compiled(problems[0].objective, method, steps)
    rates = np.full(len(x0), lr, x0.dtype)
    (values, shown), seconds = timed(problems[0], run, data, x0, rates)
    more: dict[str, Any] = {"lr": lr, "seconds": seconds / len(problems)}
    return [
        one_point_a_step(row, gradients=True, path=path_of(problem, points), **more)
        for problem, row, points in zip(problems, values, shown)
    ]


# ----------------------------------------------------------------------------- learning rates


def grid(preset: str, method: Name) -> np.ndarray:
    """Learning rates `[rates]` to choose from, ascending."""
    if presets.preset(preset).slips:
        return np.logspace(-6, 0, 100)
    lowest = -9 if method == "momentum" else -4
    return np.logspace(lowest, 1, 4 * (1 - lowest) + 1)


def tuning_runs(
    problem: Problem, method: Name, steps: int, rates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Runs from the tuning starts of the problem's cell, those from `TUNING_START` on.

    Args:
      problem: any of the cell.
      method: which.
      steps: evaluations.
      rates: learning rates `[rates]`.

    Returns:
      Values at the starts `[S]`, and the best from there with each rate `[rates, S]`.
    """
    starts = range(TUNING_START, TUNING_START + TUNING_STARTS)
    cell = (problem.preset, problem.function, problem.dim, problem.seed)
    data, x0 = stacked([presets.problem(*cell, start) for start in starts])
    with presets.arithmetic(problem.dtype):
        run = _compiled(problem.objective, method, steps)
        found = [run(data, x0, np.full(len(x0), rate, x0.dtype))[0] for rate in rates]
        values = np.asarray(found, np.float64)
    return values[0, :, 0], counting.best_so_far(values)[:, :, -1]


def tune(problem: Problem, method: Name, steps: int, rates: np.ndarray | None = None) -> float:
    """The rate with the least mean best-so-far over the tuning starts; of equals the smallest.

    Args:
      problem: any of the cell.
      method: which.
      steps: evaluations.
      rates: to choose from, `[rates]`, ascending; None for those of `grid`.
    """
    rates = grid(problem.preset, method) if rates is None else rates
    _, best = tuning_runs(problem, method, steps, rates)
    return float(rates[int(np.argmin(np.mean(best, axis=1)))])


def log_gap_left(problem: Problem, method: Name, steps: int) -> np.ndarray:
    """Mean over the tuning starts of log10 of the floored share of the gap that is left, at most 0,
    for each rate of the grid: `[rates]`."""
    rates = grid(problem.preset, method)
    first, best = tuning_runs(problem, method, steps, rates)
    first, best = (np.maximum(each - problem.minimum, problem.floor) for each in (first, best))
    return np.mean(np.log10(best / first), axis=1)


def shared_rate(preset: str, method: Name, steps: int) -> float:
    """One rate for all problems, what a user has who does not tune.

    The best of the grid by the mean of `log_gap_left` over all functions that the preset has in
    dimensions `SHARED_RATE_DIMS`, in which no function outweighs the others; `steps` evaluations
    from the tuning starts of seed 0.
    """
    scores = []
    for name in FUNCTIONS:
        for dim in SHARED_RATE_DIMS:
            try:
                problem = presets.problem(preset, name, dim, 0, TUNING_START)
            except ValueError:
                continue  # no such problem in this preset
            scores.append(log_gap_left(problem, method, steps))
    return float(grid(preset, method)[int(np.argmin(np.mean(scores, axis=0)))])


# ------------------------------------------------------------- methods that look at no value


@functools.lru_cache(maxsize=counting.KEPT)
def _compiled_along(objective: Objective) -> Any:
    """(data, x0, factors `[K]`) -> values `[S, K]` at factor · x0, jitted."""

    def along(data: Any, x0: jax.Array, factors: jax.Array) -> jax.Array:
        return jax.lax.map(lambda factor: objective(data, factor * x0), factors)

    return jax.jit(jax.vmap(along, in_axes=(0, 0, None)))


def _along(problems: Problems, factors: np.ndarray) -> list[Trace]:
    data, x0 = stacked(problems)
    run = _compiled_along(problems[0].objective)
    values, seconds = timed(problems[0], run, data, x0, factors.astype(x0.dtype))
    more: dict[str, Any] = {"gradients": False, "seconds": seconds / len(problems)}
    paths = (path_of(problem, factors[:, None] * problem.x0) for problem in problems)
    return [one_point_a_step(row, path=path, **more) for row, path in zip(values, paths)]


def shrink_all(
    problems: Problems, steps: int, *, factor: float = 0.9, max_evaluations: Cap = None
) -> list[Trace]:
    """x <- factor · x, as many values as steps.

    Args:
      problems: of one cell.
      steps: evaluations.
      factor: of each step.
      max_evaluations: caps `steps`.
    """
    return _along(problems, factor ** np.arange(min(steps, max_evaluations or steps)))


def zero_all(problems: Problems, steps: int, *, max_evaluations: Cap = None) -> list[Trace]:
    """x = 0: one evaluation, and not even the start is looked at."""
    return _along(problems, np.zeros(1))
