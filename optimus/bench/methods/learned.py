"""Learned optimizers as methods of the benchmark: bare, restarted, and behind `minimize`.

Bare and restarted, the starts of a cell are one compiled program: a scan over the steps, vmapped
over the starts. Only where the memory of all starts together would pass `MEMORY` are they taken in
groups, by `lax.map` inside the same program; the 64 starts of N = 100 are one group, those of
N = 1000 are not.

The value is read before the update: `steps` evaluations are `steps` − 1 updates. Objective and
point have the preset's precision; the optimizer is float32 and its steps are added up in the
point's.

A lane whose step is not finite stops there for good: its record ends with the point that has
spoilt it, its status is "stalled", or "non_finite" if nothing after its start was finite. What it
has left of its budget is not spent.

Behind `optimus.minimize`, which is what a user gets, learned steps that fail a decrease test are
replaced by L-BFGS steps, so an iteration may cost more than one evaluation. It stops by itself
where nothing is left to gain; with `hops=None` it goes on from there by basin hopping, until the
budget is spent.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.bench.methods import counting
from optimus.bench.methods.counting import Cap, Problems, Status, Trace, one_point_a_step, stacked
from optimus.minimization import minimize, proposal
from optimus.model import registry
from optimus.model.registry import Config
from optimus.problems.presets import Objective, Problem, arithmetic
from optimus.weights import LearnedOptimizer

MEMORY = 1 << 30  # bytes that the starts of one group may take, by `lane_bytes`
SHOWN = 2  # coordinates of each iterate that are kept


def lane_bytes(config: Config, size: int) -> int:
    """About what one start needs while it runs, an upper estimate.

    Optimus: B before and after, and per head the attention weights in a few versions.
    """
    heads = getattr(config, "heads", 0)
    square = 2 + 3 * heads if heads else 0
    width = 8 * getattr(config, "dim", 0) + 256
    return 4 * size * (square * size + width)


def lanes_together(config: Config, size: int, lanes: int) -> int:
    """How many of the lanes run vmapped: the largest divisor of `lanes` that fits `MEMORY`; raises
    `ConfigError` where the memory that one of them takes would be too much."""
    proposal.check_size(config, size)
    most = max(1, MEMORY // lane_bytes(config, size))
    return max(each for each in range(1, min(lanes, most) + 1) if lanes % each == 0)


@functools.lru_cache(maxsize=counting.KEPT)
def compiled(objective: Objective, config: Config, steps: int, together: int) -> Any:
    """The jitted program of a cell.

    Args:
      objective: of all starts.
      config: the architecture.
      steps: evaluations of each start.
      together: starts that run vmapped.

    Returns:
      (params, data, x0), the latter two of leading dimension S, a multiple of `together` ->
      values `[S, steps]`, points evaluated `[S]`, first coordinates `[S, steps, 2]`.
    """
    rule = registry.rule_of(config)

    def descend(params: Any, lane: tuple[Any, jax.Array]) -> Any:
        data, x0 = lane

        def step(carry: Any, _: None) -> tuple[Any, Any]:
            x, state, alive = carry
            value, gradient = jax.value_and_grad(objective, argnums=1)(data, x)
            change, new_state = rule.update(config, params, state, x, gradient)
            new_x = x + change.astype(x.dtype)
            going = alive & jnp.all(jnp.isfinite(new_x))
            # A stopped lane keeps its place and state, both of which are finite.
            carry = jax.tree_util.tree_map(
                lambda new, old: jnp.where(going, new, old), (new_x, new_state), (x, state)
            )
            return (*carry, going), (value, alive, x[:SHOWN])

        start = (x0, rule.init_state(config, x0), jnp.array(True))
        values, alive, shown = jax.lax.scan(step, start, None, length=steps)[1]
        return values, jnp.sum(alive), shown

    def run(params: Any, data: Any, x0: jax.Array) -> Any:
        one = functools.partial(descend, params)
        if together == x0.shape[0]:
            return jax.vmap(one)((data, x0))
        return jax.lax.map(one, (data, x0), batch_size=together)

    return jax.jit(run)


def _descend(
    model: LearnedOptimizer, problem: Problem, data: Any, x0: np.ndarray, steps: int
) -> tuple[Any, float]:
    """What `compiled` returns for these starts, as NumPy arrays, and the seconds it took."""
    together = lanes_together(model.config, x0.shape[1], len(x0))
    run = compiled(problem.objective, model.config, steps, together)
    return counting.timed(problem, run, model.params, data, x0)


def _trace(
    problem: Problem, values: np.ndarray, shown: np.ndarray, seconds: float, budget: int
) -> Trace:
    stopped: Status = "stalled" if np.isfinite(values[1:]).any() else "non_finite"
    status = stopped if len(values) < budget else "steps"
    more = {"seconds": seconds, "path": counting.path_of(problem, shown)}
    return one_point_a_step(values, gradients=True, status=status, **more)


def run_all(
    problems: Problems, steps: int, *, model: LearnedOptimizer, max_evaluations: Cap = None
) -> list[Trace]:
    """Problems of one cell together.

    Args:
      problems: of one cell.
      steps: evaluations.
      model: the weights.
      max_evaluations: caps `steps`.
    """
    steps = min(steps, max_evaluations or steps)
    data, x0 = stacked(problems)
    (values, counts, shown), seconds = _descend(model, problems[0], data, x0, steps)
    return [
        _trace(problem, values[i, :count], shown[i, :count], seconds / len(problems), steps)
        for i, (problem, count) in enumerate(zip(problems, counts))
    ]


def multistart_all(
    problems: Problems,
    steps: int,
    *,
    model: LearnedOptimizer,
    restarts: int = 4,
    max_evaluations: Cap = None,
) -> list[Trace]:
    """Several short runs instead of a long one, at the same number of evaluations in all.

    The evaluations are shared out to `restarts` runs of equal length (the last one is shorter where
    that does not divide); the first begins at the problem's start, the others at points uniform in
    the start box, which are those of `multistart_l_bfgs_b`. All runs of all starts are lanes of one
    program. The record is that of the runs one after the other, so best-so-far is over all.

    Args:
      problems: of one cell.
      steps: evaluations in all.
      model: the weights.
      restarts: runs.
      max_evaluations: caps `steps`.
    """
    budget = min(steps, max_evaluations or steps)
    length = -(-budget // restarts)
    data, x0 = stacked(problems)
    further = [counting.restart_points(problem, restarts - 1) for problem in problems]
    starts = np.concatenate([x0[:, None], np.stack(further)], axis=1).reshape(-1, x0.shape[1])
    data = {name: np.repeat(leaf, restarts, axis=0) for name, leaf in data.items()}
    (values, counts, shown), seconds = _descend(model, problems[0], data, starts, length)
    traces = []
    for i, problem in enumerate(problems):
        lanes = range(i * restarts, (i + 1) * restarts)
        left = (max(0, budget - run * length) for run in range(restarts))
        kept = [(lane, min(counts[lane], most)) for lane, most in zip(lanes, left)]
        points = np.concatenate([values[lane, :count] for lane, count in kept])
        seen = np.concatenate([shown[lane, :count] for lane, count in kept])
        traces.append(_trace(problem, points, seen, seconds / len(problems), budget))
    return traces


def safeguarded(
    problem: Problem,
    steps: int,
    *,
    model: LearnedOptimizer,
    max_evaluations: Cap = None,
    hops: int | None = 0,
) -> Trace:
    """One problem by `optimus.minimize`; value and gradient come together at every point.

    Args:
      problem: what to minimise.
      steps: most iterations.
      model: the weights.
      max_evaluations: most points.
      hops: basin-hopping restarts; None: as many as the budget allows.
    """
    with arithmetic(problem.dtype):
        counted = counting.Counted(problem, max_evaluations)

        def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
            return counted.value(x), counted.gradient(x)

        seed = int(counting.random_of(problem, "hops").integers(2**31))
        how: dict[str, Any] = {"jac": True, "model": model, "callback": counted.noted, "seed": seed}
        how |= {"maxiter": steps, "maxfev": max_evaluations, "hops": hops}
        result = minimize(value_and_gradient, problem.x0, **how)
        if result.status == 1:
            return counted.trace("steps" if result.nit >= steps else "evaluations")
        return counted.trace("converged" if result.success else "stalled")


safeguarded_all = counting.one_by_one(safeguarded)
