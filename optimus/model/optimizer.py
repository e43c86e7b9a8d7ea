"""The learned optimizer as a pure pair of functions: one call, one step on one task.

Algorithm 1 of the paper's supplement: fold the gradient into the accumulators, compute features,
let the network predict alpha, d and rank-one terms, update B, then step by
s = B [lambda_a exp(lambda_b alpha) * d].

    params = init_params(config, jax.random.key(0))     # once; serves every N
    state = init_state(config, x)
    step, state = update(config, params, state, x, gradient)
    x = x + step

Nothing here clips, restarts or stops; that is the caller's.
"""

import functools
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from optimus.model import features, preconditioner, trajectory_features
from optimus.model.config import OptimizerConfig
from optimus.model.network import Network, NetworkOutput
from optimus.model.trajectory_features import feature_names as feature_names

Params = Any  # {"network": Haiku's nested dict, "decays": {...}}, all leaves float32


class OptimizerState(NamedTuple):
    """What the optimizer remembers of one task of N coordinates."""

    iteration: jax.Array  # int32 [], steps taken
    averages: features.Accumulators
    preconditioner: jax.Array  # float32, the B of the last step: [N, N], or its factors
    past: trajectory_features.Past


@functools.cache
def _network(config: OptimizerConfig) -> hk.Transformed:
    """The network as a pair of pure functions, built once per configuration."""
    return hk.without_apply_rng(hk.transform(lambda *given: Network(config)(*given)))


def init_params(config: OptimizerConfig, key: jax.Array) -> Params:
    """Random meta-parameters, independent of N.

    `key` is a JAX random key and is consumed. Returns
      {"network": {module: {name: array}}, "decays": {"momentum": [3], "rms": [], "factored": [3]}},
      all float32; where the decay of B is learned, its logit is decays["preconditioner_logit"], [].
    """
    example = jnp.zeros((len(feature_names(config)), 1), jnp.float32)
    decays = features.init_decays()
    if config.b_decay_learned:
        logit = np.log(config.b_decay) - np.log1p(-config.b_decay)
        decays["preconditioner_logit"] = jnp.asarray(logit, jnp.float32)
    return {"network": _network(config).init(key, example), "decays": decays}


def init_state(config: OptimizerConfig, x: jax.Array) -> OptimizerState:
    """State before the first step at `x`, [N] with N >= 1 (else ValueError), any real dtype.

    `x` is the true start: what is measured from there (`position`, `curvature`) reads it.
    """
    size = features.size_of(x)
    if config.factored:
        symmetric = config.rank_one != "asym"
        matrix = preconditioner.init_factored(size, config.rank, config.encoders, symmetric)
    else:
        matrix = preconditioner.init_preconditioner(size)
    return OptimizerState(
        iteration=jnp.zeros((), jnp.int32),
        averages=features.init_accumulators(size),
        preconditioner=matrix,
        past=trajectory_features.init(config, x),
    )


def update(
    config: OptimizerConfig,
    params: Params,
    state: OptimizerState,
    x: jax.Array,
    gradient: jax.Array,
    mask: jax.Array | None = None,
) -> tuple[jax.Array, OptimizerState]:
    """One step of the optimizer; pure, for use under jit (config static), vmap, scan and grad.

    Args:
      config: as given to `init_params` and `init_state`.
      params: meta-parameters.
      state: state of this task.
      x: current point, [N]; cast to float32.
      gradient: gradient of the loss at x, [N]; cast to float32.
      mask: bool [N], false where a coordinate is padding. Whatever x and gradient hold there, NaN
        included, the step is 0 there and real coordinates get what they would without padding (up
        to the order of summation). None: every coordinate is real.

    Returns:
      step: float32 [N]; the next point is x + step.
      state: for the next call.

    Non-finite input is not repaired, nor can it hide: one NaN or infinity in x or gradient, or a
    gradient entry beyond 1e19 (its square overflows; not so with gradient_scale "first"), makes
    *every* real entry of the step NaN. So `isfinite(step[i])` for any one real i tells; the
    returned state is then spoilt, and the caller decides between keeping the old state and
    abandoning the task.

    Raises:
      ValueError: shapes disagree.
    """
    x, gradient = features.as_given(state.averages.rms.shape[-1], x, gradient, mask)

    seen = trajectory_features.observe(config, state.past, state.iteration, x, gradient, mask)
    averages = features.update_accumulators(params["decays"], state.averages, seen.gradient)
    precondition = functools.partial(_apply, config, state.preconditioner)
    inputs = trajectory_features.Inputs(seen, averages, precondition)
    channels = trajectory_features.network_inputs(config, inputs)
    output = _network(config).apply(params["network"], channels, mask)
    matrix = _update_preconditioner(config, params, state, output)
    plain_step = seen.length * jnp.exp(config.lambda_b * output.alpha) * output.direction
    step = _apply(config, matrix, plain_step)
    if output.secant is not None:
        step = step + 2.0 * jax.nn.sigmoid(output.secant) * seen.secant
    return step, OptimizerState(state.iteration + 1, averages, matrix, seen.past)


def _update_preconditioner(
    config: OptimizerConfig, params: Params, state: OptimizerState, output: NetworkOutput
) -> jax.Array:
    if output.raw_gates is None or output.left is None:  # rank_one is "none"
        return state.preconditioner
    weights = preconditioner.gate_weight(output.raw_gates, config.rank_one)
    decay: float | jax.Array = config.b_decay
    if config.b_decay_learned:
        decay = jax.nn.sigmoid(params["decays"]["preconditioner_logit"])
    terms = (weights, output.left, output.right, decay)
    if config.rank:
        return preconditioner.update_factored(state.preconditioner, state.iteration, *terms)
    return preconditioner.update_preconditioner(state.preconditioner, *terms)


def _apply(config: OptimizerConfig, matrix: jax.Array, vector: jax.Array) -> jax.Array:
    if config.factored:
        return preconditioner.apply_factored(matrix, vector)
    return preconditioner.apply_preconditioner(matrix, vector)
