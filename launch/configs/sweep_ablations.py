"""What each part of the optimizer and of its training contributes, at equal inner steps.

    optimus sweep ablations

The base is small: PLUS with D 32 and 2 encoders, derivatives
through windows of 10 steps, episodes of 20 to 200 steps, 2 to 10 variables. Every arm changes that
in one respect; nothing is tuned anew for an arm, the estimators' rates included. An inner step of
"pathwise" costs more than one of PES or NRES, which runs two signs and no way back: the column of
core-seconds shows by how much.
"""

import dataclasses
from typing import Any

from launch.sweeps import BASE, Arm, Sweep, phases_of
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

_WINDOW = Estimator(kind="bptt", truncation=10, horizon=200, shortest=20)
_META = MetaOptimizer(learning_rate=1e-3, batch=20, warmup=20, cosine=1)
_LANES = Layout(1, 1, 20, 0)
_BASE = TrainConfig(
    name="ablations",
    task=ClassicalTask(
        sizes=(10,), generated=0.25, shift=0.5, rotate=0.25, x_scale=2.0, f_scale=100.0
    ),
    updates=1,
    phases=(Phase(None, _WINDOW, _META, _LANES),),
    optimizer=dataclasses.replace(PLUS, dim=32, encoders=2),
    evaluation=Evaluation(tasks=64, steps=200),
    meta_loss=MetaLoss(kind="log_ratio", floor=1e-12),
)
_NRES = dataclasses.replace(_WINDOW, kind="nres")
_FOUND = dataclasses.replace(_META, learning_rate=2e-4)


# The base's terms of B are "gated", of any sign, with a learned decay.
_SYMMETRIC = {"rank_one": "sym", "b_decay_learned": False}
_ARMS: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("parts", "optimizer"): {
        "B=I": {"rank_one": "none", "b_decay_learned": False},
        "no-attention": {"attention": "none"},
        "no-position": {"position": "none"},
        "position=x": {"position": "x"},
        "no-time": {"time_features": "none"},
        "no-curvature": {"curvature": False},
        "no-progress": {"progress": False},
        "fixed-steps": {"step_scale": "fixed"},
        "secant": {"secant": 8},
    },
    ("terms of B", "optimizer"): {
        "symmetric": {**_SYMMETRIC, "b_decay": 1.0},
        "decayed": {**_SYMMETRIC, "b_decay": 0.9},
        "signed": {"rank_one": "signed"},
        "asymmetric": {"rank_one": "asym"},
    },
    ("estimators", "estimator"): {
        "pes": {"kind": "pes"},
        "nres": {"kind": "nres"},
        "pes+pathwise": {"kind": "pes_pathwise"},
        "nres+pathwise": {"kind": "nres_pathwise"},
    },
}


def get_sweep() -> Sweep:
    """The `ablations` sweep."""
    arms = [Arm(BASE)]
    for (study, part), found in _ARMS.items():
        for name, changes in found.items():
            arms.append(Arm(name, {f"{part}.{key}": changes[key] for key in changes}, study))
    then = phases_of(Phase(2, _WINDOW, _META, _LANES), Phase(1, _NRES, _FOUND, _LANES))
    arms.append(Arm("pathwise,then-nres", then, "estimators"))
    for horizon in (50, 200):
        fixed = {"estimator.horizon": horizon, "estimator.shortest": 0}
        arms.append(Arm(f"horizon={horizon}", fixed, "horizon"))
    # At its bound of 1 per task a mean of derivatives never reaches a clip of 3.
    for name, clip, key, value in (
        ("unclipped-tasks", "global_norm", "task_clip", 0.0),
        ("unclipped-tasks,by-value", "value", "task_clip", 0.0),
        ("nres,by-value", "value", "kind", "nres"),
    ):
        arms.append(Arm(name, {"meta.clip": clip, f"estimator.{key}": value}, "clip"))
    return Sweep("ablations", _BASE, tuple(arms), inner_steps=400_000)
