"""`optimus-classical`: the benchmark's functions and generated families, an hour of two cores.

    optimus train classical --launch fused

Arm B: trained on the functions that it is judged by, at other starts, shifts and dimensions. D 32,
2 encoders, the `plus` form, `place` and the quasi-Newton direction of the last 10 steps; n up to
250; 40 % of the optima moved, 10 % of the tasks rotated, 15 % generated. Truncated back-propagation
(first order), windows of 10, with a strong guide: in a training task the minimiser is known, and
following it is what leads out of local minima, where NRES needs many times as long
(`docs/training.md`). Two phases more, in which the guide gives way to f further from the minimum,
are for the last digits. Two groups of 20 lanes, a device for each. What is kept is the average of
the last five hundred updates' weights: single ones swing by a third of a decade on validation.
What ships is the checkpoint after 7,200 updates, the best on validation.
"""

import dataclasses

from optimus.config import (
    ClassicalTask,
    Estimator,
    Evaluation,
    Layout,
    MetaLoss,
    MetaOptimizer,
    Phase,
    TrainConfig,
)
from optimus.model.config import PLUS

# One update in 25 takes n in 51..250, whose steps cost as much as those of a hundred small tasks.
_SIZES = (*(10, 20, 10, 10, 50) * 2, 10, 20, 250, 10, 50, *(10, 20, 10, 10, 50) * 2)


def guided(
    updates: int,
    guide: float,
    learning_rate: float,
    radius: float = 1e-4,
    cosine: int = 0,
    groups: int = 1,
) -> Phase:
    """A phase of guided back-propagation: groups of 20 lanes, horizons 20 ... 200."""
    estimator = Estimator(
        kind="bptt", truncation=10, horizon=200, shortest=20, guide=guide, guide_radius=radius
    )
    meta = MetaOptimizer(
        learning_rate=learning_rate, batch=20 * groups, warmup=20, cosine=cosine or updates
    )
    return Phase(updates=updates, estimator=estimator, meta=meta, layout=Layout(1, groups, 20, 0))


def base() -> TrainConfig:
    """What the classical models share: all but tasks, length and phases, which they replace."""
    return TrainConfig(
        name="classical",
        task=ClassicalTask(sizes=_SIZES, generated=0.15, shift=0.4, rotate=0.1, f_scale=10.0),
        updates=1500,
        optimizer=dataclasses.replace(PLUS, dim=32, encoders=2, place=True),
        phases=(guided(1500, 100.0, 1e-3),),
        evaluation=Evaluation(tasks=64, steps=200),
        meta_loss=MetaLoss(kind="log_ratio", floor=1e-12),
        checkpoint_every=250,
    )


def get_config() -> TrainConfig:
    """The `classical` configuration."""
    return dataclasses.replace(
        base(),
        updates=8000,
        optimizer=dataclasses.replace(PLUS, dim=32, encoders=2, place=True, secant=10),
        phases=(
            guided(4000, 100.0, 1.4e-3, groups=2),
            guided(2000, 100.0, 7e-4, radius=1e-2, cosine=2200, groups=2),
            guided(2000, 100.0, 7e-4, radius=3e-2, cosine=2600, groups=2),
        ),
        weight_average=0.998,
        checkpoint_every=800,
        keep_checkpoints=20,  # all: their validations differ by less than its noise
    )
