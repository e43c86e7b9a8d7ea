"""Adafactor-MLP on the terms of `classical`: same tasks, phases, updates, lanes and average.

    optimus train adafactor-mlp-classical --launch fused

Only the optimizer differs. Hidden width 64 and step multiplier 1 were chosen for the older terms,
on validation (`adafactor-mlp-classical-first`).
"""

import dataclasses

from launch.configs import adafactor_mlp_classical_first, classical
from optimus.config import TrainConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-classical` configuration."""
    return dataclasses.replace(
        classical.get_config(),
        name="adafactor-mlp-classical",
        optimizer=adafactor_mlp_classical_first.get_config().optimizer,
    )
