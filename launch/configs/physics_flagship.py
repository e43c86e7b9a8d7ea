"""`optimus-physics`: motion reconstruction from 0.25 s windows of the training clips, in four
phases.

    optimus train physics-flagship --launch local_mp           # 1,080 updates
    optimus train physics-flagship-scratch --launch local_mp   # its first phase, random weights

Starts from `optimus-classical-first`; D 32, 2 encoders.

1. First-order derivatives through windows of 10 steps: the workers return the gradient with every
   loss, so the actor differentiates its own steps and asks the simulator for nothing more. An
   update costs 1.4 s of one core.
2. After that a window's derivative has norm 10 at the start of an episode and 0.1 at its end, where
   most of what is left to win lies: a bound of 0.1 for each task makes all windows count alike, and
   windows of 20 steps let a step pay off later.
3. and 4. Exact derivatives. With the inner gradients held constant, what a step does to the
   gradients after it, which is all that a preconditioner is for, is not in the derivatives.
   `estimator.order` 2 asks the workers for one more gradient per step, of which they have plenty to
   give: they wait for the optimizer nine tenths of their time.

Expected result: the validation meta-loss, mean log of the loss over the first, goes from -2.7 to
-3.4 in the first phase and to -3.5 by the end (`docs/results/physics-flagship.md`).
"""

import dataclasses

from optimus.config import (
    Estimator,
    Evaluation,
    Layout,
    MetaOptimizer,
    Phase,
    PhysicsTask,
    TrainConfig,
)
from optimus.model.config import PLUS

NAMES = ("physics-flagship", "physics-flagship-scratch")
_WINDOWS = Estimator(kind="bptt", truncation=10, horizon=100)
_LATE = Estimator(kind="bptt", truncation=20, horizon=100, task_clip=0.1)


def phase(updates: int | None, estimator: Estimator, learning_rate: float, cosine: int) -> Phase:
    """A phase with 20 lanes.

    Args:
      updates: how long it is; None: to the run's end.
      estimator: of its own.
      learning_rate: at first.
      cosine: updates over which the rate falls.
    """
    meta = MetaOptimizer(learning_rate, batch=20, warmup=20, cosine=cosine)
    return Phase(updates, estimator, meta, Layout(actors=1, groups=2, lanes=10, workers=1))


def first_order(updates: int | None, late: int | None) -> tuple[Phase, Phase]:
    """The first two phases, of so many updates each."""
    return phase(updates, _WINDOWS, 5e-4, 800), phase(late, _LATE, 4e-4, 350)


def get_config(name: str) -> TrainConfig:
    """One of `NAMES`."""
    exact = dataclasses.replace(_LATE, order=2)
    phases = (*first_order(480, 300), phase(120, exact, 3e-4, 120), phase(None, exact, 4e-4, 180))
    config = TrainConfig(
        name=name,
        task=PhysicsTask(seconds=0.25, control="pd", dt=1 / 120),
        updates=1080,
        phases=phases,
        optimizer=dataclasses.replace(PLUS, dim=32, encoders=2, place=True),
        initial="optimus-classical-first",
        evaluation=Evaluation(tasks=16, steps=100),
        checkpoint_every=60,
        evaluator=True,
    )
    if name == "physics-flagship":
        return config
    alone = (dataclasses.replace(phases[0], updates=None),)
    return dataclasses.replace(config, initial="", updates=480, phases=alone)
