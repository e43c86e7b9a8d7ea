"""Adafactor-MLP on the terms of `classical`: same tasks, meta-loss, estimator and updates.

    optimus train adafactor-mlp-classical --launch fused

Hidden width 64 and step multiplier 1 are the best of 4, 32, 64 x 0.01, 0.1, 1 on validation, one
seed, 700 updates each (`docs/training.md`).
"""

import dataclasses

from launch.configs import classical
from optimus.adafactor_mlp import AdafactorMlpConfig
from optimus.config import TrainConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-classical` configuration."""
    return dataclasses.replace(
        classical.get_config(),
        name="adafactor-mlp-classical",
        optimizer=AdafactorMlpConfig(hidden=64, step_mult=1.0),
    )
