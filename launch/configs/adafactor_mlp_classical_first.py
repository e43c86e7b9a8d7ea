"""Adafactor-MLP on the terms of `classical-first`: same tasks, meta-loss, estimator and updates.

    optimus train adafactor-mlp-classical-first --launch fused

Hidden width 64 and step multiplier 1 are the best of 4, 32, 64 x 0.01, 0.1, 1 on validation, one
seed, 700 updates each (`docs/training.md`). `adafactor-mlp-physics` starts from these weights.
"""

import dataclasses

from launch.configs import classical_first
from optimus.config import TrainConfig
from optimus.model.config import AdafactorMlpConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-classical-first` configuration."""
    return dataclasses.replace(
        classical_first.get_config(),
        name="adafactor-mlp-classical-first",
        optimizer=AdafactorMlpConfig(hidden=64, step_mult=1.0),
    )
