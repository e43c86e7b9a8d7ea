"""Estimators of the meta-gradient: one object each, and the four that are evolution strategies.

An evolution strategy estimates

    g = mean over samples of  xi (L+ - L-) / (2 sigma^2)

from windows of W inner steps of a trajectory at theta + eps and one at theta - eps; L is the mean
meta-loss of the window's unmasked steps. The strategies differ in how often eps is drawn and in
which perturbations xi credits:

* `pes`, Persistent Evolution Strategies (Vicol, Metz, Sohl-Dickstein 2021, arXiv 2112.13835): fresh
  noise in each window, credited to the *sum* of all perturbations that the trajectory has seen
  since its episode began. That removes the bias of truncation; the variance grows with the number
  of windows. What the paper used.
* `nres`, Noise-Reuse Evolution Strategies (Li et al. 2023, arXiv 2304.12180), also ES-Single (arXiv
  2304.11153): one perturbation for a whole episode, windows scored as they come. Unbiased for the
  smoothed objective like PES, with a variance that does not grow with the number of windows, and
  with no sum to keep.
* `full_es`: the window is the episode: unbiased, but an update waits for a whole horizon.
* `truncated_es`: fresh noise in each window, credited to that window alone: biased towards quick
  wins (short-horizon bias). The baseline that PES and NRES improve on.

Episodes end only at window boundaries, so a window never mixes two episodes: its losses are all
credited to one sum, and the next window starts with an empty one.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.meta import noise


@dataclass(frozen=True)
class GradientEstimator:
    """What distinguishes one estimator; hashable, so that compiled programs may depend on it.

    Attributes:
      name: as in a configuration.
      perturbs: whether there is an antithetic pair of perturbed weights; else one trajectory at the
        weights themselves.
      fresh_each_window: noise is drawn for each window; else once for each episode.
      accumulates: xi is the sum of the episode's noise; else the newest noise.
      whole_episodes: a window is an episode: `truncation` must equal `horizon`.
      needs_gradient: a term is the derivative through the window, see `pathwise`.
      credits_the_past: a difference is credited to the noise before its window.
      control_variate: what the derivative has already is taken out of the difference.
    """

    name: str
    perturbs: bool = True
    fresh_each_window: bool = True
    accumulates: bool = False
    whole_episodes: bool = False
    needs_gradient: bool = False
    credits_the_past: bool = False
    control_variate: bool = False

    def draw(
        self, seed: int, episode: int, window: int, size: int, sigma: float, kind: str
    ) -> np.ndarray:
        """The noise of one window of an episode, float32 `[P]`; `[0]` where nothing is perturbed.

        Args:
          seed: the run's seed.
          episode: episode id.
          window: index of the window in its episode.
          size: P, number of weights.
          sigma: standard deviation of each entry.
          kind: "gaussian" or "rademacher".
        """
        if not self.perturbs:
            return np.zeros(0, np.float32)
        fresh = window if self.fresh_each_window else None
        return noise.draw(seed, episode, fresh, size, sigma, kind)

    def perturb(self, theta: Any, drawn: Any) -> jax.Array:
        """Weights of each lane's trajectories, `[L, S, P]`: plus, minus; or theta itself, S = 1.

        Args:
          theta: weights, float32 `[P]`.
          drawn: noise of each lane, float32 `[L, P]`, or `[L, 0]` where nothing is perturbed.
        """
        if not self.perturbs:
            return jnp.broadcast_to(theta, (drawn.shape[0], 1, theta.shape[0]))
        return theta + jnp.stack([drawn, -drawn], axis=1)

    def advance(self, accumulated: Any, drawn: Any) -> Any:
        """xi of a window, from that of the one before (None at an episode's start) and its noise.

        Plain float32 addition in window order, so that a cached sum and a regenerated one are equal
        bit for bit. Shapes `[..., P]`.
        """
        return accumulated + drawn if self.accumulates and accumulated is not None else drawn

    def credit(self, before: jax.Array, after: jax.Array) -> jax.Array:
        """Which xi a window's difference is credited to, `[L, P]`: before its noise, or with it."""
        return before if self.credits_the_past else after

    def weights(
        self, differences: jax.Array, drawn: jax.Array, gradients: jax.Array, sigma: Any
    ) -> jax.Array:
        """Factor `[L]` that each lane's credit is multiplied with.

        Args:
          differences: L+ - L-, `[L]`.
          drawn: noise of this window, `[L, P]`.
          gradients: derivatives through the window, `[L, P]`.
          sigma: standard deviation of the noise.
        """
        weights = differences / (2.0 * sigma**2)
        if self.control_variate:
            known = jnp.einsum("lp,lp->l", drawn, gradients, precision="highest")
            weights = weights - known / sigma**2
        return weights


STRATEGIES = (
    GradientEstimator("pes", accumulates=True),
    GradientEstimator("nres", fresh_each_window=False),
    GradientEstimator("full_es", whole_episodes=True),
    GradientEstimator("truncated_es"),
)


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
    """The estimate of the meta-gradient by an evolution strategy.

    Args:
      accumulated: float32 `[B, P]`, xi of each sample.
      differences: float32 `[B]` from `mean_difference`.
      sigma: standard deviation of one draw of the noise.

    Returns:
      float32 `[P]`, the mean over samples.
    """
    weights = differences / (2.0 * sigma**2 * differences.shape[0])
    return jnp.einsum("b,bp->p", weights, accumulated, precision="highest")
