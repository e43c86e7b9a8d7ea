"""A group of lanes' part of an update: perturb, unroll a window, estimate, advance."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config import Estimator, Layout, MetaLoss, Phase
from optimus.meta import estimators, noise
from optimus.meta import loss as meta_loss
from optimus.meta.estimators import pathwise
from optimus.meta.fused import lanes as lanes_lib
from optimus.meta.fused.lanes import Lanes
from optimus.meta.fused.unroll import Rule, unroll
from optimus.tasks import distribution
from optimus.tasks.distribution import Assignment

EXPLODED = 1e30  # a loss beyond counts as diverged, like one that is not finite


class Program(NamedTuple):
    """What a compiled update depends on. What differs in anything here is compiled anew, which
    takes most of a minute a size: so numbers that need not be here are not, see `Supervision`.

    Attributes:
      rule: what is trained.
      estimator: with the weight of the supervision replaced by whether there is one.
      layout: groups and lanes.
      score: the meta-loss.
      assignment: which lane of a group has which tasks.
      devices: that groups are spread over.
    """

    rule: Rule
    estimator: Estimator
    layout: Layout
    score: MetaLoss
    assignment: Assignment
    devices: int


class Supervision(NamedTuple):
    """Numbers of the distance-to-minimiser supervision that a compiled update takes as arguments:
    `Estimator.guide` and `guide_radius`, float32 []."""

    weight: Any
    radius: Any


def compiled_for(
    rule: Rule, phase: Phase, score: MetaLoss, assignment: Assignment, devices: int
) -> tuple[Program, Supervision]:
    """What a phase's updates are compiled for, and the rest.

    Args:
      rule: what is trained.
      phase: its length and meta-optimizer do not matter here.
      score: the meta-loss.
      assignment: of a group's lanes.
      devices: that groups are spread over.
    """
    chosen = phase.estimator
    weight = 1.0 if chosen.guide else 0.0
    static = dataclasses.replace(chosen, guide=weight, guide_radius=1.0)
    program = Program(rule, static, phase.layout, score, assignment, devices)
    return program, Supervision(np.float32(chosen.guide), np.float32(chosen.guide_radius))


def draw(estimator: Estimator, key: jax.Array, size: int) -> jax.Array:
    """One draw of the noise, float32 `[P]`."""
    return noise.of_key(key, estimator.sigma, size, estimator.noise)


def perturbation(
    estimator: Estimator, lanes: Lanes, keys: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """A window's noise and xi with it, `[L, P]` both; empty where nothing is perturbed.

    Args:
      estimator: its configuration.
      lanes: before the window.
      keys: one a lane, `[L]`.
      size: P, number of weights.
    """
    chosen = estimators.of(estimator)
    if not chosen.perturbs:
        return lanes.credit, lanes.credit

    def drawn() -> jax.Array:
        return jax.vmap(lambda key: draw(estimator, key, size))(keys)

    fresh = lanes.fresh[:, None]
    if not chosen.fresh_each_window:  # one noise per episode, drawn when one begins
        new = jax.lax.cond(jnp.any(lanes.fresh), drawn, lambda: jnp.zeros_like(lanes.credit))
        kept = jnp.where(fresh, new, lanes.credit)
        return kept, kept
    new = drawn()
    return new, jnp.where(fresh, chosen.advance(None, new), chosen.advance(lanes.credit, new))


class Window(NamedTuple):
    """What a window of inner steps gave.

    Attributes:
      gradient: derivative of each lane's mean meta-loss, `[L, S, P]`; `[L, S, 0]` without one.
      scores: meta-loss of each step, `[L, S, W]`.
      good: lanes that did not diverge, bool `[L]`.
      after: lanes after the window.
    """

    gradient: jax.Array
    scores: jax.Array
    good: jax.Array
    after: Lanes


def _weights(program: Program, weight: Any) -> jax.Array:
    """Each lane's weight of the distance to its minimiser, float32 `[L]`; 0 if that is unknown."""
    known = distribution.has_minimiser(program.assignment)
    return jnp.where(known, weight, 0.0).astype(jnp.float32)


def _sane(values: jax.Array, x: jax.Array) -> jax.Array:
    """Lanes that did not diverge, bool `[L]`: values `[L, S, W]`, x `[L, S, N]`."""
    sane = jnp.isfinite(values) & (values < EXPLODED)
    return jnp.all(sane, axis=(1, 2)) & jnp.all(jnp.isfinite(x), axis=(1, 2))


