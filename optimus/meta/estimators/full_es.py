"""Full evolution strategies: the window is the episode, one update from whole unrolls.

Unbiased for the smoothed objective; an update waits for a whole horizon.
"""

from __future__ import annotations

from optimus.meta.estimators.evolution import EvolutionStrategy, newest_only

STRATEGY = EvolutionStrategy(
    "full_es", fresh_each_window=True, advance=newest_only, whole_episodes=True
)
