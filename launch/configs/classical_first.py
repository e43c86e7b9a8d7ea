"""`optimus-classical-first`: what `physics-flagship` starts from.

    optimus train classical-first --launch fused        # 11,000 updates

As `classical`, but without the quasi-Newton direction, without averaging, one group of lanes and
25 % of the optima moved.
"""

import dataclasses

from launch.configs import classical
from optimus.config import ClassicalTask, TrainConfig


def get_config() -> TrainConfig:
    """The `classical-first` configuration."""
    config = classical.base()
    assert isinstance(config.task, ClassicalTask)
    return dataclasses.replace(
        config,
        name="classical-first",
        task=dataclasses.replace(config.task, shift=0.25),
        updates=11000,
        phases=(
            classical.guided(5500, 100.0, 1e-3),
            classical.guided(2750, 100.0, 5e-4, radius=1e-2, cosine=3000),
            classical.guided(2750, 100.0, 5e-4, radius=3e-2, cosine=4500),
        ),
    )
