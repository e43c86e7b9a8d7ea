"""Truncated evolution strategies: fresh noise in each window, credited to that window alone.

What a perturbation does to later windows is forgotten, so the estimate is biased towards quick wins
(short-horizon bias). Here as the baseline that PES and NRES improve on.
"""

from __future__ import annotations

from optimus.meta.estimators.evolution import EvolutionStrategy, newest_only

STRATEGY = EvolutionStrategy("truncated_es", fresh_each_window=True, advance=newest_only)
