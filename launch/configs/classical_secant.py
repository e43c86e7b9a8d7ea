"""As `classical`, with the quasi-Newton direction among the inputs and 40 % of the optima moved.

    optimus train classical-secant --launch fused

Shorter phases than those of `classical`, for time, and stopped after 3,500 updates: what 3,250 of
them gave is in `docs/training.md`. A step costs a tenth more than one of `classical`.
"""

import dataclasses

from launch.configs import classical
from optimus.architecture import OptimizerConfig
from optimus.config import ClassicalTask, TrainConfig


def get_config() -> TrainConfig:
    """The `classical-secant` configuration."""
    config = classical.get_config()
    assert isinstance(config.task, ClassicalTask)
    assert isinstance(config.optimizer, OptimizerConfig)
    return dataclasses.replace(
        config,
        name="classical-secant",
        task=dataclasses.replace(config.task, shift=0.4),
        optimizer=dataclasses.replace(config.optimizer, secant=10),
        phases=(
            classical.guided(2400, 100.0, 1e-3),
            classical.guided(1200, 100.0, 5e-4, radius=1e-2),
            classical.guided(1200, 100.0, 5e-4, radius=3e-2),
        ),
        updates=4800,
    )
