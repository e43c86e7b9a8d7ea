"""Gradient accumulators and the 39 input features of the learned optimizer.

The features are those of Metz et al. 2022 (arXiv 2203.11860), which the paper's supplement names
as Optimus' input; formulas, constants and order follow the public Adafactor-MLP code on its path
for one-dimensional parameters. There row and column statistics coincide, so six of the channels are
duplicates; they are kept, because published numbers and parameter counts assume 39 inputs.

Arrays are laid out channel first, `[channels, N]`: each channel is contiguous over the N
coordinates, which is the order every later reduction and matrix product wants.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MOMENTUM_DECAYS = (0.9, 0.99, 0.999)
RMS_DECAY = 0.999
FACTORED_DECAYS = (0.9, 0.99, 0.999)
TIME_SCALES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)


def _names(*stems: str) -> tuple[str, ...]:
    return tuple(f"{stem}_{decay}" for stem in stems for decay in FACTORED_DECAYS)


DATA_FEATURE_NAMES: tuple[str, ...] = (
    *("gradient", "parameter", *_names("momentum"), "rms", *_names("momentum_over_rms")),
    *("inverse_rms", *_names("factored_gradient", "row", "column", "inverse_row")),
    *_names("inverse_column", "factored_momentum"),
)
TIME_FEATURE_NAMES: tuple[str, ...] = tuple(f"time_{scale:g}" for scale in TIME_SCALES)
FEATURE_NAMES = DATA_FEATURE_NAMES + TIME_FEATURE_NAMES


class Accumulators(NamedTuple):
    """Running gradient statistics of one task, float32, without bias correction."""

    momentum: jax.Array  # [3, N], averages of g
    rms: jax.Array  # [N], average of g**2
    factored: jax.Array  # [3, N], averages of g**2 + 1e-30


def init_decays() -> dict[str, jax.Array]:
    """Meta-learned decay offsets, all zero: momentum [3], rms [], factored [3], float32."""
    return {
        "momentum": jnp.zeros((3,), jnp.float32),
        "rms": jnp.zeros((), jnp.float32),
        "factored": jnp.zeros((3,), jnp.float32),
    }


def mixing_rate(initial_decay: Any, offset: jax.Array) -> jax.Array:
    """1 - decay, where decay = 1 - exp(10 (log(1 - initial_decay) / 10 + offset)).

    The complement is what the averages need; forming it directly keeps all digits of 1 - 0.999.
    `initial_decay` is a float or tuple in [0, 1); the result has the shape of `offset`.
    """
    log_complement = np.log1p(-np.asarray(initial_decay, np.float64)).astype(np.float32)
    return jnp.exp(log_complement + 10.0 * offset)


def size_of(x: jax.Array) -> int:
    """N of a start, [N] with N >= 1; raises `ValueError` if it is none."""
    if jnp.ndim(x) != 1 or jnp.size(x) < 1:
        raise ValueError(f"x has shape {jnp.shape(x)}, must be [N] with N of at least 1")
    return jnp.size(x)


def as_given(
    size: int, x: jax.Array, gradient: jax.Array, mask: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Point and gradient as a rule computes with them: float32 [N], 0 on padding.

    Args:
      size: N, of the rule's state.
      x: current point, [N].
      gradient: at x, [N].
      mask: bool [N], false on padding, or None.

    Raises:
      ValueError: one has another shape.
    """
    for name, value in (("x", x), ("gradient", gradient), ("mask", mask)):
        if value is not None and jnp.shape(value) != (size,):
            raise ValueError(f"{name} has shape {jnp.shape(value)}, must be [{size}] as in state")
    x, gradient = jnp.asarray(x, jnp.float32), jnp.asarray(gradient, jnp.float32)
    if mask is not None:
        x, gradient = jnp.where(mask, x, 0.0), jnp.where(mask, gradient, 0.0)
    return x, gradient


def init_accumulators(size: int) -> Accumulators:
    """All-zero accumulators for `size` coordinates."""
    return Accumulators(
        momentum=jnp.zeros((3, size), jnp.float32),
        rms=jnp.zeros((size,), jnp.float32),
        factored=jnp.zeros((3, size), jnp.float32),
    )


