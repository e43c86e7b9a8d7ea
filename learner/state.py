"""Weights and Adam's moments as the named arrays of a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimus.meta.update import MetaState
from optimus.model.parameters import ParameterLayout
from optimus.rundir.checkpoint import CheckpointError


def to_arrays(state: MetaState, layout: ParameterLayout) -> dict[str, NDArray[Any]]:
    """Named arrays: "theta/<leaf>" in the leaf's shape, "adam/mu" and "adam/nu" `[P]`, and
    "adam/count" []."""
    return {
        "adam/mu": np.asarray(state.mu),
        "adam/nu": np.asarray(state.nu),
        "adam/count": np.asarray(state.updates),
        **layout.to_arrays(np.asarray(state.theta)),
    }


def from_arrays(arrays: Mapping[str, NDArray[Any]], layout: ParameterLayout) -> MetaState:
    """Inverse of `to_arrays`: a state whose theta is float32 `[P]`; raises `CheckpointError`."""
    try:
        theta = theta_from_arrays(arrays, layout)
        return MetaState(theta, arrays["adam/mu"], arrays["adam/nu"], arrays["adam/count"])
    except KeyError as error:
        raise CheckpointError(f"the checkpoint has no array {error}") from None


def theta_from_arrays(
    arrays: Mapping[str, NDArray[Any]], layout: ParameterLayout
) -> NDArray[np.float32]:
    """The flat weights `[P]` out of a checkpoint's named leaves; raises `CheckpointError`."""
    try:
        return layout.from_arrays(arrays)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint {error}") from None
