"""Derivatives of a window of served losses by the weights: first order or exact.

First order holds the inner gradients constant, so it needs nothing but what the losses have
returned (`window_total`). How a step moves the *next* gradient is a second derivative of the loss,
which first-order derivatives leave out: they see that a step goes down, not that it spoils, or
prepares, the steps that follow. The exact derivative goes back through the steps one at a time and
needs it along one direction per step only,

    lambda_t = (dx_{t+1}/dx_t)^T lambda_{t+1} + H(x_t) v + s'(f_t) g_t
    v = (dx_{t+1}/dg_t)^T lambda_{t+1}

and H v is the difference of two gradients, one of which is known: one evaluation more per step and
trajectory, of a loss whose workers mostly wait for the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.wire import LossReply, LossUnavailable

# Length of the move over which gradients are compared. Gradients are rounded to float32 where they
# are small against what a contact changes within 1e-3.
DISTANCE = 1e-3


@dataclass
class Replies:
    """What the pool has said of the lanes of a window so far.

    Attributes:
      alive: bool `[G]`, False once a loss is missing or not finite.
      evaluations: int64 `[G]`. seconds: float64 `[G]`, in the loss.
      unavailable: lane -> why the pool abandoned its request.
    """

    alive: np.ndarray
    evaluations: np.ndarray
    seconds: np.ndarray
    unavailable: dict[int, str]

    def take(self, lane: int, future: Future[LossReply]) -> LossReply | None:
        """A reply that is there, counted; None, and the lane no longer alive, if it has no loss."""
        try:
            reply = future.result()
            self.evaluations[lane] += 1
            self.seconds[lane] += reply.seconds
            if reply.status == "ok":
                return reply
        except LossUnavailable as error:
            self.unavailable[lane] = str(error)
        self.alive[lane] = False
        return None


class Step(NamedTuple):
    """What one step started from: x, gradient `[G, S, N]` and the rule's state."""

    x: np.ndarray
    gradient: np.ndarray
    state: Any


def window_total(
    propose: Callable[..., Any],
    vector: jax.Array,
    x: jax.Array,
    gradient: jax.Array,
    state: Any,
    gradients: jax.Array,
    factors: jax.Array,
) -> jax.Array:
    """A number whose derivative by the weights is that of the window's meta-loss, first order.

    sum over t of factors_t <g_t, x_t>, with the gradients g_t that the losses returned held
    constant, since ds(f(x_t))/dtheta = s'(f) <df/dx_t, dx_t/dtheta>: nothing is asked of the
    simulator but what it has already said.

    Args:
      propose: (weights, x, gradient, state) -> (x, state) of one step.
      vector: weights `[P]`.
      x, gradient: `[N]`, at the window's start. state: of the rule, there.
      gradients: `[W, N]`, at the points after each step.
      factors: `[W]`, s'(f) there, times the step's share of the mean.
    """

    def step(carry: Any, of_step: Any) -> Any:
        x, gradient, state, total = carry
        after, factor = of_step
        x, state = propose(vector, x, gradient, state)
        return (x, after, state, total + factor * jnp.vdot(after, x)), None

    start = (x, gradient, state, jnp.zeros((), jnp.float32))
    (_, _, _, total), _ = jax.lax.scan(step, start, (gradients, factors))
    return total


def pull_back(propose: Callable[..., Any]) -> Callable[..., Any]:
    """Of one trajectory: derivatives of a step by all it read, from those by all it left.

    (theta, x, gradient, state, derivative by the next x, by the next state) -> (by theta, x,
    gradient, state). A state's derivative is a tuple, one leaf for each that is not a count.
    """

    def pulled(theta: Any, x: Any, gradient: Any, state: Any, by_x: Any, by_state: Any) -> Any:
        leaves, tree = jax.tree_util.tree_flatten(state)
        real = _real(leaves)

        def forward(theta: Any, x: Any, gradient: Any, values: Any) -> Any:
            whole = list(leaves)
            for index, value in zip(real, values):
                whole[index] = value
            x, after = propose(theta, x, gradient, jax.tree_util.tree_unflatten(tree, whole))
            left = jax.tree_util.tree_leaves(after)
            return x, tuple(left[index] for index in real)

        start = tuple(leaves[index] for index in real)
        _, back = jax.vjp(forward, theta, x, gradient, start)
        return back((by_x, by_state))

    return pulled


def _real(leaves: Sequence[Any]) -> list[int]:
    return [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def nothing(state: Any) -> tuple[jax.Array, ...]:
    """The derivative of what does not depend on a state: zeros with the shapes of its leaves."""
    leaves = jax.tree_util.tree_leaves(state)
    return tuple(jnp.zeros_like(leaves[index]) for index in _real(leaves))


def backwards(
    pull: Callable[..., Any],
    submit: Callable[[int, np.ndarray], Future[LossReply]],
    weights: Any,
    steps: Sequence[Step],
    last_gradient: np.ndarray,
    factors: np.ndarray,
    replies: Replies,
) -> Generator[Sequence[Future[LossReply]], None, np.ndarray]:
    """Derivative of sum over t of s(f_t) by the weights, float32 `[G, S, P]`; yields what it waits
    for.

    Args:
      pull: of `pull_back`, over leading axes `[G, S]`.
      submit: (lane, point `[N]`) -> the loss there.
      weights: `[G, S, P]`. steps: of the window, in order.
      last_gradient: after the last step, `[G, S, N]`.
      factors: s'(f_t) after each step, `[G, S, W]`.
      replies: of the window; only its living lanes are evaluated. A lane whose loss fails on the
        way back ends as not alive, since nothing is then known of its derivative.
    """
    by_x = factors[:, :, -1, None] * last_gradient
    by_state: Any = nothing(steps[-1].state)
    total: Any = 0.0
    for index in reversed(range(len(steps))):
        at = steps[index]
        by_theta, by_x, by_gradient, by_state = pull(weights, *at, by_x, by_state)
        total = total + np.asarray(by_theta)
        if index == 0:  # the window's start is a constant
            break
        by_x, towards = np.array(by_x), np.asarray(by_gradient, np.float64)
        length = np.linalg.norm(towards, axis=-1)
        replies.alive &= np.isfinite(length).all(axis=1)
        live = np.argwhere(replies.alive[:, None] & (length > 0.0)).tolist()
        futures = [submit(g, at.x[g, s] + DISTANCE / length[g, s] * towards[g, s]) for g, s in live]
        yield futures
        for (g, s), future in zip(live, futures):
            reply = replies.take(g, future)
            if reply is None:
                continue
            change = np.asarray(reply.gradient, np.float64) - at.gradient[g, s]
            by_x[g, s] += (length[g, s] / DISTANCE * change).astype(np.float32)
        by_x += factors[:, :, index - 1, None] * at.gradient
    return np.asarray(total, np.float32)
