"""The paper's own recipe on motion windows: PES, window 5, horizon 50, batch 20, Adam 5e-4, clip 3.

    optimus train physics-paper --launch local_mp

Architecture (D 128, 3 encoders), estimator and Adam as in the paper's supplement (Table 3); windows
of 0.25 s and random initial weights. Not run to its end: 732 updates took 24 minutes of one core,
2 s each, and brought the validation meta-loss from 2.30 to -2.39 (docs/physics-flagship.md).
"""

from optimus.config import (
    Estimator,
    Evaluation,
    Layout,
    MetaOptimizer,
    PhysicsTask,
    TrainConfig,
)
from optimus.model.config import PAPER


def get_config() -> TrainConfig:
    """The `physics-paper` configuration."""
    return TrainConfig(
        name="physics-paper",
        task=PhysicsTask(seconds=0.25, control="pd", dt=1 / 120),
        updates=20_000,
        optimizer=PAPER,
        estimator=Estimator(kind="pes", sigma=0.01, truncation=5, horizon=50),
        meta=MetaOptimizer(learning_rate=5e-4, clip_norm=3.0, batch=20),
        layout=Layout(actors=1, groups=2, lanes=10, workers=2),
        evaluation=Evaluation(tasks=16, steps=100),
        checkpoint_every=100,
        evaluator=True,
    )
