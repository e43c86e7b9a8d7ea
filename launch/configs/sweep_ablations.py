"""What each part of the optimizer and of its training contributes, at equal inner steps.

    optimus sweep ablations

The base is small: PLUS with D 32 and 2 encoders, derivatives
through windows of 10 steps, episodes of 20 to 200 steps, 2 to 10 variables. Every arm changes that
in one respect; nothing is tuned anew for an arm, the estimators' rates included. An inner step of
"pathwise" costs more than one of PES or NRES, which runs two signs and no way back: the column of
core-seconds shows by how much. The base's terms of B are "gated", of any sign, with a learned
decay. At its bound of 1 per task a mean of derivatives never reaches a clip of 3.
"""

import dataclasses
import json
from pathlib import Path

from launch.sweeps import BASE, Arm, Sweep, phases_of
from optimus import config
from optimus.model.config import PLUS

_WINDOW = config.Estimator(kind="bptt", truncation=10, horizon=200, shortest=20)
_META = config.MetaOptimizer(learning_rate=1e-3, batch=20, warmup=20, cosine=1)
_LANES = config.Layout(1, 1, 20, 0)
_BASE = config.TrainConfig(
    name="ablations",
    task=config.ClassicalTask(
        sizes=(10,), generated=0.25, shift=0.5, rotate=0.25, x_scale=2.0, f_scale=100.0
    ),
    updates=1,
    phases=(config.Phase(None, _WINDOW, _META, _LANES),),
    optimizer=dataclasses.replace(PLUS, dim=32, encoders=2),
    evaluation=config.Evaluation(tasks=64, steps=200),
    meta_loss=config.MetaLoss(kind="log_ratio", floor=1e-12),
)
_NRES = dataclasses.replace(_WINDOW, kind="nres")
_FOUND = dataclasses.replace(_META, learning_rate=2e-4)


def get_sweep() -> Sweep:
    """The `ablations` sweep; most of its arms are in `ablations.json`."""
    studies = json.loads(Path(__file__).with_name("ablations.json").read_text(encoding="utf-8"))
    then = config.Phase(2, _WINDOW, _META, _LANES), config.Phase(1, _NRES, _FOUND, _LANES)
    studies["estimators"]["pathwise,then-nres"] = phases_of(*then)
    arms = [Arm(BASE)]
    for study, found in studies.items():
        arms += [Arm(name, changes, study) for name, changes in found.items()]
    return Sweep("ablations", _BASE, tuple(arms), inner_steps=400_000)
