"""`optimus-noposition`: as `classical`, but blind to where x is: 5 minutes on one core.

    optimus train classical-noposition --launch fused

The network sees x - x0 and no `place`, so that moving function and start moves the whole run: what
it has learned is not where the benchmark's minima lie. n up to 50; half of the optima moved.
"""

import dataclasses

from launch.configs import classical
from optimus.config import ClassicalTask, TrainConfig
from optimus.model.config import PLUS


def get_config() -> TrainConfig:
    """The `classical-noposition` configuration."""
    config = classical.base()
    return dataclasses.replace(
        config,
        name="classical-noposition",
        task=ClassicalTask(
            sizes=(10, 10, 10, 50), generated=0.15, shift=0.5, rotate=0.2, f_scale=10.0
        ),
        updates=1500,
        optimizer=dataclasses.replace(PLUS, dim=32, encoders=2),
        phases=(classical.guided(1500, 100.0, 1e-3),),
    )
