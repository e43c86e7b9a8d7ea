"""`optimus-physics`: motion reconstruction from 0.25 s windows of the training clips.

    optimus train physics-flagship --launch local_mp        # then physics-flagship-late

Starts from `optimus-classical-first`; D 32, 2 encoders. First-order derivatives through windows of
10 steps: the workers return the gradient with every loss, so the actor differentiates its own steps
and asks the simulator for nothing more. An update costs 1.4 s of one core.

Expected result: the validation meta-loss, mean log of the loss over the first, goes from -2.7 to
-3.4 (`docs/physics-flagship.md`).
"""

import dataclasses

from optimus.config import (
    Estimator,
    Evaluation,
    Layout,
    MetaOptimizer,
    PhysicsTask,
    TrainConfig,
)
from optimus.model.config import PLUS


def get_config() -> TrainConfig:
    """The `physics-flagship` configuration."""
    return TrainConfig(
        name="physics-flagship",
        task=PhysicsTask(seconds=0.25, control="pd", dt=1 / 120),
        updates=480,
        optimizer=dataclasses.replace(PLUS, dim=32, encoders=2, place=True),
        initial="optimus-classical-first",
        estimator=Estimator(kind="bptt", truncation=10, horizon=100),
        meta=MetaOptimizer(learning_rate=5e-4, batch=20, warmup=20, cosine=800),
        layout=Layout(actors=1, groups=2, lanes=10, workers=1),
        evaluation=Evaluation(tasks=16, steps=100),
        checkpoint_every=80,
        evaluator=True,
    )
