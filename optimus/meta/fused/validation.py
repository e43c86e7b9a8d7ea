"""Validation on fixed tasks of a domain of their own: no training task, no test start."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config import AnalyticTask, ClassicalTask, Evaluation
from optimus.meta.fused.unroll import Rule, unroll
from optimus.tasks import distribution
from optimus.tasks.distribution import Assignment
from optimus.tasks.draws import domain_key

FLOOR = 1e-12  # of the share of the first gap that is left


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _scores(
    rule: Rule, assigned: Assignment, steps: int, count: int, theta: jax.Array, key: jax.Array
) -> jax.Array:
    data, x, mask = distribution.sample(assigned, jax.random.split(key, count))
    state = jax.vmap(rule.init_state)(x)
    first = distribution.values(assigned.segments, data, x)
    values, *_ = unroll(rule, assigned.segments, theta, data, x, state, mask, steps)
    values = jnp.where(jnp.isfinite(values), values, jnp.inf)
    best = jnp.minimum(jnp.min(values, axis=1), first)
    return jnp.log10(jnp.maximum(best, 0.0) / jnp.maximum(first, 1e-30) + FLOOR)


def validate(
    rule: Rule, task: AnalyticTask | ClassicalTask, evaluation: Evaluation, theta: jax.Array
) -> dict[str, Any]:
    """Judges weights on tasks of their own.

    Args:
      rule: what the weights are of.
      task: what it is trained on.
      evaluation: how many tasks, for how many steps.
      theta: weights, float32 `[P]`.

    Returns:
      "gap": mean over tasks of log10(best gap within `evaluation.steps` / first gap + 1e-12), lower
      is better; "members": the same by function, "sizes": by padded size.
    """
    by_member: dict[str, list[float]] = {}
    by_size: dict[str, float] = {}
    key = domain_key(evaluation.seed, "validation")
    for size in sorted(set(distribution.sizes(task))):
        assigned = distribution.assign(task, size, evaluation.tasks)
        at = jax.random.fold_in(key, size)
        found = np.asarray(_scores(rule, assigned, evaluation.steps, evaluation.tasks, theta, at))
        by_size[str(size)] = round(float(found.mean()), 4)
        for name, value in zip(assigned.names, found):
            by_member.setdefault(name, []).append(float(value))
    everything = np.concatenate([np.asarray(each) for each in by_member.values()])
    return {
        "gap": float(everything.mean()),
        "sizes": by_size,
        "members": {name: round(float(np.mean(v)), 3) for name, v in sorted(by_member.items())},
    }
