"""Persistent Evolution Strategies (Vicol, Metz, Sohl-Dickstein 2021, arXiv 2112.13835).

Noise is fresh in each window, and a window's loss difference is credited to the *sum* of all
perturbations its trajectory has seen since its episode began: xi_t = sum of eps_tau, tau <= t. That
removes the bias of truncation; the variance grows with the number of windows. What the paper used.
"""

from __future__ import annotations

import numpy as np

from optimus.meta.estimators.evolution import EvolutionStrategy


def advance(accumulated: np.ndarray | None, noise: np.ndarray) -> np.ndarray:
    """xi_t from xi_{t-1} (None at an episode's start). Plain float32 addition in window order, so a
    cached sum and a regenerated one are equal bit for bit."""
    return noise.copy() if accumulated is None else accumulated + noise


STRATEGY = EvolutionStrategy("pes", fresh_each_window=True, advance=advance)
