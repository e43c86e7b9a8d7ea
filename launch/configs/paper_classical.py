"""The paper's recipe on the benchmark's functions: PES, window 5, horizon 50, batch 20, clip 3.

    optimus train paper-classical --launch fused

Architecture, estimator and Adam as the paper's supplement has them (Table 3); the training mixture,
its dimensions and the logarithmic meta-loss are our choices, since the paper names none (fact sheet
`optimus.md`, section 7). Neither shift nor rotation.

Not run to its end: 20,000 updates of a model with 617,103 weights are ten hours of one core.
`optimus-paper` is where it stood after 1,241 (`--set updates=1241`), 36 minutes: validation from
-0.17 to -3.45, and still improving.
"""

from optimus.config import ClassicalTask, Estimator, Evaluation, Layout, MetaOptimizer, TrainConfig
from optimus.model.config import PAPER


def get_config() -> TrainConfig:
    """The `paper-classical` configuration."""
    return TrainConfig(
        name="paper-classical",
        task=ClassicalTask(sizes=(10, 20, 50, 100)),
        updates=20_000,
        optimizer=PAPER,
        estimator=Estimator(kind="pes", sigma=0.01, truncation=5, horizon=50),
        meta=MetaOptimizer(learning_rate=5e-4, clip_norm=3.0, batch=20),
        layout=Layout(1, 1, 20, 0),
        evaluation=Evaluation(tasks=64, steps=200),
        checkpoint_every=500,
    )
