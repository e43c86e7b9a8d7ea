"""Adafactor-MLP on the terms of `classical-first`; `adafactor-mlp-physics` starts from its weights.

    optimus train adafactor-mlp-classical-first --launch fused
"""

import dataclasses

from launch.configs import adafactor_mlp_classical, classical_first
from optimus.config import TrainConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-classical-first` configuration."""
    return dataclasses.replace(
        classical_first.get_config(),
        name="adafactor-mlp-classical-first",
        optimizer=adafactor_mlp_classical.get_config().optimizer,
    )
