"""What evolution strategies have in common: antithetic differences, and how they become a gradient.

Every strategy estimates

    g = mean over samples of  xi (L+ - L-) / (2 sigma^2)

from windows of W inner steps of a trajectory at theta + eps and one at theta - eps; L is the mean
meta-loss of the window's unmasked steps. The strategies differ in how often eps is drawn and in
which perturbations xi credits (fact sheet `optimus.md`, section 8.1); each has a file of its own.

Episodes end only at window boundaries, so a window never mixes two episodes; that avoids both warts
of the published implementation (fact sheet, section 8.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class EvolutionStrategy(NamedTuple):
    """What distinguishes one strategy.

    Attributes:
      name: as in a configuration.
      fresh_each_window: noise is drawn for each window; else once for each episode.
      advance: (xi of the episode's previous window, or None at its start; this window's noise),
        float32 `[P]` both -> xi `[P]`.
      whole_episodes: a window is an episode: `truncation` must equal `horizon`.
    """

    name: str
    fresh_each_window: bool
    advance: Callable[[np.ndarray | None, np.ndarray], np.ndarray]
    whole_episodes: bool = False

    def noise_window(self, window: int) -> int | None:
        """The window index that `noise.draw` is to fold in."""
        return window if self.fresh_each_window else None


def newest_only(accumulated: np.ndarray | None, noise: np.ndarray) -> np.ndarray:
    """xi is this window's noise."""
    return noise


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
    """The estimate of the meta-gradient.

    Args:
      accumulated: float32 `[B, P]`, xi of each sample.
      differences: float32 `[B]` from `mean_difference`.
      sigma: standard deviation of one draw of the noise.

    Returns:
      float32 `[P]`, the mean over samples.
    """
    weights = differences / (2.0 * sigma**2 * differences.shape[0])
    return jnp.einsum("b,bp->p", weights, accumulated, precision="highest")
