"""One meta-update: windows of all lanes, estimate and resets in one compiled program, then Adam."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config import MetaLoss, MetaOptimizer, Phase
from optimus.meta import loss as meta_loss
from optimus.meta import update as meta_update
from optimus.meta.estimators import STRATEGIES, pathwise
from optimus.meta.fused import lanes as lanes_lib
from optimus.meta.fused import perturbation
from optimus.meta.fused.lanes import Lanes
from optimus.meta.fused.unroll import Rule, unroll
from optimus.tasks import distribution
from optimus.tasks.distribution import Deal

EXPLODED = 1e30  # a loss beyond counts as diverged, like one that is not finite


class Counts(NamedTuple):
    """What became of episodes so far, int32 [] each.

    `failed`: a trajectory diverged; its task said nothing in that update. `capped`: a trajectory
    spent a whole window at the meta-loss's cap and was given up. `ended`: reached its horizon.
    `skipped`: updates whose estimate was not finite and moved nothing.
    """

    failed: Any
    capped: Any
    ended: Any
    skipped: Any


def no_counts() -> Counts:
    """All zero."""
    return Counts(*(jnp.zeros((), jnp.int32) for _ in Counts._fields))


class Program(NamedTuple):
    """What one compiled update depends on."""

    rule: Rule
    phase: Phase
    score: MetaLoss
    deal: Deal  # of a group's lanes
    devices: int  # that groups are dealt to


def shardings(tree: Any, devices: int, *axes: str) -> Any:
    """Of each leaf, over so many devices: dealt along "groups", or wholly on each, as JAX keeps
    what is empty."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("groups",))

    def one(leaf: Any) -> jax.sharding.NamedSharding:
        spec = jax.sharding.PartitionSpec(*(axes if np.size(leaf) else ()))
        return jax.sharding.NamedSharding(mesh, spec)

    return jax.tree_util.tree_map(one, tree)


class Guide(NamedTuple):
    """`Estimator.guide` and `guide_radius`, float32 []."""

    weight: Any
    radius: Any


def _guide_of(program: Program) -> Guide:
    estimator = program.phase.estimator
    return Guide(np.float32(estimator.guide), np.float32(estimator.guide_radius))


def _whatever_the_numbers(program: Program) -> Program:
    """The same for phases that differ only in numbers that need no compiling anew: how long they
    are, Adam's, and what the guide weighs. A size takes most of a minute to compile."""
    phase = program.phase
    weight = 1.0 if phase.estimator.guide else 0.0
    estimator = dataclasses.replace(phase.estimator, guide=weight, guide_radius=1.0)
    meta = MetaOptimizer(batch=phase.meta.batch)
    return program._replace(phase=Phase(1, estimator, meta, phase.layout))


def _guides(program: Program, weight: Any) -> jax.Array:
    """Each lane's weight of the distance to its minimiser, float32 `[L]`; 0 if that is unknown."""
    known = distribution.has_minimiser(program.deal)
    return jnp.where(known, weight, 0.0).astype(jnp.float32)


def _sane(values: jax.Array, x: jax.Array) -> jax.Array:
    """Lanes that did not diverge, bool `[L]`: values `[L, S, W]`, x `[L, S, N]`."""
    sane = jnp.isfinite(values) & (values < EXPLODED)
    return jnp.all(sane, axis=(1, 2)) & jnp.all(jnp.isfinite(x), axis=(1, 2))


def _window(
    program: Program, theta: jax.Array, lanes: Lanes, guide: Guide | None = None
) -> tuple[jax.Array, jax.Array, jax.Array, Lanes]:
    """One window at weights `[L, S, P]`: derivative of the mean meta-loss `[L, S, P]` (empty
    without a pathwise term), values of f - f* and scores, `[L, S, W]` both, and lanes after.
    `guide` None: as the program has it.
    """
    weight, radius = guide or _guide_of(program)
    estimator, score = program.phase.estimator, program.score
    slots = program.deal.slots
    goal = distribution.minimisers(slots, lanes.data) if estimator.guide else None
    pathwise_too = estimator.kind not in STRATEGIES

    def run(theta: jax.Array) -> Any:
        def one_sign(theta: jax.Array, x: jax.Array, state: Any) -> Any:
            return unroll(
                program.rule,
                slots,
                theta,
                lanes.data,
                x,
                state,
                lanes.mask,
                estimator.truncation,
                estimator.order if pathwise_too else 0,
                goal,
            )

        both_signs = jax.vmap(one_sign, in_axes=1, out_axes=1)
        values, distances, x, state = both_signs(theta, lanes.x, lanes.state)
        first = lanes.first[:, None, None]
        scores = meta_loss.score(score.kind, values, first, score.floor, score.cap, jnp)
        after = lanes._replace(x=x, state=state, left=lanes.left - estimator.truncation)
        total = jnp.sum(jnp.mean(scores, axis=2))
        if estimator.guide:
            far = jnp.mean(pathwise.log_distance(distances, radius), axis=2)
            total += jnp.sum(_guides(program, weight)[:, None] * far)
        return total, (values, scores, after)

    if pathwise_too:
        (_, found), gradient = jax.value_and_grad(run, has_aux=True)(theta)
    else:
        _, found = run(theta)
        gradient = theta[..., :0]
    return gradient, *found