def _loss(program: Program, supervision: Supervision, lanes: Lanes, theta: jax.Array) -> Any:
    """Sum over lanes of a window's mean meta-loss at weights `[L, S, P]`; (values of f - f* and
    scores, `[L, S, W]` both, lanes after)."""
    estimator, score, segments = program.estimator, program.score, program.assignment.segments
    order = estimator.order if estimators.of(estimator).needs_gradient else 0
    goal = distribution.minimisers(segments, lanes.data) if estimator.guide else None

    def one_sign(theta: jax.Array, x: jax.Array, state: Any) -> Any:
        at = (theta, lanes.data, x, state, lanes.mask)
        return unroll(program.rule, segments, *at, estimator.truncation, order, goal)

    both_signs = jax.vmap(one_sign, in_axes=1, out_axes=1)
    values, distances, x, state = both_signs(theta, lanes.x, lanes.state)
    first = lanes.first[:, None, None]
    scores = meta_loss.score(score.kind, values, first, score.floor, score.cap, jnp)
    total = jnp.sum(jnp.mean(scores, axis=2))
    if estimator.guide:
        far = jnp.mean(pathwise.log_distance(distances, supervision.radius), axis=2)
        total += jnp.sum(_weights(program, supervision.weight)[:, None] * far)
    after = lanes._replace(x=x, state=state, left=lanes.left - estimator.truncation)
    return total, (values, scores, after)


def _window(program: Program, supervision: Supervision, lanes: Lanes, theta: jax.Array) -> Window:
    """One window at weights `[L, S, P]`, differentiated where the estimator wants it."""
    run = functools.partial(_loss, program, supervision, lanes)
    if estimators.of(program.estimator).needs_gradient:
        (_, found), gradient = jax.value_and_grad(run, has_aux=True)(theta)
    else:
        _, found = run(theta)
        gradient = theta[..., :0]
    values, scores, after = found
    return Window(gradient, scores, _sane(values, after.x), after)


def _sum_of_estimates(
    program: Program, lanes: Lanes, window: Window, drawn: jax.Array, credit: jax.Array
) -> jax.Array:
    """The sum over a group's lanes of their estimates of the meta-gradient, float32 `[P]`.

    Args:
      program: what is compiled.
      lanes: before the window.
      window: what it gave.
      drawn: its noise, `[L, P]`.
      credit: xi with that noise, `[L, P]`.
    """
    estimator, chosen = estimators.of(program.estimator), program.estimator
    good, size = window.good, program.rule.layout.size
    total = jnp.zeros(size, jnp.float32)
    gradients = jnp.zeros((good.shape[0], size), jnp.float32)
    if estimator.needs_gradient:
        gradients = jnp.where(good[:, None], jnp.mean(window.gradient, axis=1), 0.0)
        gradients = pathwise.clip_each(gradients, chosen.task_clip)
        total += jnp.sum(gradients, axis=0)
    if estimator.perturbs:
        differences = jnp.mean(window.scores[:, 0] - window.scores[:, 1], axis=1)
        factors = estimator.weights(differences, drawn, gradients, chosen.sigma)
        before = jnp.where(lanes.fresh[:, None], 0.0, lanes.credit)
        credited = estimator.credit(before, credit)
        factors = jnp.where(good, factors, 0.0)
        total += jnp.einsum("l,lp->p", factors, credited, precision="highest")
    return total


def _advance(
    program: Program, window: Window, credit: jax.Array, keys: jax.Array
) -> tuple[Lanes, jax.Array]:
    """Lanes for the next update: episodes that failed or ended begin anew, from `keys` `[L]`; and
    how many failed, were capped, ended and were good, int32 `[4]`."""
    scores, good = window.scores, window.good
    capped = good & jnp.any(jnp.all(scores >= program.score.cap, axis=2), axis=1)
    ended = good & ~capped & (window.after.left <= 0)
    over = ~good | capped | ended
    after = window.after._replace(fresh=jnp.zeros_like(over), credit=credit)

    def with_new() -> Lanes:
        new = lanes_lib.start(program.rule, program.assignment, program.estimator, keys)
        return lanes_lib.replace(program.assignment, over, new, after)

    following = jax.lax.cond(jnp.any(over), with_new, lambda: after)
    events = jnp.stack([jnp.sum(each, dtype=jnp.int32) for each in (~good, capped, ended, good)])
    return following, events


def update_of_group(
    program: Program, supervision: Supervision, theta: jax.Array, lanes: Lanes, keys: jax.Array
) -> tuple[jax.Array, Lanes, jax.Array, jax.Array]:
    """A group's part of an update.

    Args:
      program: what is compiled.
      supervision: numbers of the distance-to-minimiser supervision.
      theta: weights, float32 `[P]`.
      lanes: of the group.
      keys: one a lane, `[L]`.

    Returns:
      Sum of its lanes' estimates `[P]`, lanes for the next update, sum of their mean scores [], and
      the counts of `_advance`.
    """
    estimator = estimators.of(program.estimator)
    pairs = jax.vmap(lambda key: jax.random.split(key, 2))(keys)
    drawn, credit = perturbation(program.estimator, lanes, pairs[:, 0], theta.size)
    window = _window(program, supervision, lanes, estimator.perturb(theta, drawn))
    total = _sum_of_estimates(program, lanes, window, drawn, credit)
    following, events = _advance(program, window, credit, pairs[:, 1])
    scored = jnp.sum(jnp.where(window.good, jnp.mean(window.scores, axis=(1, 2)), 0.0))
    return total, following, scored, events
