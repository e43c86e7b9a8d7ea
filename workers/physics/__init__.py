"""The physics loss: a simulated humanoid follows a motion clip, with an exact gradient.

Names are imported when first used, so the build and asset scripts run without the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.physics.loss import PhysicsLoss as PhysicsLoss
    from workers.physics.loss import PhysicsOptions as PhysicsOptions
    from workers.physics.loss import options_hash as options_hash
    from workers.physics.loss.windows import random_window as random_window
    from workers.physics.simulation import Status as Status

_HOME = {"Status": "simulation", "random_window": "loss.windows"}
_HOME |= dict.fromkeys(("PhysicsLoss", "PhysicsOptions", "options_hash"), "loss")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
