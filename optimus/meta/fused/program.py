"""One meta-update: all groups' parts of it in one compiled program, then Adam."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config import MetaOptimizer
from optimus.meta import update as meta_update
from optimus.meta.fused import lanes as lanes_lib
from optimus.meta.fused.group import Program, Supervision, update_of_group
from optimus.meta.fused.lanes import Lanes


class Counts(NamedTuple):
    """What became of episodes so far, int32 [] each.

    `failed`: a trajectory diverged; its task said nothing in that update. `capped`: a trajectory
    spent a whole window at the meta-loss's cap and was abandoned. `ended`: reached its horizon.
    `skipped`: updates whose estimate was not finite and moved nothing.
    """

    failed: Any
    capped: Any
    ended: Any
    skipped: Any


def no_counts() -> Counts:
    """All zero."""
    return Counts(*(jnp.zeros((), jnp.int32) for _ in Counts._fields))


def shardings(tree: Any, devices: int, *axes: str) -> Any:
    """Of each leaf, over so many devices: split along "groups", or wholly on each, as JAX keeps
    what is empty."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("groups",))

    def one(leaf: Any) -> jax.sharding.NamedSharding:
        spec = jax.sharding.PartitionSpec(*(axes if np.size(leaf) else ()))
        return jax.sharding.NamedSharding(mesh, spec)

    return jax.tree_util.tree_map(one, tree)


def over_groups(function: Any, arguments: Any, devices: int) -> Any:
    """Maps over the leading axis, G groups: one after the other, spread over so many devices."""
    if devices == 1:
        return jax.lax.map(function, arguments)
    tree_map = jax.tree_util.tree_map
    split = tree_map(lambda a: a.reshape((devices, a.shape[0] // devices, *a.shape[1:])), arguments)
    found = jax.vmap(lambda part: jax.lax.map(function, part))(split)
    return tree_map(lambda a: a.reshape((a.shape[0] * a.shape[1], *a.shape[2:])), found)


def meta_step(
    program: Program,
    supervision: Supervision,
    meta: MetaOptimizer,
    state: meta_update.MetaState,
    lanes: Lanes,
    counts: Counts,
    key: jax.Array,
) -> tuple[meta_update.MetaState, Lanes, Counts, dict[str, jax.Array]]:
    """One update.

    Args:
      program: what is compiled.
      supervision: numbers of the distance-to-minimiser supervision.
      meta: the meta-optimizer.
      state: weights and Adam's moments.
      lanes: with a leading axis of G groups.
      counts: of episodes so far.
      key: of this update; lane i folds in i.

    Returns:
      The new state, lanes and counts; "meta_loss" (mean over tasks that did not fail) and
      "norm" (of the estimate before clipping), float32 [].
    """
    now = (state.theta, lanes, counts, key)
    gradient, lanes, counts, found = _estimate(program, supervision, *now)
    return _moved(meta, state, gradient, found["norm"]), lanes, counts, found


@functools.partial(jax.jit, static_argnums=0)
def _estimate(
    program: Program,
    supervision: Supervision,
    theta: jax.Array,
    lanes: Lanes,
    counts: Counts,
    key: jax.Array,
) -> tuple[jax.Array, Lanes, Counts, dict[str, jax.Array]]:
    groups, each = lanes.left.shape
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(groups * each))
    keys = keys.reshape(groups, each)

    def update(pair: Any) -> Any:
        return update_of_group(program, supervision, theta, *pair)

    totals, lanes, scored, events = over_groups(update, (lanes, keys), program.devices)
    if program.devices > 1:  # as they came: else the next update would compile again
        as_before = shardings(lanes, program.devices, "groups")
        lanes = jax.lax.with_sharding_constraint(lanes, as_before)
    gradient = jnp.sum(totals, axis=0) / (groups * each)
    failed, capped, ended, good = jnp.sum(events, axis=0)
    norm = jnp.linalg.norm(gradient)
    new = (failed, capped, ended, ~jnp.isfinite(norm))
    counts = Counts(*(before + more for before, more in zip(counts, new)))
    mean = jnp.sum(scored) / jnp.maximum(good, 1)
    return gradient, lanes, counts, {"meta_loss": mean, "norm": norm}


@functools.partial(jax.jit, static_argnums=0)
def _moved(
    meta: MetaOptimizer, state: meta_update.MetaState, gradient: jax.Array, norm: jax.Array
) -> meta_update.MetaState:
    """After Adam's step, or where it was if the estimate is not finite."""
    usable = jnp.isfinite(norm)
    moved = meta_update.apply(meta, state, jnp.where(usable, gradient, 0.0))
    return jax.tree_util.tree_map(lambda a, b: jnp.where(usable, a, b), moved, state)


@functools.partial(jax.jit, static_argnums=0)
def first_lanes(program: Program, key: jax.Array) -> Lanes:
    """Lanes at a phase's start, with a leading axis of G groups: `[G, L, ...]`.

    First episodes are of different lengths, so that updates see early and late windows at once.
    """
    layout, estimator = program.layout, program.estimator
    groups = layout.actors * layout.groups

    def one(index: jax.Array) -> Lanes:
        keys = jax.random.split(jax.random.fold_in(key, index), layout.lanes)
        return lanes_lib.start(program.rule, program.assignment, estimator, keys)

    lanes = jax.lax.map(one, jnp.arange(groups))
    indices = jnp.arange(groups * layout.lanes, dtype=jnp.int32).reshape(lanes.left.shape)
    most = estimator.truncation * (1 + indices % estimator.windows)
    return lanes._replace(left=jnp.minimum(lanes.left, most))
