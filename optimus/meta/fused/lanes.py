"""Lanes: episodes in progress, kept from window to window and replaced when they end or fail."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config import Estimator
from optimus.meta import estimators
from optimus.meta.fused.unroll import Rule
from optimus.tasks import distribution
from optimus.tasks.distribution import Assignment, Data


class Lanes(NamedTuple):
    """A group of L lanes with S trajectories each (S = 2: the two signs), padded to N.

    Attributes:
      data: task data of each segment, leading axis the segment's lanes.
      mask: bool `[L, N]`, real coordinates. first: f - f* at the start, float32 `[L]`.
      x: float32 `[L, S, N]`. state: of the rule, leading axes `[L, S]`.
      left: int32 `[L]`, inner steps to go. fresh: bool `[L]`, no window done yet.
      credit: float32 `[L, P]`, sum of the episode's noise; `[L, 0]` without evolution strategies.
    """

    data: tuple[Data, ...]
    mask: jax.Array
    first: jax.Array
    x: jax.Array
    state: Any
    left: jax.Array
    fresh: jax.Array
    credit: jax.Array


def episode_length(estimator: Estimator, key: jax.Array) -> jax.Array:
    """int32 [], a multiple of the window: `horizon`, or log-uniform in shortest ... horizon."""
    if not estimator.shortest:
        return jnp.asarray(estimator.horizon, jnp.int32)
    low, high = estimator.shortest // estimator.truncation, estimator.windows
    draw = jax.random.uniform(key, (), jnp.float32, np.log(low), np.log(high + 1.0))
    windows = jnp.clip(jnp.floor(jnp.exp(draw)).astype(jnp.int32), low, high)
    return windows * estimator.truncation


def start(rule: Rule, assigned: Assignment, estimator: Estimator, keys: jax.Array) -> Lanes:
    """A new episode in every lane.

    Args:
      rule: what is trained; its state starts afresh.
      assigned: which lane has which tasks, L lanes.
      estimator: its signs, horizons and whether there is noise to keep.
      keys: one a lane, `[L]`; consumed.
    """
    pairs = jax.vmap(jax.random.split)(keys)
    data, x, mask = distribution.sample(assigned, pairs[:, 0])
    state = jax.vmap(rule.init_state)(x)
    signs, lanes = estimator.signs, x.shape[0]
    size = rule.layout.size if estimators.of(estimator).perturbs else 0
    left = jax.vmap(lambda key: episode_length(estimator, key))(pairs[:, 1])

    def both(leaf: jax.Array) -> jax.Array:
        return jnp.repeat(leaf[:, None], signs, axis=1)

    first = distribution.values(assigned.segments, data, x)
    states = jax.tree_util.tree_map(both, state)
    fresh, credit = jnp.ones(lanes, bool), jnp.zeros((lanes, size), jnp.float32)
    return Lanes(data, mask, first, both(x), states, left, fresh, credit)


def replace(assigned: Assignment, over: jax.Array, new: Lanes, old: Lanes) -> Lanes:
    """The lanes of `new` where an episode is over, else those of `old`.

    Args:
      assigned: which lane has which tasks.
      over: bool `[L]`.
      new: L lanes.
      old: L lanes.
    """

    def picked(chosen: jax.Array, a: Any, b: Any) -> Any:
        def pick(x: jax.Array, y: jax.Array) -> jax.Array:
            return jnp.where(chosen.reshape((-1,) + (1,) * (x.ndim - 1)), x, y)

        return jax.tree_util.tree_map(pick, a, b)

    parts = [over[segment.start : segment.stop] for segment in assigned.segments]
    data = tuple(map(picked, parts, new.data, old.data))
    merged: Lanes = picked(over, new._replace(data=()), old._replace(data=()))
    return merged._replace(data=data)
