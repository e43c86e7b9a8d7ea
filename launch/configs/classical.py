"""Trained on the benchmark's functions and on generated families, on one machine:

    optimus train classical --launch fused              # `optimus-classical`: an hour of two cores
    optimus train classical-first --launch fused        # what `physics-flagship` starts from
    optimus train classical-noposition --launch fused   # 5 minutes of one core
    optimus train rosenbrock --launch fused             # 5 minutes of one core
    optimus train heldout-quadratic --launch fused      # also -power, -valley, -ripple, -well

Truncated back-propagation (first order) in windows of 10, supervised by the distance to the
minimiser: in a training task it is known, and following it is what leads out of local minima, where
NRES needs many times as long (`docs/results/training.md`). D 32, 2 encoders, the `plus` form.

classical: the default weights, from the functions that they are judged by, at other starts, shifts
and dimensions (evaluation split B). `place` and the quasi-Newton direction of the last 10 steps; n
up to 250; 40 % of the optima moved, 10 % of the tasks rotated, 15 % generated. Two phases more, in
which the distance gives way to f further from the minimum, are for the last digits. What is kept is
the average of the last five hundred updates' weights: single ones swing by a third of a decade on
validation. What ships is the checkpoint after 7,200 updates, the best on validation.

classical-first: earlier weights, which `physics-flagship` starts from. Without the quasi-Newton
direction, without averaging, one group of lanes and 25 % of the optima moved; 11,000 updates.

classical-noposition: weights that are blind to where x is. The network sees x - x0 and no `place`,
so that moving function and start moves the whole run: what it has learned is not where the
benchmark's minima lie. n up to 50; half of the optima moved.

rosenbrock: Rosenbrock's function alone, as the paper says of its classical models (evaluation split
A). Neither shift nor rotation: `place` tells this model where the minimum is, and what it does here
says nothing about other functions.

heldout-GROUP: no function of one group of `optimus.problems.groups` (evaluation split C); generated
families of the group are not drawn, and validation is on the groups that are left. `optimus bench
classical --methods heldout:optimus-heldout` scores every function with the weights that have not
seen its group.
"""

import dataclasses
from typing import Any

from optimus import config
from optimus.model.config import PLUS
from optimus.problems.groups import GROUPS

# One update in 25 takes n in 51..250, whose steps cost as much as those of a hundred small tasks.
_SIZES = (*(10, 20, 10, 10, 50) * 2, 10, 20, 250, 10, 50, *(10, 20, 10, 10, 50) * 2)
_TASK = config.ClassicalTask(sizes=_SIZES, generated=0.15, shift=0.4, rotate=0.1, f_scale=10.0)
_OPTIMIZER = dataclasses.replace(PLUS, dim=32, encoders=2, place=True)


# Back-propagation supervised by the distance.
_WINDOW = config.Estimator(kind="bptt", truncation=10, horizon=200, shortest=20, guide=100.0)


def _phase(
    updates: int | None, rate: float, cosine: int, groups: int = 1, **options: Any
) -> config.Phase:
    """Groups of 20 lanes; `options`: of the estimator."""
    meta = config.MetaOptimizer(rate, batch=20 * groups, warmup=20, cosine=cosine)
    estimator = dataclasses.replace(_WINDOW, **options)
    return config.Phase(updates, estimator, meta, config.Layout(1, groups, 20, 0))


def _small(**options: Any) -> config.ClassicalTask:
    """Of at most 50 variables."""
    return config.ClassicalTask(generated=0.15, rotate=0.2, f_scale=10.0, **options)


_CHANGES: dict[str, dict[str, Any]] = {
    "classical": dict(
        updates=8000,
        phases=(
            _phase(4000, 1.4e-3, 4000, groups=2),
            _phase(2000, 7e-4, 2200, groups=2, guide_radius=1e-2),
            _phase(None, 7e-4, 2600, groups=2, guide_radius=3e-2),
        ),
        optimizer=dataclasses.replace(_OPTIMIZER, secant=10),
        weight_average=0.998,
        checkpoint_every=800,
        keep_checkpoints=20,  # all: their validations differ by less than its noise
    ),
    "classical-first": dict(
        task=dataclasses.replace(_TASK, shift=0.25),
        updates=11000,
        phases=(
            _phase(5500, 1e-3, 5500),
            _phase(2750, 5e-4, 3000, guide_radius=1e-2),
            _phase(None, 5e-4, 4500, guide_radius=3e-2),
        ),
    ),
    "classical-noposition": dict(
        task=_small(sizes=(10, 10, 10, 50), shift=0.5),
        optimizer=dataclasses.replace(_OPTIMIZER, place=False),
    ),
    "rosenbrock": dict(
        task=config.ClassicalTask(functions=("rosenbrock",), sizes=(10, 10, 10, 50)),
        phases=(_phase(None, 1e-3, 1500, guide=10.0),),
    ),
}
for _group in GROUPS:
    _task = _small(hold_out=(_group,), sizes=(10, 10, 20, 10, 50), shift=0.4)
    _CHANGES[f"heldout-{_group}"] = dict(task=_task)
NAMES = tuple(_CHANGES)


def get_config(name: str) -> config.TrainConfig:
    """One of `NAMES`."""
    common = config.TrainConfig(
        name=name,
        task=_TASK,
        updates=1500,
        phases=(_phase(None, 1e-3, 1500),),
        optimizer=_OPTIMIZER,
        evaluation=config.Evaluation(tasks=64, steps=200),
        meta_loss=config.MetaLoss(kind="log_ratio", floor=1e-12),
        checkpoint_every=250,
    )
    return dataclasses.replace(common, **_CHANGES[name])
