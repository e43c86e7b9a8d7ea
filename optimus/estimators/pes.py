"""Persistent Evolution Strategies (Vicol, Metz, Sohl-Dickstein 2021, arXiv 2112.13835).

A window's antithetic loss difference is credited to the *sum* of all perturbations its trajectory
has seen since its episode began, which removes the bias of truncation:

    g = mean over samples of  xi_t (L+_t - L-_t) / (2 sigma^2),   xi_t = sum of eps_tau, tau <= t.

Episodes here end only at window boundaries, so a window never mixes two episodes; that avoids
both warts of the published implementation (optimus fact sheet, section 8.3): the last step of an
episode is credited to the whole sum, and a new episode starts from an empty one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def mean_difference(losses: np.ndarray, mask: np.ndarray) -> float:
    """Mean of L+ - L- over the unmasked steps of one window.

    Args:
      losses: `[2, W]`, row 0 from the trajectory at theta + noise, row 1 at theta - noise.
      mask: bool `[W]`.

    Returns:
      float64 scalar; 0.0 when every step is masked.
    """
    if not mask.any():
        return 0.0
    scored = losses[:, mask].astype(np.float64)
    return float((scored[0] - scored[1]).mean())


@jax.jit
def estimate(accumulated: jax.Array, differences: jax.Array, sigma: jax.Array) -> jax.Array:
    """The PES estimate of the meta-gradient.

    Args:
      accumulated: float32 `[B, P]`, xi of each sample, this window's noise included.
      differences: float32 `[B]` from `mean_difference`.
      sigma: standard deviation of one window's noise.

    Returns:
      float32 `[P]`, the mean over samples.
    """
    weights = differences / (2.0 * sigma**2 * differences.shape[0])
    return jnp.einsum("b,bp->p", weights, accumulated, precision="highest")


def advance(accumulated: np.ndarray | None, noise: np.ndarray) -> np.ndarray:
    """xi_t from xi_{t-1} (None at an episode's start). Plain float32 addition in window order, so a
    cached sum and a regenerated one are equal bit for bit."""
    return noise.copy() if accumulated is None else accumulated + noise
