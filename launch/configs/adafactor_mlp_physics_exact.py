"""Adafactor-MLP on the terms of `physics-flagship-exact`, after `adafactor-mlp-physics-late`.

optimus train adafactor-mlp-physics-exact-first --launch local_mp        # then -second
"""

import dataclasses

from launch.configs import adafactor_mlp_physics, physics_flagship_exact
from optimus.config import TrainConfig

VARIANTS = physics_flagship_exact.VARIANTS


def get_config(part: str) -> TrainConfig:
    """The `adafactor-mlp-physics-exact-PART` configuration."""
    initial = {
        "first": "runs/adafactor-mlp-physics-late/checkpoints/250",
        "second": "runs/adafactor-mlp-physics-exact-first/checkpoints/120",
    }
    return dataclasses.replace(
        physics_flagship_exact.get_config(part),
        name=f"adafactor-mlp-physics-exact-{part}",
        optimizer=adafactor_mlp_physics.get_config().optimizer,
        initial=initial[part],
    )