def update_accumulators(
    decays: dict[str, jax.Array], state: Accumulators, gradient: jax.Array
) -> Accumulators:
    """Folds `gradient` [N] into the averages, with the decays given by their offsets.

    As in the public code the two averages of squares keep their decay within [0, 1], where they
    cannot turn negative; momentum has no such bound.
    """
    squared = jnp.square(gradient)
    new_momentum = mixing_rate(MOMENTUM_DECAYS, decays["momentum"])[:, None]
    new_rms = jnp.clip(mixing_rate(RMS_DECAY, decays["rms"]), 0.0, 1.0)
    new_factored = jnp.clip(mixing_rate(FACTORED_DECAYS, decays["factored"]), 0.0, 1.0)[:, None]
    return Accumulators(
        momentum=(1.0 - new_momentum) * state.momentum + new_momentum * gradient,
        rms=(1.0 - new_rms) * state.rms + new_rms * squared,
        factored=(1.0 - new_factored) * state.factored + new_factored * (squared + 1e-30),
    )


def data_features(x: jax.Array, gradient: jax.Array, state: Accumulators) -> jax.Array:
    """The 28 data channels before normalisation, float32 [28, N], in `DATA_FEATURE_NAMES` order.

    Args:
      x: current point, float32 [N].
      gradient: gradient at x, float32 [N].
      state: accumulators that already contain `gradient`.
    """
    momentum, rms, factored = state
    inverse_rms = jax.lax.rsqrt(rms + 1e-6)
    inverse_factored = jax.lax.rsqrt(factored + 1e-8)
    own = [gradient[None], x[None], momentum, rms[None], momentum * inverse_rms, inverse_rms[None]]
    factored_gradient = gradient * jax.lax.rsqrt(jnp.maximum(factored + 1e-9, 1e-9))
    twice = [factored, factored, inverse_factored, inverse_factored]  # rows and columns
    factored_momentum = momentum * jax.lax.rsqrt(factored + 1e-6)
    return jnp.concatenate([*own, factored_gradient, *twice, factored_momentum])


def normalize(channels: jax.Array, mask: jax.Array | None = None, eps: float = 1e-5) -> jax.Array:
    """Divides each channel by its root mean square: c * rsqrt(eps + mean(c**2)).

    Args:
      channels: float32 [C, N].
      mask: bool [N], false where a coordinate is padding: such entries do not enter the mean and
        come out as 0.
      eps: at least 1e-30; channels whose root mean square is far below its root come out near 0.

    Returns:
      float32 [C, N]. A channel with a non-finite real entry comes out as NaN everywhere.
    """
    count: Any = channels.shape[1]
    if mask is not None:
        channels = jnp.where(mask, channels, 0.0)
        count = jnp.maximum(jnp.sum(mask), 1)
    # Squares of second moments overflow float32 from gradients of 1e10 on, which the benchmark
    # functions reach. Dividing by the largest entry first changes nothing but that; the result
    # does not depend on the scale, hence neither does its derivative.
    scale = jnp.maximum(jnp.max(jnp.abs(channels), axis=1, keepdims=True), 1.0)
    scale = jax.lax.stop_gradient(scale)
    scaled = channels / scale
    mean_square = jnp.sum(jnp.square(scaled), axis=1, keepdims=True) / count
    return scaled * jax.lax.rsqrt(eps / jnp.square(scale) + mean_square)


def time_features(iteration: jax.Array) -> jax.Array:
    """Eleven functions of the step count t = 0, 1, 2, ..., tanh(t / scale - 1): float32 [11].

    The supplement prints tanh(t / scale); this is the public code's form.
    """
    ratio = jnp.asarray(iteration, jnp.float32) / np.asarray(TIME_SCALES, np.float32)
    return jnp.tanh(ratio - 1.0)


def compute_features(
    x: jax.Array,
    gradient: jax.Array,
    state: Accumulators,
    iteration: jax.Array,
    mask: jax.Array | None = None,
) -> jax.Array:
    """The published network's input: normalised data channels, then time channels as they are.

    Args:
      x: current point, float32 [N].
      gradient: gradient at x, float32 [N].
      state: accumulators that already contain `gradient`.
      iteration: number of steps taken before this one, int32 [].
      mask: bool [N], false on padding, or None when every coordinate is real.

    Returns:
      float32 [39, N], rows in the order of `FEATURE_NAMES`.
    """
    data = normalize(data_features(x, gradient, state), mask)
    time = time_features(iteration)
    return jnp.concatenate([data, jnp.broadcast_to(time[:, None], (len(time), x.shape[0]))])
