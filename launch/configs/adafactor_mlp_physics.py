"""Adafactor-MLP on the terms of `physics-flagship`: same windows, estimator, meta-loss and lanes.

    optimus train adafactor-mlp-physics --launch local_mp        # then adafactor-mlp-physics-late

Starts from `adafactor-mlp-classical-first`, as Optimus does from `optimus-classical-first`; as many
updates.
"""

import dataclasses

from launch.configs import physics_flagship
from optimus import weights
from optimus.config import TrainConfig

_INITIAL = "adafactor-mlp-classical-first"


def get_config() -> TrainConfig:
    """The `adafactor-mlp-physics` configuration."""
    config = physics_flagship.get_config()
    return dataclasses.replace(
        config,
        name="adafactor-mlp-physics",
        optimizer=weights.load(_INITIAL).config,  # its width and step multiplier
        initial=_INITIAL,
    )
