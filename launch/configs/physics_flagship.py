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

from optimus import config
from optimus.model.config import PLUS

NAMES = ("physics-flagship", "physics-flagship-scratch")
_WINDOWS = config.Estimator(kind="bptt", truncation=10, horizon=100)
_LATE = config.Estimator(kind="bptt", truncation=20, horizon=100, task_clip=0.1)
_LAYOUT = config.Layout(actors=1, groups=2, lanes=10, workers=1)


def _phase(
    updates: int | None, estimator: config.Estimator, rate: float, cosine: int
) -> config.Phase:
    meta = config.MetaOptimizer(rate, batch=20, warmup=20, cosine=cosine)
    return config.Phase(updates, estimator, meta, _LAYOUT)


def first_order(updates: int | None, late: int | None) -> tuple[config.Phase, config.Phase]:
    """The first two phases, of so many updates each."""
    return _phase(updates, _WINDOWS, 5e-4, 800), _phase(late, _LATE, 4e-4, 350)


def get_config(name: str) -> config.TrainConfig:
    """One of `NAMES`."""
    exact = dataclasses.replace(_LATE, order=2)
    late = _phase(120, exact, 3e-4, 120), _phase(None, exact, 4e-4, 180)
    phases = (*first_order(480, 300), *late)
    whole = config.TrainConfig(
        name=name,
        task=config.PhysicsTask(seconds=0.25, control="pd", dt=1 / 120),
        updates=1080,
        phases=phases,
        optimizer=dataclasses.replace(PLUS, dim=32, encoders=2, place=True),
        initial="optimus-classical-first",
        evaluation=config.Evaluation(tasks=16, steps=100),
        checkpoint_every=60,
        evaluator=True,
    )
    if name == "physics-flagship":
        return whole
    alone = (dataclasses.replace(phases[0], updates=None),)
    return dataclasses.replace(whole, initial="", updates=480, phases=alone)
