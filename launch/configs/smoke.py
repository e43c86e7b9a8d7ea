"""The whole system in seconds: Optimus on random rotated quadratics, no simulator.

    optimus train smoke                       # local_mp where installed, else in process
    optimus train smoke --launch inprocess

Time: at most 40 s on 2 cores, imports and compilation included. Expected result, seed 0: 30
updates, and the meta-loss on held-out quadratics goes from -0.16 to -0.29.
"""

from optimus import config
from optimus.model.config import OptimizerConfig


def get_config() -> config.TrainConfig:
    """The `smoke` configuration."""
    phase = config.Phase(
        estimator=config.Estimator(truncation=5, horizon=20),
        meta=config.MetaOptimizer(batch=8, learning_rate=1e-3),
        layout=config.Layout(actors=1, groups=2, lanes=4, workers=0),
    )
    return config.TrainConfig(
        name="smoke",
        task=config.AnalyticTask(family="quadratic", dim=10),
        updates=30,
        phases=(phase,),
        optimizer=OptimizerConfig(dim=16, encoders=1, heads=2, b_decay=0.9),
        evaluation=config.Evaluation(tasks=32, steps=20),
        checkpoint_every=10,
    )
