"""The pure meta-update: estimate -> clip -> Adam with its schedule (paper supplement, Table 3)."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from optimus.config import MetaOptimizer
from optimus.errors import UserError
from optimus.model.parameters import ParameterLayout
from optimus.rundir.checkpoint import CheckpointError


class Diverged(UserError, ValueError):
    """Training has left what float32 holds; one line."""

    final = True


class MetaState(NamedTuple):
    """Weights and Adam moments; `theta` and both moments are float32 `[P]`, `updates` int32."""

    theta: Any
    mu: Any
    nu: Any
    updates: Any


@functools.lru_cache(maxsize=8)
def _transform(meta: MetaOptimizer) -> optax.GradientTransformation:
    by_norm = meta.clip == "global_norm"
    clip = optax.clip_by_global_norm(meta.clip_norm) if by_norm else optax.clip(meta.clip_norm)
    return optax.chain(clip, optax.scale_by_adam(), optax.scale(-meta.learning_rate))


def rate_factor(meta: MetaOptimizer, updates: Any) -> Any:
    """Share of the learning rate after so many updates, float32: linear warm-up, then a cosine."""
    factor = jnp.ones((), jnp.float32)
    if meta.warmup:
        factor = jnp.minimum(factor, (updates + 1) / meta.warmup)
    if meta.cosine:
        past = jnp.clip(updates / meta.cosine, 0.0, 1.0)
        factor = factor * jnp.maximum(0.5 * (1.0 + jnp.cos(jnp.pi * past)), 0.01)
    return factor


def init(meta: MetaOptimizer, theta: Any) -> MetaState:
    """State with zero moments at weights `theta`, float32 `[P]`."""
    adam = _transform(meta).init(jax.numpy.asarray(theta, jax.numpy.float32))[1]
    return MetaState(jax.numpy.asarray(theta, jax.numpy.float32), adam.mu, adam.nu, adam.count)


@functools.partial(jax.jit, static_argnames="meta")
def apply(meta: MetaOptimizer, state: MetaState, gradient: jax.Array) -> MetaState:
    """One clipped Adam step; `gradient`, float32 `[P]`, must be finite. For use under jit."""
    adam = optax.ScaleByAdamState(count=state.updates, mu=state.mu, nu=state.nu)
    chained = (optax.EmptyState(), adam, optax.EmptyState())
    step, (_, adam, _) = _transform(meta).update(gradient, chained)
    if meta.warmup or meta.cosine:
        step = rate_factor(meta, state.updates) * step
    return MetaState(state.theta + step, adam.mu, adam.nu, adam.count)


def update(meta: MetaOptimizer, state: MetaState, gradient: jax.Array) -> tuple[MetaState, float]:
    """One clipped Adam step.

    Args:
      meta: learning rate and clip.
      state: from `init` or an earlier update.
      gradient: float32 `[P]`.

    Returns:
      The new state and the gradient's global norm before clipping.

    Raises:
      Diverged: the gradient is not finite.
    """
    norm = float(np.sqrt(np.sum(np.square(np.asarray(gradient, np.float64)))))
    if not np.isfinite(norm):
        why = "training diverged: the meta-gradient is not finite"
        raise Diverged(f"{why}; try a smaller meta.learning_rate, or another estimator.sigma")
    return apply(meta, state, gradient), norm


@jax.jit
def averaged(average: jax.Array, theta: jax.Array, updates: Any, decay: Any) -> jax.Array:
    """The moving average of the weights after one more update (Polyak averaging).

    Successive weights differ by what the last few estimates happened to say; their average does
    not. It begins with short memory, as random first weights are worth nothing.

    Args:
      average: so far, float32 `[P]`.
      theta: the weights now.
      updates: done so far, this one
        counted. decay: in [0, 1).
    """
    kept = jnp.minimum(decay, updates / (updates + 9.0))
    return theta + kept * (average - theta)


def to_arrays(state: MetaState, layout: ParameterLayout) -> dict[str, NDArray[Any]]:
    """Named arrays: "theta/<leaf>" in the leaf's shape, "adam/mu" and "adam/nu" `[P]`, and
    "adam/count" []."""
    return {
        "adam/mu": np.asarray(state.mu),
        "adam/nu": np.asarray(state.nu),
        "adam/count": np.asarray(state.updates),
        **layout.to_arrays(np.asarray(state.theta)),
    }


def from_arrays(arrays: Mapping[str, NDArray[Any]], layout: ParameterLayout) -> MetaState:
    """Inverse of `to_arrays`: a state whose theta is float32 `[P]`; raises `CheckpointError`."""
    try:
        theta = theta_from_arrays(arrays, layout)
        return MetaState(theta, arrays["adam/mu"], arrays["adam/nu"], arrays["adam/count"])
    except KeyError as error:
        raise CheckpointError(f"the checkpoint has no array {error}") from None


def theta_from_arrays(
    arrays: Mapping[str, NDArray[Any]], layout: ParameterLayout
) -> NDArray[np.float32]:
    """The flat weights `[P]` out of a checkpoint's named leaves; raises `CheckpointError`."""
    try:
        return layout.from_arrays(arrays)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint {error}") from None
