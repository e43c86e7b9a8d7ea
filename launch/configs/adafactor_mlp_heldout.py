"""Adafactor-MLP on the terms of `heldout`: same groups, tasks, meta-loss and estimator. 1 minute on
one core each.

    optimus train adafactor-mlp-heldout-quadratic --launch fused
"""

import dataclasses

from launch.configs import adafactor_mlp_classical, heldout
from optimus.config import TrainConfig

VARIANTS = heldout.VARIANTS


def get_config(group: str) -> TrainConfig:
    """The configuration that holds `group` out."""
    return dataclasses.replace(
        heldout.get_config(group),
        name=f"adafactor-mlp-heldout-{group}",
        optimizer=adafactor_mlp_classical.get_config().optimizer,
    )
