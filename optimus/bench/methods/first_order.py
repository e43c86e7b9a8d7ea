"""Adam and Momentum (optax), learning rate tuned per function and dimension.

All starts run as one compiled scan, vmapped. The value is read before the update, so `steps`
evaluations are `steps` − 1 updates.

Learning rates (fact sheet `benchmark.md`, sections 2.2 and 11): the best of a log grid by the mean
best-so-far over starts of their own. Under `paper` the grid is 100 rates in 1e-6 ... 1, the cap of
1 included, which held the paper back; under the fair presets 1e-4 ... 10, Momentum's from 1e-9.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimus.bench.methods.counting import stacked
from optimus.bench.methods.trace import Trace, best_so_far, one_point_a_step, path_of
from optimus.problems import presets
from optimus.problems.presets import TUNING_START, Objective, Problem

MOMENTUM = 0.9
TUNING_STARTS = 16


def _rate(lr: Any, steps: int, schedule: str) -> Any:
    return optax.cosine_decay_schedule(lr, steps) if schedule == "cosine" else lr


def _transformation(method: str, rate: Any) -> optax.GradientTransformation:
    if method == "adam":
        return optax.adam(rate)
    return optax.sgd(rate, momentum=MOMENTUM)


@functools.cache
def _compiled(objective: Objective, method: str, steps: int, schedule: str) -> Any:
    """(data, x0, lr), all of leading dimension S -> values `[S, steps]` and the first two
    coordinates `[S, steps, 2]` of the points they belong to, jitted."""

    def descend(data: Any, x0: jax.Array, lr: jax.Array) -> jax.Array:
        optimizer = _transformation(method, _rate(lr, steps, schedule))

        def step(carry: Any, _: None) -> tuple[Any, Any]:
            x, state = carry
            value, gradient = jax.value_and_grad(objective, argnums=1)(data, x)
            updates, state = optimizer.update(gradient, state, x)
            return (optax.apply_updates(x, updates), state), (value, x[:2])

        return jax.lax.scan(step, (x0, optimizer.init(x0)), None, length=steps)[1]

    return jax.jit(jax.vmap(descend))


def grid(preset: str, method: str) -> np.ndarray:
    """Learning rates to choose from, ascending."""
    if presets.preset(preset).slips:
        return np.logspace(-6, 0, 100)
    lowest = -4 if method == "adam" else -9
    return np.logspace(lowest, 1, 4 * (1 - lowest) + 1)


def tuning_runs(
    problem: Problem, method: str, steps: int, schedule: str, rates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values at the tuning starts of the problem's cell, `[S]`, and the best that `steps`
    evaluations reach from there with each rate, `[rates, S]`."""
    starts = range(TUNING_START, TUNING_START + TUNING_STARTS)
    cell = (problem.preset, problem.function, problem.dim, problem.seed)
    data, x0 = stacked([presets.problem(*cell, start) for start in starts])
    with presets.arithmetic(presets.preset(problem.preset).dtype):
        run = _compiled(problem.objective, method, steps, schedule)
        values = np.asarray(
            [run(data, x0, jnp.full(len(x0), rate, x0.dtype))[0] for rate in rates], np.float64
        )
    return values[0, :, 0], best_so_far(values)[:, :, -1]


def tune(
    problem: Problem,
    method: str,
    steps: int,
    schedule: str = "constant",
    rates: np.ndarray | None = None,
) -> float:
    """The rate of the grid with the least mean best-so-far; of equals the smallest.

    The starts it is chosen on are those of the problem's cell from `TUNING_START` on.
    """
    rates = grid(problem.preset, method) if rates is None else rates
    _, best = tuning_runs(problem, method, steps, schedule, rates)
    return float(rates[int(np.argmin(np.mean(best, axis=1)))])


def run_all(
    problems: Sequence[Problem],
    steps: int,
    *,
    method: str = "adam",
    schedule: str = "constant",
    lr: float | None = None,
    max_evaluations: int | None = None,
) -> list[Trace]:
    """Problems of one cell together; `lr` None tunes it first, outside the clock."""
    steps = min(steps, max_evaluations or steps)
    lr = tune(problems[0], method, steps, schedule) if lr is None else lr
    data, x0 = stacked(problems)
    with presets.arithmetic(presets.preset(problems[0].preset).dtype):
        run = _compiled(problems[0].objective, method, steps, schedule)
        arguments = (data, x0, jnp.full(len(x0), lr, x0.dtype))
        run = run.lower(*arguments).compile()
        started = time.perf_counter()
        values, shown = (np.asarray(each) for each in run(*arguments))
        seconds = (time.perf_counter() - started) / len(problems)
    return [
        one_point_a_step(row, gradients=True, lr=lr, seconds=seconds, path=path_of(problem, points))
        for problem, row, points in zip(problems, values, shown)
    ]
