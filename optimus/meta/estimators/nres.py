"""Noise-Reuse Evolution Strategies (Li et al. 2023, arXiv 2304.12180), also ES-Single
(arXiv 2304.11153): one perturbation for a whole episode, windows scored as they come.

Unbiased for the smoothed objective like PES, with a variance that does not grow with the number of
windows, and with no sum to keep.
"""

from __future__ import annotations

from optimus.meta.estimators.evolution import EvolutionStrategy, newest_only

STRATEGY = EvolutionStrategy("nres", fresh_each_window=False, advance=newest_only)