def _group(
    program: Program, theta: jax.Array, lanes: Lanes, keys: jax.Array, guide: Guide | None = None
) -> Any:
    """One group: sum of its tasks' estimates `[P]`, lanes for the next update, score, counts."""
    estimator = program.phase.estimator
    pairs = jax.vmap(lambda key: jax.random.split(key, 2))(keys)
    count, size = lanes.left.shape[0], program.rule.layout.size
    if estimator.kind == "bptt":
        noise = after_noise = lanes.credit
        weights = jnp.broadcast_to(theta, (count, 1, size))
    else:
        noise, after_noise = perturbation.of_window(estimator, lanes, pairs[:, 0], size)
        weights = theta + jnp.stack([noise, -noise], axis=1)
    gradient, values, scores, after = _window(program, weights, lanes, guide)

    good = _sane(values, after.x)

    total = jnp.zeros(size, jnp.float32)
    mean_gradient = jnp.zeros((count, size), jnp.float32)
    if gradient.shape[-1]:
        mean_gradient = jnp.where(good[:, None], jnp.mean(gradient, axis=1), 0.0)
        mean_gradient = pathwise.clip_each(mean_gradient, estimator.task_clip)
        total += jnp.sum(mean_gradient, axis=0)
    if estimator.kind != "bptt":
        difference = jnp.mean(scores[:, 0] - scores[:, 1], axis=1)
        factors = pathwise.evolution_weights(
            estimator.kind, difference, noise, mean_gradient, estimator.sigma
        )
        before = jnp.where(lanes.fresh[:, None], 0.0, lanes.credit)
        credit = pathwise.credit(estimator.kind, before, after_noise)
        factors = jnp.where(good, factors, 0.0)
        total += jnp.einsum("l,lp->p", factors, credit, precision="highest")

    capped = good & jnp.any(jnp.all(scores >= program.score.cap, axis=2), axis=1)
    ended = good & ~capped & (after.left <= 0)
    over = ~good | capped | ended
    after = after._replace(fresh=jnp.zeros_like(over), credit=after_noise)
    following = jax.lax.cond(
        jnp.any(over),
        lambda: lanes_lib.replace(
            program.deal,
            over,
            lanes_lib.start(program.rule, program.deal, estimator, pairs[:, 1]),
            after,
        ),
        lambda: after,
    )
    scored = jnp.sum(jnp.where(good, jnp.mean(scores, axis=(1, 2)), 0.0))
    events = jnp.stack([jnp.sum(each, dtype=jnp.int32) for each in (~good, capped, ended, good)])
    return total, following, scored, events


def over_groups(function: Any, arguments: Any, devices: int) -> Any:
    """Maps over the leading axis, G groups: one after the other, dealt to so many devices."""
    if devices == 1:
        return jax.lax.map(function, arguments)
    tree_map = jax.tree_util.tree_map
    split = tree_map(lambda a: a.reshape((devices, a.shape[0] // devices, *a.shape[1:])), arguments)
    found = jax.vmap(lambda part: jax.lax.map(function, part))(split)
    return tree_map(lambda a: a.reshape((a.shape[0] * a.shape[1], *a.shape[2:])), found)


def meta_step(
    program: Program, state: meta_update.MetaState, lanes: Lanes, counts: Counts, key: jax.Array
) -> tuple[meta_update.MetaState, Lanes, Counts, dict[str, jax.Array]]:
    """One update.

    Args:
      lanes: with a leading axis of G groups. key: of this update; lane i folds in i.

    Returns:
      The new state, lanes and counts; "meta_loss" (mean over tasks that did not fail) and
      "norm" (of the estimate before clipping), float32 [].
    """
    gradient, lanes, counts, found = _estimate(
        _whatever_the_numbers(program), _guide_of(program), state.theta, lanes, counts, key
    )
    return _moved(program.phase.meta, state, gradient, found["norm"]), lanes, counts, found


@functools.partial(jax.jit, static_argnums=0)
def _estimate(
    program: Program, guide: Guide, theta: jax.Array, lanes: Lanes, counts: Counts, key: jax.Array
) -> tuple[jax.Array, Lanes, Counts, dict[str, jax.Array]]:
    groups, each = lanes.left.shape
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(groups * each))
    keys = keys.reshape(groups, each)
    totals, lanes, scored, events = over_groups(
        lambda pair: _group(program, theta, pair[0], pair[1], guide), (lanes, keys), program.devices
    )
    if program.devices > 1:  # as they came: else the next update would compile again
        as_before = shardings(lanes, program.devices, "groups")
        lanes = jax.lax.with_sharding_constraint(lanes, as_before)
    gradient = jnp.sum(totals, axis=0) / (groups * each)
    failed, capped, ended, good = jnp.sum(events, axis=0)
    norm = jnp.linalg.norm(gradient)
    counts = Counts(
        counts.failed + failed,
        counts.capped + capped,
        counts.ended + ended,
        counts.skipped + ~jnp.isfinite(norm),
    )
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


def first_lanes(program: Program, key: jax.Array) -> Lanes:
    """Lanes at a phase's start, leading axis of G groups.

    First episodes are of different lengths, so that updates see early and late windows at once.
    """
    return _first_lanes(_whatever_the_numbers(program), key)


@functools.partial(jax.jit, static_argnums=0)
def _first_lanes(program: Program, key: jax.Array) -> Lanes:
    layout, estimator = program.phase.layout, program.phase.estimator
    groups = layout.actors * layout.groups

    def one(index: jax.Array) -> Lanes:
        keys = jax.random.split(jax.random.fold_in(key, index), layout.lanes)
        return lanes_lib.start(program.rule, program.deal, estimator, keys)

    lanes = jax.lax.map(one, jnp.arange(groups))
    indices = jnp.arange(groups * layout.lanes, dtype=jnp.int32).reshape(lanes.left.shape)
    most = estimator.truncation * (1 + indices % estimator.windows)
    return lanes._replace(left=jnp.minimum(lanes.left, most))
