"""The whole system in seconds: Optimus on random rotated quadratics, no simulator.

    optimus train smoke                       # local_mp where installed, else in process
    optimus train smoke --launch inprocess

Time: at most 40 s on 2 cores, imports and compilation included. Expected result, seed 0: 30
updates, and the meta-loss on held-out quadratics goes from -0.16 to -0.29.
"""

from optimus.config import (
    AnalyticTask,
    Estimator,
    Evaluation,
    Layout,
    MetaOptimizer,
    Phase,
    TrainConfig,
)
from optimus.model.config import OptimizerConfig


def get_config() -> TrainConfig:
    """The `smoke` configuration."""
    return TrainConfig(
        name="smoke",
        task=AnalyticTask(family="quadratic", dim=10),
        updates=30,
        phases=(
            Phase(
                estimator=Estimator(truncation=5, horizon=20),
                meta=MetaOptimizer(batch=8, learning_rate=1e-3),
                layout=Layout(actors=1, groups=2, lanes=4, workers=0),
            ),
        ),
        optimizer=OptimizerConfig(dim=16, encoders=1, heads=2, b_decay=0.9),
        evaluation=Evaluation(tasks=32, steps=20),
        checkpoint_every=10,
    )
