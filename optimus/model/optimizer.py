"""The learned optimizer as a pure pair of functions: one call, one step on one task.

Algorithm 1 of the paper's supplement (fact sheet `optimus.md`, sections 1 and 2): fold the gradient
into the accumulators, compute features, let the network predict alpha, d and rank-one terms,
update B, then step by s = B [lambda_a exp(lambda_b alpha) * d].

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

from optimus.model import features as features_lib
from optimus.model import network as network_lib
from optimus.model import preconditioner as preconditioner_lib
from optimus.model import trajectory_features as history_lib
from optimus.model.config import OptimizerConfig

Params = Any  # {"network": Haiku's nested dict, "decays": {...}}, all leaves float32


class OptimizerState(NamedTuple):
    """What the optimizer remembers of one task of N coordinates.

    The fields from `start` on are those of `history.Past`: of size 0 unless an option needs them.
    """

    iteration: jax.Array  # int32 [], steps taken
    momentum: jax.Array  # float32 [3, N]
    rms: jax.Array  # float32 [N]
    factored: jax.Array  # float32 [3, N]
    preconditioner: jax.Array  # float32, the B of the last step: [N, N], or its factors
    start: jax.Array
    last_x: jax.Array
    last_gradient: jax.Array
    reference: jax.Array
    length: jax.Array
    pairs: jax.Array


@functools.cache
def _network(config: OptimizerConfig) -> hk.Transformed:
    """The network as a pair of pure functions, built once per configuration."""

    def forward(features: jax.Array, mask: jax.Array | None = None) -> network_lib.NetworkOutput:
        return network_lib.Network(config)(features, mask)

    return hk.without_apply_rng(hk.transform(forward))


def feature_names(config: OptimizerConfig) -> tuple[str, ...]:
    """The network's inputs in order: the paper's 39, then those of the options that are on."""
    place = history_lib.PLACE_NAMES if config.place else ()
    curvature = history_lib.CURVATURE_NAMES if config.curvature else ()
    progress = history_lib.PROGRESS_NAMES if config.progress else ()
    timed = config.time_features != "none"
    base = features_lib.FEATURE_NAMES if timed else features_lib.DATA_FEATURE_NAMES
    secant = history_lib.SECANT_NAMES if config.secant else ()
    return base + place + curvature + progress + secant


def init_params(config: OptimizerConfig, key: jax.Array) -> Params:
    """Random meta-parameters, independent of N.

    `key` is a JAX random key and is consumed. Returns
      {"network": {module: {name: array}}, "decays": {"momentum": [3], "rms": [], "factored": [3]}},
      all float32; where the decay of B is learned, its logit is decays["preconditioner_logit"], [].
    """
    example = jnp.zeros((len(feature_names(config)), 1), jnp.float32)
    decays = features_lib.init_decays()
    if config.b_decay_learned:
        logit = np.log(config.b_decay) - np.log1p(-config.b_decay)
        decays["preconditioner_logit"] = jnp.asarray(logit, jnp.float32)
    return {"network": _network(config).init(key, example), "decays": decays}


def parameter_count(params: Params) -> int:
    """Number of scalars in `params`: 617,103 for the default configuration."""
    return sum(leaf.size for leaf in jax.tree_util.tree_leaves(params))


def init_state(config: OptimizerConfig, x: jax.Array) -> OptimizerState:
    """State before the first step at `x`, [N] with N >= 1 (else ValueError), any real dtype.

    `x` is the true start: what is measured from there (`position`, `curvature`) reads it.
    """
    if jnp.ndim(x) != 1 or jnp.size(x) < 1:
        raise ValueError(f"x has shape {jnp.shape(x)}, must be [N] with N of at least 1")
    size = jnp.size(x)
    accumulators = features_lib.init_accumulators(size)
    if config.factored:
        symmetric = config.rank_one != "asym"
        preconditioner = preconditioner_lib.init_factored(
            size, config.rank, config.encoders, symmetric
        )
    else:
        preconditioner = preconditioner_lib.init_preconditioner(size)
    return OptimizerState(
        iteration=jnp.zeros((), jnp.int32),
        momentum=accumulators.momentum,
        rms=accumulators.rms,
        factored=accumulators.factored,
        preconditioner=preconditioner,
        **history_lib.init(config, x)._asdict(),
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
    returned state is then spoilt, and the caller decides between keeping the old state and giving
    up the task.

    Raises:
      ValueError: shapes disagree.
    """
    size = state.rms.shape[-1]
    for name, value in (("x", x), ("gradient", gradient), ("mask", mask)):
        if value is not None and jnp.shape(value) != (size,):
            raise ValueError(f"{name} has shape {jnp.shape(value)}, must be [{size}] as in state")
    x, gradient = jnp.asarray(x, jnp.float32), jnp.asarray(gradient, jnp.float32)
    if mask is not None:
        x, gradient = jnp.where(mask, x, 0.0), jnp.where(mask, gradient, 0.0)

    past = history_lib.Past(*state[-len(history_lib.Past._fields) :])
    reading = history_lib.read(config, past, state.iteration, x, gradient, mask)
    accumulators = features_lib.update_accumulators(
        params["decays"],
        features_lib.Accumulators(state.momentum, state.rms, state.factored),
        reading.gradient,
    )
    features = _features(config, state, x, reading, accumulators, mask)
    output = _network(config).apply(params["network"], features, mask)
    preconditioner = _update_preconditioner(config, params, state, output)
    plain_step = reading.length * jnp.exp(config.lambda_b * output.alpha) * output.direction
    step = _apply(config, preconditioner, plain_step)
    if output.secant is not None:
        step = step + 2.0 * jax.nn.sigmoid(output.secant) * reading.secant
    return step, OptimizerState(
        iteration=state.iteration + 1,
        momentum=accumulators.momentum,
        rms=accumulators.rms,
        factored=accumulators.factored,
        preconditioner=preconditioner,
        **reading.past._asdict(),
    )


