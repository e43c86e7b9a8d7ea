"""The paper's own recipe: PES, window 5, horizon 50, batch 20, Adam 5e-4, clip 3 (Table 3 of its
supplement), D 128, 3 encoders, random initial weights.

    optimus train paper-classical --launch fused
    optimus train physics-paper --launch local_mp

paper-classical: the paper's recipe on the benchmark's functions; the training mixture, its
dimensions and the logarithmic meta-loss are our choices, since the paper names none. Neither shift
nor rotation. Not run to its end: 20,000 updates of a model with 617,103 weights are ten hours of
one core. `optimus-paper` is where it stood after 1,241 (`--set updates=1241`), 36 minutes:
validation from -0.17 to -3.45, and still improving.

physics-paper: the paper's recipe on motion windows of 0.25 s. Not run to its end: 732 updates took
24 minutes of one core, 2 s each, and brought the validation meta-loss from 2.30 to -2.39.
"""

import dataclasses

from optimus.config import ClassicalTask, Evaluation, Layout, Phase, PhysicsTask, TrainConfig
from optimus.model.config import PAPER

NAMES = ("paper-classical", "physics-paper")


def get_config(name: str) -> TrainConfig:
    """One of `NAMES`."""
    # The estimator and meta-optimizer that a phase has by default are the paper's.
    config = TrainConfig(
        name=name,
        task=ClassicalTask(sizes=(10, 20, 50, 100)),
        updates=20_000,
        phases=(Phase(layout=Layout(actors=1, groups=1, lanes=20, workers=0)),),
        optimizer=PAPER,
        evaluation=Evaluation(tasks=64, steps=200),
        checkpoint_every=500,
    )
    if name == "paper-classical":
        return config
    return dataclasses.replace(
        config,
        task=PhysicsTask(seconds=0.25, control="pd", dt=1 / 120),
        phases=(Phase(layout=Layout(actors=1, groups=2, lanes=10, workers=2)),),
        evaluation=Evaluation(tasks=16, steps=100),
        checkpoint_every=100,
        evaluator=True,
    )
