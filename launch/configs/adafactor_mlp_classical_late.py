"""`adafactor-mlp-classical`, second part: as `classical-secant` is of `optimus-classical`.

    optimus train adafactor-mlp-classical --launch fused
    optimus train adafactor-mlp-classical-late --launch fused

The same tasks, 40 % of the optima moved, and phases; from the weights of the first part, which
ship as `adafactor-mlp-classical-first`. Its best checkpoint is its last.
"""

import dataclasses

from launch.configs import adafactor_mlp_classical, classical_secant
from optimus.config import TrainConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-classical-late` configuration."""
    return dataclasses.replace(
        classical_secant.get_config(),
        name="adafactor-mlp-classical-late",
        initial="adafactor-mlp-classical-first",
        optimizer=adafactor_mlp_classical.get_config().optimizer,
    )
