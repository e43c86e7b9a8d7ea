"""Estimators that differentiate through the current window of a trajectory.

The derivative is that of the window's mean meta-loss with the state at its start held constant: for
the weights' effect within the window exact, blind to what they did before. With the inner gradient
differentiated too (order 2) the sums below are unbiased; held constant (order 1) they are biased,
and need nothing but the gradient that the loss returns anyway, so that they work on simulators.

  bptt           g: truncated back-propagation, blind to earlier windows.
  pes_pathwise   xi_{t-1} (L+ - L-) / (2 sigma^2) + g: the noise of this window is independent of
                 xi_{t-1}, which leaves the earlier windows to PES (fact sheet `optimus.md`, 8.1).
  nres_pathwise  eps [(L+ - L-) / (2 sigma^2) - eps.g / sigma^2] + g: one noise serves the whole
                 episode, so what g has already is taken out of the difference: a control variate.

g is the mean of the derivatives at theta + eps and theta - eps.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from optimus.meta.estimators.evolution import EvolutionStrategy
from optimus.meta.estimators.nres import STRATEGY as NRES
from optimus.meta.estimators.pes import STRATEGY as PES

# The noise of each: that of its evolution strategy.
STRATEGIES: dict[str, EvolutionStrategy] = {"pes_pathwise": PES, "nres_pathwise": NRES}


def clip_each(gradients: jax.Array, most: float) -> jax.Array:
    """Gradients `[L, P]`, each at most of norm `most` (0: as they are); not finite ones are 0."""
    norms = jnp.linalg.norm(gradients, axis=1, keepdims=True)
    finite = jnp.isfinite(norms)
    factors = most / jnp.maximum(norms, most) if most else jnp.ones_like(norms)
    return jnp.where(finite, jnp.where(finite, gradients, 0.0) * factors, 0.0)


def log_distance(mean_squares: jax.Array, radius: float | jax.Array) -> jax.Array:
    """What `guide` weighs: half the logarithm of the mean squared distance to the minimiser.

    In a task whose minimiser is known, following it is supervised learning on the optimizer's own
    trajectories: its derivative points out of local minima, where that of f points into them. It
    fades out at distances of `radius` per coordinate, where f itself tells more.
    """
    return 0.5 * jnp.log(mean_squares + radius**2)


def evolution_weights(
    kind: str, difference: jax.Array, noise: jax.Array, gradient: jax.Array, sigma: float
) -> jax.Array:
    """Factor `[L]` that each task's credit is multiplied with.

    Args:
      difference: L+ - L-, `[L]`. noise: eps of this window, `[L, P]`; gradient: g, `[L, P]`.
    """
    weights = difference / (2.0 * sigma**2)
    if kind == "nres_pathwise":
        weights = weights - jnp.einsum("lp,lp->l", noise, gradient, precision="highest") / sigma**2
    return weights


def credit(kind: str, before: jax.Array, after: jax.Array) -> jax.Array:
    """Which sum of noise a window's difference is credited to, `[L, P]`: before it, or with it."""
    return before if kind == "pes_pathwise" else after


@functools.partial(jax.jit, static_argnames=("kind", "sigma", "task_clip"))
def estimate(
    kind: str,
    gradients: jax.Array,
    differences: jax.Array,
    noise: jax.Array,
    accumulated: jax.Array,
    sigma: float,
    task_clip: float,
) -> jax.Array:
    """The estimate of the meta-gradient from a batch of samples, float32 `[P]`: their mean.

    Args:
      gradients: g, `[B, P]`, clipped here. differences: `[B]`, from `mean_difference`.
      noise: eps of each window, accumulated: xi with it, `[B, P]`; empty for "bptt".
    """
    gradients = clip_each(gradients, task_clip)
    total = jnp.mean(gradients, axis=0)
    if kind == "bptt":
        return total
    factors = evolution_weights(kind, differences, noise, gradients, sigma)
    credited = credit(kind, accumulated - noise, accumulated)
    return total + jnp.einsum("b,bp->p", factors, credited, precision="highest") / factors.shape[0]
