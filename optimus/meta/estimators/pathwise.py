"""Estimators that differentiate through the current window of a trajectory.

The derivative is that of the window's mean meta-loss with the state at its start held constant: for
the weights' effect within the window exact, blind to what they did before. With the inner gradient
differentiated too (order 2) the sums below are unbiased; held constant (order 1) they are biased,
and need nothing but the gradient that the loss returns anyway, so that they work on simulators.

* `bptt`, g: truncated back-propagation, blind to earlier windows.
* `pes_pathwise`, `xi_{t-1} (L+ - L-) / (2 sigma^2) + g`: the noise of this window is independent of
  `xi_{t-1}`, which leaves the earlier windows to PES.
* `nres_pathwise`, `eps [(L+ - L-) / (2 sigma^2) - eps.g / sigma^2] + g`: one noise serves the whole
  episode, so what g has already is taken out of the difference: a control variate.

g is the mean of the derivatives at theta + eps and theta - eps.
"""

import functools

import jax
import jax.numpy as jnp

from optimus.meta.estimators.evolution import GradientEstimator

ESTIMATORS = (
    GradientEstimator("bptt", perturbs=False, needs_gradient=True),
    GradientEstimator("pes_pathwise", accumulates=True, needs_gradient=True, credits_the_past=True),
    GradientEstimator(
        "nres_pathwise", fresh_each_window=False, needs_gradient=True, control_variate=True
    ),
)


def clip_each(gradients: jax.Array, most: float) -> jax.Array:
    """Gradients `[L, P]`, each at most of norm `most` (0: as they are); not finite ones are 0."""
    norms = jnp.linalg.norm(gradients, axis=1, keepdims=True)
    finite = jnp.isfinite(norms)
    factors = most / jnp.maximum(norms, most) if most else jnp.ones_like(norms)
    return jnp.where(finite, jnp.where(finite, gradients, 0.0) * factors, 0.0)


def log_distance(mean_squares: jax.Array, radius: float | jax.Array) -> jax.Array:
    """What distance-to-minimiser supervision weighs: half the log of the mean squared
    distance, `[L, W]`.

    In a task whose minimiser is known, following it is supervised learning on the optimizer's own
    trajectories: its derivative points out of local minima, where that of f points into them. It
    fades out at distances of `radius` per coordinate, where f itself tells more.
    """
    return 0.5 * jnp.log(mean_squares + radius**2)


@functools.partial(jax.jit, static_argnames=("estimator", "sigma", "task_clip"))
def estimate(
    estimator: GradientEstimator,
    gradients: jax.Array,
    differences: jax.Array,
    drawn: jax.Array,
    accumulated: jax.Array,
    sigma: float,
    task_clip: float,
) -> jax.Array:
    """The estimate of the meta-gradient from a batch of samples, float32 `[P]`: their mean.

    Args:
      estimator: one of `ESTIMATORS`.
      gradients: derivative through each window, float32 `[B, P]`, clipped here.
      differences: float32 `[B]`, from `mean_difference`.
      drawn: noise of each window, float32 `[B, P]`; empty without perturbations.
      accumulated: xi with it, float32 `[B, P]`; empty without perturbations.
      sigma: standard deviation of one draw of the noise.
      task_clip: largest norm of one sample's gradient; 0: none.
    """
    gradients = clip_each(gradients, task_clip)
    total = jnp.mean(gradients, axis=0)
    if not estimator.perturbs:
        return total
    factors = estimator.weights(differences, drawn, gradients, sigma)
    credited = estimator.credit(accumulated - drawn, accumulated)
    return total + jnp.einsum("b,bp->p", factors, credited, precision="highest") / factors.shape[0]
