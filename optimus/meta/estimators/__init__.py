"""Estimators of the meta-gradient, by the name that a configuration uses.

Whatever differs between them, a `GradientEstimator` says: how weights are perturbed, whether a
derivative is needed, what a difference of losses is credited to and with which weight.
"""

import jax
import numpy as np

from optimus.config import Estimator
from optimus.meta.estimators import evolution, pathwise
from optimus.meta.estimators.evolution import GradientEstimator as GradientEstimator

BY_NAME = {each.name: each for each in (*evolution.STRATEGIES, *pathwise.ESTIMATORS)}


def of(config: Estimator) -> GradientEstimator:
    """The estimator that a configuration names."""
    return BY_NAME[config.kind]


def estimate(
    config: Estimator,
    gradients: np.ndarray,
    differences: np.ndarray,
    drawn: np.ndarray,
    accumulated: np.ndarray,
) -> jax.Array:
    """The estimate of the meta-gradient from a batch of samples: their mean.

    Args:
      config: which estimator, sigma and task_clip.
      gradients: derivative through each window, float32 `[B, P]`; `[B, 0]` where none is needed.
      differences: float32 `[B]`, from `evolution.mean_difference`.
      drawn: noise of each window, float32 `[B, P]`; `[B, 0]` where nothing is perturbed.
      accumulated: xi of each sample, with its own noise; shape of `drawn`.

    Returns:
      float32 `[P]`.
    """
    chosen = of(config)
    if not chosen.needs_gradient:
        return evolution.estimate(accumulated, differences, np.float32(config.sigma))
    terms = (gradients, differences, drawn, accumulated)
    return pathwise.estimate(chosen, *terms, config.sigma, config.task_clip)
