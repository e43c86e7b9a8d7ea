"""Estimators of the meta-gradient, by the name that a configuration uses.

Evolution strategies, for losses of any kind and for every runner: one file each, told apart by
their `EvolutionStrategy`. What needs derivatives through the optimizer is in `pathwise`; how it is
perturbed, in `PERTURBED`.
"""

from __future__ import annotations

from optimus.meta.estimators import full_es, nres, pathwise, pes, truncated_es
from optimus.meta.estimators.evolution import EvolutionStrategy

STRATEGIES: dict[str, EvolutionStrategy] = {
    module.STRATEGY.name: module.STRATEGY for module in (pes, nres, full_es, truncated_es)
}
# Everything that perturbs weights, so all but "bptt".
PERTURBED: dict[str, EvolutionStrategy] = {**STRATEGIES, **pathwise.STRATEGIES}
