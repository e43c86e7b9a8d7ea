"""CMA-ES (package `cma`, extra [bench]): values alone, σ0 = 3."""

import functools
import time
import warnings
from typing import Any

import jax
import numpy as np

from optimus.bench.methods import counting
from optimus.bench.methods.counting import Cap, Status, Trace, compiled_value, one_by_one
from optimus.problems.presets import Objective, Problem, arithmetic

SIGMA = 3.0  # first step size


@functools.lru_cache(maxsize=counting.KEPT)
def _compiled_batch(objective: Objective) -> Any:
    """(data, points `[P, N]`) -> values `[P]`, jitted."""
    return jax.jit(jax.vmap(objective, in_axes=(None, 0)))


def run(problem: Problem, steps: int, *, max_evaluations: Cap = None, factor: int = 1) -> Trace:
    """`factor` times `max_evaluations` (or `steps`) values; the start is the first.

    The last generation is cut short at the budget: what is left of it counts, then it ends.

    Args:
      problem: what to minimise.
      steps: values, where `max_evaluations` does not say.
      max_evaluations: values.
      factor: on the number of values.
    """
    import cma

    budget = factor * (max_evaluations or steps)
    dtype = problem.dtype
    random = counting.random_of(problem, "cma")
    options: dict[str, Any] = {"verbose": -9, "maxfevals": np.inf}
    # Ours: with a seed cma would seed NumPy's global state.
    options |= {"seed": np.nan, "randn": lambda *shape: random.standard_normal(shape)}
    with arithmetic(dtype), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        batch = _compiled_batch(problem.objective)
        strategy = cma.CMAEvolutionStrategy(problem.x0.astype(np.float64), SIGMA, options)
        batch(problem.data, np.zeros((strategy.popsize, problem.x0.size), dtype))
        started = time.perf_counter()
        points = [float(compiled_value(problem.objective)(problem.data, problem.x0))]
        evaluations = [1]
        status: Status = "evaluations"
        while len(points) < budget:
            if strategy.stop():
                status = "converged"
                break
            candidates = strategy.ask()
            values = np.asarray(batch(problem.data, np.asarray(candidates, dtype)), np.float64)
            points.extend(values[: budget - len(points)])
            evaluations.append(len(points))
            # cma ranks values; what is not finite is the worst of its generation.
            strategy.tell(candidates, np.where(np.isfinite(values), values, 1e300).tolist())
    seen, counts = np.asarray(points), np.asarray(evaluations)
    seconds = time.perf_counter() - started
    return counting.recorded(seen, seen[counts - 1], counts, status, seconds=seconds)


run_all = one_by_one(run)
