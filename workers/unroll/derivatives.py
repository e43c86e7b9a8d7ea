"""The exact derivative of a window of served losses, back through the steps one at a time.

How a step moves the *next* gradient is a second derivative of the loss, which first-order
derivatives leave out: they see that a step goes down, not that it spoils, or prepares, the steps
that follow. The way back needs it along one direction per step only,

    lambda_t = (dx_{t+1}/dx_t)^T lambda_{t+1} + H(x_t) v + s'(f_t) g_t
    v = (dx_{t+1}/dg_t)^T lambda_{t+1}

and H v is the difference of two gradients, one of which is known: one evaluation more per step and
trajectory, of a loss whose workers mostly wait for the optimizer (`docs/physics-flagship.md`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.wire import LossReply, LossUnavailable

# Length of the move over which gradients are compared. Gradients are rounded to float32 where they
# are small against what a contact changes within 1e-3.
DISTANCE = 1e-3


class Step(NamedTuple):
    """What one step started from: x, gradient `[G, S, N]` and the rule's state."""

    x: np.ndarray
    gradient: np.ndarray
    state: Any


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
    """The derivative of what does not depend on a state."""
    leaves = jax.tree_util.tree_leaves(state)
    return tuple(jnp.zeros_like(leaves[index]) for index in _real(leaves))


def backwards(
    pull: Callable[..., Any],
    submit: Callable[[int, np.ndarray], Future[LossReply]],
    weights: Any,
    steps: Sequence[Step],
    last_gradient: np.ndarray,
    factors: np.ndarray,
    alive: np.ndarray,
    evaluations: np.ndarray,
    seconds: np.ndarray,
) -> Generator[Sequence[Future[LossReply]], None, np.ndarray]:
    """Derivative of sum over t of s(f_t) by the weights, float32 `[G, S, P]`; yields what it waits
    for.

    Args:
      pull: of `pull_back`, over leading axes `[G, S]`.
      submit: (lane, point `[N]`) -> the loss there.
      weights: `[G, S, P]`. steps: of the window, in order.
      last_gradient: after the last step, `[G, S, N]`.
      factors: s'(f_t) after each step, `[G, S, W]`.
      alive: bool `[G]`; only these are evaluated. Set to False where a loss fails on the way back,
        since nothing is then known of that derivative.
      evaluations, seconds: `[G]`, added to.
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
        alive &= np.isfinite(length).all(axis=1)
        live = [
            (int(g), s)
            for g in np.flatnonzero(alive)
            for s in range(length.shape[1])
            if length[g, s] > 0.0
        ]
        futures = [submit(g, at.x[g, s] + DISTANCE / length[g, s] * towards[g, s]) for g, s in live]
        yield futures
        for (g, s), future in zip(live, futures):
            try:
                reply = future.result()
            except LossUnavailable:
                alive[g] = False
                continue
            evaluations[g] += 1
            seconds[g] += reply.seconds
            if reply.status != "ok":
                alive[g] = False
                continue
            change = np.asarray(reply.gradient, np.float64) - at.gradient[g, s]
            by_x[g, s] += (length[g, s] / DISTANCE * change).astype(np.float32)
        by_x += factors[:, :, index - 1, None] * at.gradient
    return np.asarray(total, np.float32)
