"""`optimus-rosenbrock`, arm A: trained on Rosenbrock's function alone, as the paper says of its
classical models. 5 minutes on one core.

    optimus train rosenbrock --launch fused

n log-uniform in 2..50, neither shift nor rotation: so `place` tells this model where the minimum
is, and what it does here says nothing about other functions.
"""

import dataclasses

from launch.configs import classical
from optimus.config import ClassicalTask, TrainConfig


def get_config() -> TrainConfig:
    """The `rosenbrock` configuration."""
    return dataclasses.replace(
        classical.base(),
        name="rosenbrock",
        task=ClassicalTask(functions=("rosenbrock",), sizes=(10, 10, 10, 50)),
        updates=1500,
        phases=(classical.guided(1500, 10.0, 1e-3),),
    )
