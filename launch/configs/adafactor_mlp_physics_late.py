"""Adafactor-MLP on the terms of `physics-flagship-late`; goes on from `adafactor-mlp-physics`.

optimus train adafactor-mlp-physics --launch local_mp
optimus train adafactor-mlp-physics-late --launch local_mp
"""

import dataclasses

from launch.configs import adafactor_mlp_physics, physics_flagship_late
from optimus.config import TrainConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-physics-late` configuration."""
    return dataclasses.replace(
        physics_flagship_late.get_config(),
        name="adafactor-mlp-physics-late",
        optimizer=adafactor_mlp_physics.get_config().optimizer,
        initial="runs/adafactor-mlp-physics/checkpoints/480",
    )
