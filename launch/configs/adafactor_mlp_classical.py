"""Adafactor-MLP on equal terms with `classical-small`: same tasks, phases and meta-loss.

    optimus train adafactor-mlp-classical --launch fused

Hidden width 32 and step multiplier 0.1; the rules of comparison (`benchmark.md`, section 11) ask
for a choice of both on validation:

    --set 'optimizer={"kind": "adafactor_mlp", "hidden": 4, "step_mult": 0.01}' --run-dir runs/...

Not run.
"""

import dataclasses

from launch.configs import classical_small
from optimus.adafactor_mlp import AdafactorMlpConfig
from optimus.config import TrainConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-classical` configuration."""
    return dataclasses.replace(
        classical_small.get_config(),
        name="adafactor-mlp-classical",
        optimizer=AdafactorMlpConfig(hidden=32, step_mult=0.1),
    )
