"""Parts that `minimize` and `as_optax` share: the model, the largest problem, the jitted step."""

import functools
import os
from typing import Any

import jax
import numpy as np

from optimus import weights
from optimus.model.config import OptimizerConfig
from optimus.model.registry import Config, rule_of
from optimus.weights import LearnedOptimizer

DEFAULT_MODEL = "optimus-classical"
# Of quadratic cost: B and one matrix of attention weights per head, N^2 floats each: 8 GB.
MAX_COORDINATES = 20_000


def resolve(model: LearnedOptimizer | str | os.PathLike[str]) -> LearnedOptimizer:
    """A model as it is, or the one that `weights.load` finds under a name or path."""
    return model if isinstance(model, LearnedOptimizer) else weights.load(model)


def check_size(config: Config, size: int) -> None:
    """Raises `ValueError` where what Optimus keeps for each pair of variables would fill the
    memory."""
    if not isinstance(config, OptimizerConfig) or config.linear_cost:
        return
    if size > MAX_COORDINATES:
        raise ValueError(
            f"{size} variables are too many: memory of a model with attention={config.attention!r}"
            f" and rank={config.rank} grows with their square, and {MAX_COORDINATES} is the most"
            " that is tried; with attention='inducing' and rank >= 1 there is no limit"
        )


def sees_position(config: Config) -> bool:
    """Whether the steps depend on x itself, not only on how it changed."""
    return not isinstance(config, OptimizerConfig) or config.position == "x" or config.place


@functools.lru_cache(maxsize=16)
def compiled(model: LearnedOptimizer) -> Any:
    """(state, x, gradient) -> (step, state) of one model, jitted with its weights compiled in.

    A call then passes a dozen arrays, not fifty: at N = 2 that nearly halves its time.
    """
    weights_inside = jax.tree_util.tree_map(np.asarray, model.params)
    return jax.jit(functools.partial(step, model.config, weights_inside))


@functools.partial(jax.jit, static_argnums=0)
def step(
    config: Config, params: weights.Params, state: Any, x: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, Any]:
    """`update` of the configuration's rule, compiled once per configuration and N.

    Args:
      config: static.
      params: meta-parameters, ordinary arguments.
      state: of the rule.
      x: current point, float32 [N].
      gradient: at x, float32 [N].

    Returns:
      The step, float32 [N], and the state for the next call.
    """
    found: tuple[jax.Array, Any] = rule_of(config).update(config, params, state, x, gradient)
    return found
