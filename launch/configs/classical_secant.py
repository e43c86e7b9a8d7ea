"""`optimus-classical`, second part: the quasi-Newton direction as an input, more optima moved.

    optimus train classical --launch fused
    optimus train classical-secant --launch fused

Starts from what the first part made (it ships as `optimus-classical-first`), grown by 10 pairs
(`optimus.initial`); 40 % of the optima moved instead of 25 %; again three phases, in the last two
of which the guide gives way to f further from the minimum. The best checkpoint of 6,500 updates,
5,500, is `optimus-classical`; validation swings by a third of a decade between checkpoints.
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
        initial="optimus-classical-first",
        task=dataclasses.replace(config.task, shift=0.4),
        optimizer=dataclasses.replace(config.optimizer, secant=10),
        phases=(
            classical.guided(2500, 100.0, 1e-3),
            classical.guided(2000, 100.0, 5e-4, radius=1e-2, cosine=3000),
            classical.guided(2000, 100.0, 5e-4, radius=3e-2, cosine=3500),
        ),
        updates=6500,
    )
