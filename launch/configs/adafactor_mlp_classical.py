"""`adafactor-mlp-classical`, second part, on the terms that Optimus had before it was one run.

    optimus train adafactor-mlp-classical-first --launch fused
    optimus train adafactor-mlp-classical --launch fused

The same tasks, 40 % of the optima moved, and phases like those of the first part, from whose
weights it starts; no average. Together 17,500 updates of 20 tasks, where `classical` has 8,000 of
40. Its best checkpoint is its last.
"""

import dataclasses

from launch.configs import adafactor_mlp_classical_first, classical
from optimus.config import TrainConfig


def get_config() -> TrainConfig:
    """The `adafactor-mlp-classical` configuration."""
    return dataclasses.replace(
        classical.base(),
        name="adafactor-mlp-classical",
        initial="adafactor-mlp-classical-first",
        optimizer=adafactor_mlp_classical_first.get_config().optimizer,
        updates=6500,
        phases=(
            classical.guided(2500, 100.0, 1e-3),
            classical.guided(2000, 100.0, 5e-4, radius=1e-2, cosine=3000),
            classical.guided(2000, 100.0, 5e-4, radius=3e-2, cosine=3500),
        ),
    )
