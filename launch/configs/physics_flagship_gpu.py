"""`physics-flagship` on one machine with a GPU and 16 cores: Optimus there, the simulator here.

    OPTIMUS_ACTOR_PLATFORMS=cuda optimus train physics-flagship-gpu --launch local_mp

Windows of 0.5 s (N = 420), 128 lanes in two groups, of which one takes its steps on the GPU while
the losses of the other are on the cores. The larger batch is what makes the NRES term worth its
noise. Not run: no GPU was at hand.
"""

import dataclasses

from launch.configs import physics_flagship
from optimus.config import Estimator, Layout, PhysicsTask, TrainConfig


def get_config() -> TrainConfig:
    """The `physics-flagship-gpu` configuration."""
    config = physics_flagship.get_config()
    return dataclasses.replace(
        config,
        name="physics-flagship-gpu",
        task=PhysicsTask(seconds=0.5, control="pd", dt=1 / 120),
        updates=4000,
        estimator=Estimator(kind="nres_pathwise", truncation=10, horizon=200),
        meta=dataclasses.replace(config.meta, batch=128, cosine=4000),
        layout=Layout(actors=1, groups=2, lanes=64, workers=13),
    )
