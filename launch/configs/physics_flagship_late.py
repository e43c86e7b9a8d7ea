"""`optimus-physics`, second part: goes on from `physics-flagship` with the late steps in view.

    optimus train physics-flagship --launch local_mp
    optimus train physics-flagship-late --launch local_mp

After the first part a window's derivative has norm 10 at the start of an episode and 0.1 at its
end, where most of what is left to win lies (`docs/physics-flagship.md`): a bound of 0.1 for each
task makes all windows count alike, and windows of 20 steps let a step pay off later.
"""

import dataclasses

from launch.configs import physics_flagship
from optimus.config import Estimator, MetaOptimizer, TrainConfig


def get_config() -> TrainConfig:
    """The `physics-flagship-late` configuration."""
    return dataclasses.replace(
        physics_flagship.get_config(),
        name="physics-flagship-late",
        initial="runs/physics-flagship/checkpoints/480",
        updates=350,
        estimator=Estimator(kind="bptt", truncation=20, horizon=100, task_clip=0.1),
        meta=MetaOptimizer(learning_rate=4e-4, batch=20, warmup=20, cosine=350),
        checkpoint_every=50,
    )