def _update_preconditioner(
    config: OptimizerConfig,
    params: Params,
    state: OptimizerState,
    output: network_lib.NetworkOutput,
) -> jax.Array:
    if output.raw_gates is None or output.left is None:  # rank_one is "none"
        return state.preconditioner
    weights = preconditioner_lib.gate_weight(output.raw_gates, config.rank_one)
    decay: float | jax.Array = config.b_decay
    if config.b_decay_learned:
        decay = jax.nn.sigmoid(params["decays"]["preconditioner_logit"])
    terms = (weights, output.left, output.right, decay)
    if config.rank:
        return preconditioner_lib.update_factored(state.preconditioner, state.iteration, *terms)
    return preconditioner_lib.update_preconditioner(state.preconditioner, *terms)


def _apply(config: OptimizerConfig, preconditioner: jax.Array, vector: jax.Array) -> jax.Array:
    if config.factored:
        return preconditioner_lib.apply_factored(preconditioner, vector)
    return preconditioner_lib.apply_preconditioner(preconditioner, vector)


def _features(
    config: OptimizerConfig,
    state: OptimizerState,
    x: jax.Array,
    reading: history_lib.Reading,
    accumulators: features_lib.Accumulators,
    mask: jax.Array | None,
) -> jax.Array:
    """The network's input, float32 [F, N], rows as in `feature_names`."""
    gradient, eps = reading.gradient, config.normalizer_eps
    features = features_lib.compute_features(
        reading.position,
        gradient,
        accumulators,
        state.iteration,
        config.time_features,
        mask,
        eps,
    )
    if config.place:
        features = jnp.concatenate([features, history_lib.place(x, mask)])
    if config.curvature:
        newton = _apply(config, state.preconditioner, gradient)[None]
        channels = jnp.concatenate([reading.channels, newton])
        features = jnp.concatenate([features, features_lib.normalize(channels, mask, eps)])
    if config.progress:
        features = _spread(features, reading.scalars)
    if config.secant:
        channel = features_lib.normalize(reading.secant[None], mask, eps)
        features = _spread(jnp.concatenate([features, channel]), reading.secant_scalars)
    return features


def _spread(features: jax.Array, scalars: jax.Array) -> jax.Array:
    """`features` [F, N], and below them a row for each of `scalars`, the same everywhere."""
    rows = jnp.broadcast_to(scalars[:, None], (scalars.shape[0], features.shape[1]))
    return jnp.concatenate([features, rows])
