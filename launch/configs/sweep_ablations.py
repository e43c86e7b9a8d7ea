"""What each part of the optimizer and of its training contributes, at equal inner steps.

    optimus sweep ablations

The base is small: PLUS with D 32 and 2 encoders, derivatives
through windows of 10 steps, episodes of 20 to 200 steps, 2 to 10 variables. Every arm changes that
in one respect; nothing is tuned anew for an arm, the estimators' rates included. An inner step of
"pathwise" costs more than one of PES or NRES, which runs two signs and no way back: the column of
core-seconds shows by how much.
"""

import dataclasses

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


def _part(name: str, **changes: object) -> Arm:
    return Arm(name, {f"optimizer.{key}": value for key, value in changes.items()}, "parts")


# The base's terms are "gated", of any sign, with a learned decay.
def _terms(name: str, **changes: object) -> Arm:
    return Arm(name, {f"optimizer.{key}": value for key, value in changes.items()}, "terms of B")


def _estimator(name: str, **changes: object) -> Arm:
    changed = {f"estimator.{key}": value for key, value in changes.items()}
    return Arm(name, changed, "estimators")


def _clip(name: str, clip: str, **changes: object) -> Arm:
    changed = {f"estimator.{key}": value for key, value in changes.items()}
    return Arm(name, {"meta.clip": clip, **changed}, "clip")


def get_sweep() -> Sweep:
    """The `ablations` sweep."""
    arms = (
        Arm(BASE),
        _part("B=I", rank_one="none", b_decay_learned=False),
        _part("no-attention", attention="none"),
        _part("no-position", position="none"),
        _part("position=x", position="x"),
        _part("no-time", time_features="none"),
        _part("no-curvature", curvature=False),
        _part("no-progress", progress=False),
        _part("fixed-steps", step_scale="fixed"),
        _part("secant", secant=8),
        _terms("symmetric", rank_one="sym", b_decay=1.0, b_decay_learned=False),
        _terms("decayed", rank_one="sym", b_decay=0.9, b_decay_learned=False),
        _terms("signed", rank_one="signed"),
        _terms("asymmetric", rank_one="asym"),
        _estimator("pes", kind="pes"),
        _estimator("nres", kind="nres"),
        _estimator("pes+pathwise", kind="pes_pathwise"),
        _estimator("nres+pathwise", kind="nres_pathwise"),
        Arm(
            "pathwise,then-nres",
            phases_of(Phase(2, _WINDOW, _META, _LANES), Phase(1, _NRES, _FOUND, _LANES)),
            "estimators",
        ),
        Arm("horizon=50", {"estimator.horizon": 50, "estimator.shortest": 0}, "horizon"),
        Arm("horizon=200", {"estimator.horizon": 200, "estimator.shortest": 0}, "horizon"),
        # At its bound of 1 per task a mean of derivatives never reaches a clip of 3.
        _clip("unclipped-tasks", "global_norm", task_clip=0.0),
        _clip("unclipped-tasks,by-value", "value", task_clip=0.0),
        _clip("nres,by-value", "value", kind="nres"),
    )
    return Sweep("ablations", _BASE, arms, inner_steps=400_000)
