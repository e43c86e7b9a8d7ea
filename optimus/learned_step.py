"""What the front doors share: which model is meant, how large a problem may be, one jitted step."""

from __future__ import annotations

import functools
import os

import jax

from optimus import optimizer, weights
from optimus.weights import LearnedOptimizer

DEFAULT_MODEL = "optimus-standin"
MAX_COORDINATES = 20_000  # B and one matrix of attention weights per head, N^2 floats each: 8 GB


def resolve(model: LearnedOptimizer | str | os.PathLike[str]) -> LearnedOptimizer:
    """A model as it is, or the one that `weights.load` finds under a name or path."""
    return model if isinstance(model, LearnedOptimizer) else weights.load(model)


def check_size(size: int) -> None:
    """Raises `ValueError` where the dense preconditioner would fill the memory."""
    if size > MAX_COORDINATES:
        raise ValueError(
            f"{size} variables are too many: memory grows with their square, and {MAX_COORDINATES}"
            " is the most that is tried"
        )


# Compiled once per configuration and N, for the whole process; weights are ordinary arguments.
step = functools.partial(jax.jit, static_argnums=0)(optimizer.update)
