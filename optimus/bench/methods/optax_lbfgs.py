"""`optax.lbfgs` with its zoom line search, its defaults, and a stop.

One compiled loop over starts, one start after the other: vmapped, every line search would last as
long as the longest. Stops where max |g| <= 1e-5, as SciPy does, or the step changes nothing.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optimus.bench.methods.counting import (
    KEPT,
    Cap,
    Problems,
    Status,
    Trace,
    path_of,
    stacked,
    timed,
)
from optimus.problems.presets import Objective

GTOL = 1e-5


@functools.lru_cache(maxsize=KEPT)
def _compiled(objective: Objective, steps: int) -> Any:
    """(data, x0) of leading dimension S -> per start: values `[S, steps + 1]`, evaluations
    `[S, steps + 1]` and first coordinates `[S, steps + 1, 2]` by iteration, iterations done `[S]`,
    whether it converged `[S]`; jitted."""
    optimizer = optax.lbfgs()

    def one(arguments: Any) -> Any:
        data, x0 = arguments
        value_of = functools.partial(objective, data)
        value, gradient = jax.value_and_grad(value_of)(x0)
        values = jnp.full(steps + 1, value).at[0].set(value)
        record = (values, jnp.ones(steps + 1, jnp.int32), jnp.tile(x0[:2], (steps + 1, 1)))

        def going(carry: Any) -> jax.Array:
            k, _, _, _, gradient, (values, _, _), moved = carry
            flat = jnp.max(jnp.abs(gradient)) <= GTOL
            return (k < steps) & moved & ~flat & jnp.isfinite(values[k])

        def step(carry: Any) -> Any:
            k, x, state, value, gradient, (values, evaluations, path), _ = carry
            known = {"value": value, "grad": gradient, "value_fn": value_of}
            updates, state = optimizer.update(gradient, state, x, **known)
            new = optax.apply_updates(x, updates)
            value = optax.tree_utils.tree_get(state, "value")
            gradient = optax.tree_utils.tree_get(state, "grad")
            trials = optax.tree_utils.tree_get(state, "num_linesearch_steps")
            evaluations = evaluations.at[k + 1].set(evaluations[k] + trials.astype(jnp.int32))
            record = (values.at[k + 1].set(value), evaluations, path.at[k + 1].set(new[:2]))
            return k + 1, new, state, value, gradient, record, jnp.any(new != x)

        start = (0, x0, optimizer.init(x0), value, gradient, record, True)
        k, _, _, _, gradient, record, _ = jax.lax.while_loop(going, step, start)
        return *record, k, jnp.max(jnp.abs(gradient)) <= GTOL

    return jax.jit(lambda data, x0: jax.lax.map(one, (data, x0)))


def _trace(values: np.ndarray, evaluations: np.ndarray, flat: bool, steps: int, cap: Cap) -> Trace:
    """A line search is seen from outside: its trials count, their values are not known, and stand
    in the record as the value it began with. A cap ends the record after the last iteration that
    is wholly within it."""
    within = len(values) if cap is None else int(np.searchsorted(evaluations, cap, "right"))
    capped = within < len(values)
    values, evaluations = values[:within].astype(np.float64), evaluations[:within].astype(int)
    points = np.repeat(np.append(values[0], values[:-1]), np.diff(evaluations, prepend=0))
    points[evaluations - 1] = values
    status: Status = "converged" if flat else "steps" if len(values) > steps else "stalled"
    if len(values) > 1 and not np.isfinite(values[1:]).any():
        status = "non_finite"
    counts: dict[str, Any] = {"n_f": len(points), "n_g": len(points), "n_hvp": 0}
    return Trace(points, values, evaluations, status="evaluations" if capped else status, **counts)


def run_all(problems: Problems, steps: int, *, max_evaluations: Cap = None) -> list[Trace]:
    """Problems of one cell, at most `steps` iterations and `max_evaluations` points each."""
    data, x0 = stacked(problems)
    run = _compiled(problems[0].objective, steps)
    (values, evaluations, path, done, flat), seconds = timed(problems[0], run, data, x0)
    traces = []
    for i, (problem, k) in enumerate(zip(problems, done)):
        trace = _trace(values[i, : k + 1], evaluations[i, : k + 1], flat[i], steps, max_evaluations)
        seen = path_of(problem, path[i, : len(trace.iterates)])
        traces.append(dataclasses.replace(trace, seconds=seconds / len(problems), path=seen))
    return traces
