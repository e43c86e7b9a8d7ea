"""Adafactor-MLP, the learned optimizer that Optimus is compared with (Metz et al. 2022,
arXiv 2203.11860), as the same pure functions as `optimus.model.optimizer`.

A small network, the same for every coordinate, maps the 39 features that Optimus has too to a
direction o0 and a log-magnitude o1; coordinates see each other through the normalisation of the
features only. Formulas, initialisation and constants are those of the public code, which subtracts

    o0 * exp(o1 * exp_mult) * step_mult

from the parameters. `update` returns what is to be *added*, hence minus that. With the published
multipliers, 0.001 each, 200 steps go about 0.2 far; the benchmark's starts are 10 from the optimum.
"""

import functools
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from optimus.model import features
from optimus.model.config import AdafactorMlpConfig as AdafactorMlpConfig

Params = Any  # {"network": Haiku's nested dict, "decays": {...}}, all leaves float32


class AdafactorMlpState(NamedTuple):
    """What the optimizer remembers of one task of N coordinates."""

    iteration: jax.Array  # int32 [], steps taken
    averages: features.Accumulators


@functools.cache
def _network(config: AdafactorMlpConfig) -> hk.Transformed:
    """[N, 39] -> [N, 2]. Haiku's defaults are the public code's: weights truncated normal with
    standard deviation 1/√fan_in, biases 0, ReLU."""
    sizes = [config.hidden] * config.layers + [2]
    return hk.without_apply_rng(hk.transform(lambda inputs: hk.nets.MLP(sizes)(inputs)))


def init_params(config: AdafactorMlpConfig, key: jax.Array) -> Params:
    """Random meta-parameters, independent of N; `key` is a JAX random key and is consumed.

    Returns {"network": {module: {name: array}}, "decays": {"momentum": [3], "rms": [],
    "factored": [3]}}, all float32.
    """
    example = jnp.zeros((1, len(features.FEATURE_NAMES)), jnp.float32)
    return {"network": _network(config).init(key, example), "decays": features.init_decays()}


def init_state(config: AdafactorMlpConfig, x: jax.Array) -> AdafactorMlpState:
    """State before the first step at `x`, [N] with N >= 1 (else ValueError), any real dtype."""
    del config
    averages = features.init_accumulators(features.size_of(x))
    return AdafactorMlpState(jnp.zeros((), jnp.int32), averages)


def update(
    config: AdafactorMlpConfig,
    params: Params,
    state: AdafactorMlpState,
    x: jax.Array,
    gradient: jax.Array,
    mask: jax.Array | None = None,
) -> tuple[jax.Array, AdafactorMlpState]:
    """One step; pure, for use under jit (config static), vmap, scan and grad.

    Masks, errors and what happens to non-finite input are as in `optimizer.update`.

    Args:
      config: as given to `init_params` and `init_state`.
      params: meta-parameters.
      state: state of this task.
      x: current point, [N]; cast to float32.
      gradient: gradient of the loss at x, [N]; cast to float32.
      mask: bool [N], false where a coordinate is padding; None: every coordinate is real.

    Returns:
      The step, float32 [N], to be added to x: 0 on padding, all NaN where any real entry of x or
      gradient is not finite. And the state for the next call.
    """
    x, gradient = features.as_given(state.averages.rms.shape[-1], x, gradient, mask)

    averages = features.update_accumulators(params["decays"], state.averages, gradient)
    channels = features.compute_features(x, gradient, averages, state.iteration, mask)
    output = _network(config).apply(params["network"], channels.T)
    step = -output[:, 0] * jnp.exp(output[:, 1] * config.exp_mult) * config.step_mult
    if mask is not None:
        step = jnp.where(mask, step, 0.0)
    return step, AdafactorMlpState(state.iteration + 1, averages)
