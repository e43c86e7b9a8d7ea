"""Arm A: trained on Rosenbrock's function alone, as the paper says of its classical models.

    optimus train rosenbrock --launch fused

D 32, 2 encoders, the `plus` form; n log-uniform in 2..50, neither shift nor rotation. Derivatives
through the window first, then NRES.

Not run.
"""

import dataclasses

from launch.configs import classical_small
from optimus.config import ClassicalTask, TrainConfig


def get_config() -> TrainConfig:
    """The `rosenbrock` configuration."""
    return dataclasses.replace(
        classical_small.get_config(),
        name="rosenbrock",
        task=ClassicalTask(functions=("rosenbrock",)),
    )
