"""Small run directories with real checkpoints, made without training."""

from __future__ import annotations

import json
import pathlib

import numpy as np

from launch import builders, configs
from optimus.config import TrainConfig, config_hash, override, to_dict
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter
from workers.unroll import parameter_layout

TINY = (
    "optimizer.dim=8",
    "optimizer.heads=1",
    "task.dim=3",
    "evaluation.tasks=3",
    "evaluation.steps=4",
    "updates=40",
)


def config() -> TrainConfig:
    """The `smoke` configuration, smaller still."""
    return override(configs.find("smoke"), TINY)


def add_checkpoint(run_dir: pathlib.Path, step: int, shift: float = 0.0) -> pathlib.Path:
    """A checkpoint of the initial weights, each moved by `shift`."""
    chosen = config()
    layout = parameter_layout(chosen)
    theta = builders.initial_theta(chosen) + np.float32(shift)
    arrays = layout.to_arrays(theta)
    manifest = {"config_hash": config_hash(chosen), "evaluations": 10 * step}
    return checkpoint.save(run_dir / "checkpoints", step, arrays, manifest)


def make(run_dir: pathlib.Path, steps: tuple[int, ...] = (0, 10)) -> pathlib.Path:
    """A finished run with an update record a step."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.json").write_text(json.dumps(to_dict(config())))
    learner, launcher = MetricsWriter(run_dir, "learner"), MetricsWriter(run_dir, "launcher")
    launcher.write("started", launch="inprocess", pid=1)
    learner.write("learner_started", version=[1, 0], resumed=False)
    for step in range(1, 41):
        learner.write(
            "update",
            step=step,
            updates=40,
            meta_loss=-0.01 * step,
            seconds=0.5,
            waiting=0.2,
            gradient_norm=3.0 / step,
            evaluations=80 * step,
            staleness=step % 2,
            refused={"stale": 1},
        )
    for k, step in enumerate(steps):
        add_checkpoint(run_dir, step, 0.01 * k)
    launcher.write("ended", state="finished", cause="")
    learner.close()
    launcher.close()
    return run_dir
