"""`optimus-physics`, third and fourth part: exact derivatives of the windows.

    optimus train physics-flagship-exact-first --launch local_mp
    optimus train physics-flagship-exact-second --launch local_mp

The first two parts hold the inner gradients constant, so what a step does to the gradients after
it, which is all that a preconditioner is for, is not in their derivatives. `estimator.order` 2
asks the workers for one more gradient per step (`workers.unroll.derivatives`), of which they have
plenty to give: they wait for the optimizer nine tenths of their time.
"""

import dataclasses

from launch.configs import physics_flagship_late
from optimus.config import TrainConfig

VARIANTS = ("first", "second")


def get_config(part: str) -> TrainConfig:
    """The `physics-flagship-exact-PART` configuration."""
    config = physics_flagship_late.get_config()
    updates, rate, initial = {
        "first": (120, 3e-4, "runs/physics-flagship-late/checkpoints/300"),
        "second": (180, 4e-4, "runs/physics-flagship-exact-first/checkpoints/120"),
    }[part]
    return dataclasses.replace(
        config,
        name=f"physics-flagship-exact-{part}",
        initial=initial,
        updates=updates,
        estimator=dataclasses.replace(config.estimator, order=2),
        meta=dataclasses.replace(config.meta, learning_rate=rate, cosine=updates),
        checkpoint_every=30,
    )
