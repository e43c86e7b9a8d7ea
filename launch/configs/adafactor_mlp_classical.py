"""Adafactor-MLP on the terms of `classical`: same functions, meta-loss and guided estimator.

    optimus train adafactor-mlp-classical --launch fused

Hidden width 32 and step multiplier 0.1; n up to 50; a minute on one core. The rules of comparison
(`benchmark.md`, section 11) ask for a choice of both on validation, which has not been made:

    --set 'optimizer={"kind": "adafactor_mlp", "hidden": 4, "step_mult": 0.01}' --run-dir runs/...
"""

import dataclasses

from launch.configs import classical
from optimus.adafactor_mlp import AdafactorMlpConfig
from optimus.config import ClassicalTask, TrainConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-classical` configuration."""
    return dataclasses.replace(
        classical.get_config(),
        name="adafactor-mlp-classical",
        task=ClassicalTask(
            sizes=(10, 10, 10, 50), generated=0.15, shift=0.4, rotate=0.2, f_scale=10.0
        ),
        updates=3000,
        optimizer=AdafactorMlpConfig(hidden=32, step_mult=0.1),
        phases=(classical.guided(3000, 100.0, 1e-3),),
    )
