"""Parts that `minimize` and `as_optax` share: the model, the largest problem, the jitted step."""

import functools
import os
from typing import Any

import jax
import numpy as np

from optimus import weights
from optimus.errors import require
from optimus.model.config import OptimizerConfig
from optimus.model.registry import Config, rule_of
from optimus.weights import LearnedOptimizer

DEFAULT_MODEL = "optimus-classical"
# Of quadratic cost: B and one matrix of attention weights per head, N^2 floats each: 8 GB.
MAX_COORDINATES = 20_000
KEPT = 32  # compiled programs


def resolve(model: LearnedOptimizer | str | os.PathLike[str]) -> LearnedOptimizer:
    """A model as it is, or the one that `weights.load` finds under a name or path."""
    return model if isinstance(model, LearnedOptimizer) else weights.load(model)


def check_size(config: Config, size: int) -> None:
    """Raises `ConfigError` where what Optimus keeps for each pair of variables would fill the
    memory."""
    if not isinstance(config, OptimizerConfig) or config.linear_cost:
        return
    require(
        size <= MAX_COORDINATES,
        f"{size} variables are too many: memory of a model with attention={config.attention!r} and "
        f"rank={config.rank} grows with their square, and {MAX_COORDINATES} is the most that is "
        "tried; with attention='inducing' and rank >= 1 there is no limit",
    )


def sees_position(config: Config) -> bool:
    """Whether the steps depend on x itself, not only on how it changed."""
    return not isinstance(config, OptimizerConfig) or config.position == "x" or config.place


# One N an entry: what has been compiled for one is let go with it, however many there are.
@functools.lru_cache(maxsize=KEPT)
def compiled(model: LearnedOptimizer, size: int) -> Any:
    """(state, x, gradient) -> (step, state) of one model, jitted with its weights compiled in.

    A call then passes a dozen arrays, not fifty: at N = 2 that nearly halves its time.

    Args:
      model: the weights.
      size: N; x and gradient are float32 `[N]`.
    """
    weights_inside = jax.tree_util.tree_map(np.asarray, model.params)
    return jax.jit(functools.partial(rule_of(model.config).update, model.config, weights_inside))


@functools.lru_cache(maxsize=KEPT)
def start_of(config: Config, size: int) -> Any:
    """x -> the state before the first step from there, jitted; x is float32 `[N]`."""
    return jax.jit(functools.partial(rule_of(config).init_state, config))


@functools.lru_cache(maxsize=KEPT)
def step_of(config: Config, size: int) -> Any:
    """The same of any weights: (params, state, x, gradient) -> (step, state), jitted.

    Args:
      config: the architecture.
      size: N; x and gradient are float32 `[N]`.
    """
    return jax.jit(functools.partial(rule_of(config).update, config))
