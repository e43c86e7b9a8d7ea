"""`physics-flagship` from random weights: what starting from `optimus-classical-first` is worth.

optimus train physics-flagship-scratch --launch local_mp
"""

import dataclasses

from launch.configs import physics_flagship
from optimus.config import TrainConfig


def get_config() -> TrainConfig:
    """The `physics-flagship-scratch` configuration."""
    return dataclasses.replace(
        physics_flagship.get_config(), name="physics-flagship-scratch", initial=""
    )
