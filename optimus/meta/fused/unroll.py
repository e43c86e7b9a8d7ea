"""A window of inner steps on many lanes at once, each with its own task, for any learned rule."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimus.model.parameters import ParameterLayout
from optimus.model.registry import Config, rule_of
from optimus.tasks.distribution import Data, Segment, values_and_gradients

_REMATERIALISE_FROM = 64  # coordinates: attention over N^2 pairs is not kept for the way back
_MAP_FROM = 150  # coordinates: one lane after the other stays in cache, and takes 0.7 of the time


class Rule(NamedTuple):
    """A learned rule whose weights are one flat vector."""

    config: Config
    layout: ParameterLayout

    def init_state(self, x: jax.Array) -> Any:
        """State of one task at x `[N]`."""
        return rule_of(self.config).init_state(self.config, x)

    def update(self, params: Any, state: Any, x: Any, gradient: Any, mask: Any) -> Any:
        """One step of one task: (step `[N]`, state).

        Args:
          params: `layout.unflatten(theta)`.
          state: of the rule.
          x: float32 `[N]`.
          gradient: of the task at x, `[N]`.
          mask: bool `[N]`, real coordinates.
        """
        return rule_of(self.config).update(self.config, params, state, x, gradient, mask)


def _one_by_one(rule: Rule, weights_axis: int | None) -> Any:
    """`Rule.update` of all lanes, one after the other."""

    def update(params: Any, *lanes: Any) -> Any:
        if weights_axis is None:
            return jax.lax.map(lambda lane: rule.update(params, *lane), lanes)
        return jax.lax.map(lambda lane: rule.update(*lane), (params, *lanes))

    return update


def unroll(
    rule: Rule,
    segments: Sequence[Segment],
    theta: jax.Array,
    data: Sequence[Data],
    x: jax.Array,
    state: Any,
    mask: jax.Array,
    steps: int,
    order: int = 0,
    goal: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
    """Runs `steps` inner steps.

    Args:
      rule: what is trained.
      segments: which lanes have which tasks.
      theta: weights, `[P]` for all lanes or `[L, P]`.
      data: of each segment.
      x: `[L, N]`.
      state: of the rule, leading axis L.
      mask: bool `[L, N]`, real coordinates.
      steps: W, inner steps.
      order: what derivatives of the values hold: 0: none is taken, the cheapest; 1: the inner
        gradient is a constant, no second derivatives of the task; 2: exact.
      goal: a point `[L, N]` that distances are measured from, or None.

    Returns:
      values `[L, steps]` of f - f*, each after its step; mean squared distances to `goal`,
      `[L, steps]`, or `[L, 0]` without one; x and state after the last step.
    """
    # Outside the loop, so that its way back adds up leaves and not whole vectors.
    unflatten, axis = rule.layout.unflatten, None if theta.ndim == 1 else 0
    params = unflatten(theta) if axis is None else jax.vmap(unflatten)(theta)
    update = jax.vmap(rule.update, in_axes=(axis, 0, 0, 0, 0))
    if not order and x.shape[1] >= _MAP_FROM and jax.default_backend() == "cpu":
        update = _one_by_one(rule, axis)

    def evaluate(at: jax.Array) -> tuple[jax.Array, jax.Array]:
        if order == 2:
            return values_and_gradients(segments, data, at)
        value, gradient = values_and_gradients(segments, data, jax.lax.stop_gradient(at))
        if order == 1:
            # The value's own derivative is the gradient just computed: no second way back.
            value = value + jnp.sum(gradient * (at - jax.lax.stop_gradient(at)), axis=1)
        return value, gradient

    count = jnp.maximum(jnp.sum(mask, axis=1), 1)

    def distance(at: jax.Array) -> jax.Array:
        if goal is None:
            return jnp.zeros((0, at.shape[0]), jnp.float32)
        return (jnp.sum(jnp.where(mask, jnp.square(at - goal), 0.0), axis=1) / count)[None]

    def body(carry: Any, _: None) -> Any:
        x, state, gradient = carry
        step, state = update(params, state, x, gradient, mask)
        x = x + step
        value, gradient = evaluate(x)
        return (x, state, gradient), (value, distance(x))

    if order and x.shape[1] >= _REMATERIALISE_FROM:
        body = jax.checkpoint(body, prevent_cse=False)
    _, gradient = evaluate(x)
    (x, state, _), (values, squares) = jax.lax.scan(body, (x, state, gradient), None, length=steps)
    return values.T, squares.reshape(-1, x.shape[0]).T, x, state
