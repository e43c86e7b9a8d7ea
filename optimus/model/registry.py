"""The learned update rules: which functions go with which configuration.

    rule = rule_of(config)                  # an OptimizerConfig or an AdafactorMlpConfig
    params = rule.init_params(config, key)
    state = rule.init_state(config, x)
    step, state = rule.update(config, params, state, x, gradient, mask)

Weights, benchmark and training scripts go through here and so treat all rules alike. The
functions themselves are documented in `optimus.model.optimizer`.
"""

import types
from typing import Any, NamedTuple

from optimus.model import adafactor_mlp, optimizer
from optimus.model.config import AdafactorMlpConfig, OptimizerConfig

Config = OptimizerConfig | AdafactorMlpConfig


class Rule(NamedTuple):
    """One learned update rule.

    `functions` is the module with its `init_params`, `init_state` and `update`.
    """

    kind: str  # as in the card of its weights
    config_type: type[Any]
    functions: types.ModuleType


_RULES = (
    Rule("optimus", OptimizerConfig, optimizer),
    Rule("adafactor_mlp", AdafactorMlpConfig, adafactor_mlp),
)
RULES: dict[str, Rule] = {rule.kind: rule for rule in _RULES}


def kind_of(config: Config) -> str:
    """The name of the configuration's rule; raises `TypeError` if it is of none."""
    for rule in RULES.values():
        if type(config) is rule.config_type:
            return rule.kind
    raise TypeError(f"{type(config).__name__} is no configuration of a learned optimizer")


def rule_of(config: Config) -> Any:
    """The module with `init_params`, `init_state` and `update` for this configuration."""
    return RULES[kind_of(config)].functions
