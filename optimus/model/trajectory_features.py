"""The memory of a run, and the inputs of the network that the options beyond the paper make of it.

Quasi-Newton methods live on two differences, of points and of gradients, and step-size control on
one inner product; the paper's features hold neither. Castera & Ochs (arXiv 2405.18222) argue that
a learned method should not notice a shift of x or a factor on f, and Celo2 (arXiv 2602.19142) that
its steps should come in units of their own length. The options `position`, `curvature`, `progress`,
`gradient_scale` and `step_scale` follow from that.

An option is a group of features (`GROUPS`: when it is on, its names, its channels) and what it
needs to remember (a field of `Past`, made in `init` and renewed in `observe`). One that is off
costs nothing: its arrays have size 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optimus.model import features, lbfgs_direction
from optimus.model.config import OptimizerConfig

CURVATURE_NAMES = ("last_step", "last_gradient_change", "preconditioned_gradient")
PROGRESS_NAMES = ("log_gradient_since_first", "log_gradient_since_last", "cosine_step_gradient")
SECANT_NAMES = ("secant_step", "log_secant_over_length", "cosine_secant_gradient")

PLACE_SCALES = (0.3, 3.0, 30.0)
PLACE_NAMES = tuple(f"place_{scale:g}" for scale in PLACE_SCALES)

_LENGTH_KEPT = 0.9  # of the running mean of step lengths, per step
_LENGTH_RANGE = 1e12  # it stays within lambda_a times or divided by this
_LOG_LIMIT, _LOG_UNIT = 20.0, 4.0
_SECANT_LIMIT = 10.0  # of the L-BFGS direction's length, in units of the typical step's
_SMALLEST = 1e-30  # a gradient below is none
_LARGEST_SHARE = 1e-15  # of a gradient that its reference is at least


Number = jax.Array | float


class Past(NamedTuple):
    """What is remembered, float32; of size 0 where no option needs it."""

    start: jax.Array  # x0, [N] if position is "displacement", else [0]
    last_x: jax.Array  # x one step ago, [N] if any option looks at steps, else [0]
    last_gradient: jax.Array  # as divided then, [N] if an option looks at changes, else [0]
    reference: jax.Array  # rms of the first gradient that is not 0, [1]; 0 before; or [0]
    length: jax.Array  # of a typical step, [1] if step_scale is "relative", else [0]
    pairs: jax.Array  # of steps and changes, [2 secant, N] if secant > 0, else [0]


class Observation(NamedTuple):
    """What one step sees of its run, float32; 0 where there is no last step yet."""

    x: jax.Array  # [N]
    gradient: jax.Array  # [N], divided as `gradient_scale` says
    move: jax.Array  # [N], the last step as it was taken; x where no option looks at steps
    change: jax.Array  # [N], of the gradient over it; the gradient where no option looks at changes
    length: jax.Array | float  # what stands for lambda_a
    secant: jax.Array  # [N], the L-BFGS direction, bounded; or [0]
    secant_scalars: jax.Array  # [2], the last two of SECANT_NAMES, or [0]
    iteration: jax.Array  # int32 [], steps taken
    mask: jax.Array | None  # bool [N], false on padding
    size: jax.Array | float  # number of real coordinates, at least 1
    before: Past  # as the step before left it
    past: Past  # for the next step


class Inputs(NamedTuple):
    """All that a group of features is computed from."""

    seen: Observation
    averages: features.Accumulators  # that contain the gradient
    precondition: Callable[[jax.Array], jax.Array]  # [N] -> B times it, B of the last step


class FeatureGroup(NamedTuple):
    """Inputs of the network that are there, or not, together."""

    names: tuple[str, ...]
    present: Callable[[OptimizerConfig], bool]
    channels: Callable[[OptimizerConfig, Inputs], jax.Array]  # -> float32 [len(names), N]


def _looks_at_changes(config: OptimizerConfig) -> bool:
    return config.curvature or config.progress or config.secant > 0


def _looks_at_steps(config: OptimizerConfig) -> bool:
    return _looks_at_changes(config) or config.step_scale == "relative"


def init(config: OptimizerConfig, x: jax.Array) -> Past:
    """Before the first step, at x [N]."""
    x = jnp.asarray(x, jnp.float32)

    def kept(needed: bool, value: jax.Array) -> jax.Array:
        """[0] where it is not needed. Each its own: jit donates no buffer twice."""
        return value if needed else jnp.zeros((0,), jnp.float32)

    scaled = config.progress or config.gradient_scale == "first"
    relative = config.step_scale == "relative"
    return Past(
        # Copies, so that a state may be donated to jit while its caller keeps x.
        start=kept(config.position == "displacement", jnp.copy(x)),
        last_x=kept(_looks_at_steps(config), jnp.copy(x)),
        last_gradient=kept(_looks_at_changes(config), jnp.zeros_like(x)),
        reference=kept(scaled, jnp.zeros((1,), jnp.float32)),
        length=kept(relative, jnp.full((1,), config.lambda_a, jnp.float32)),
        pairs=kept(config.secant > 0, lbfgs_direction.init_pairs(config.secant, x.size)),
    )


def observe(
    config: OptimizerConfig,
    past: Past,
    iteration: jax.Array,
    x: jax.Array,
    gradient: jax.Array,
    mask: jax.Array | None,
) -> Observation:
    """What step `iteration` sees of its run.

    Args:
      config: decides what is looked at.
      past: of the observation one step before, or from `init`.
      iteration: steps taken before this one, int32 [].
      x: current point, float32 [N], 0 on padding.
      gradient: at x, float32 [N], 0 on padding.
      mask: bool [N], false on padding, or None.
    """
    started = iteration > 0
    count: jax.Array | float = float(x.shape[0])
    if mask is not None:
        count = jnp.maximum(jnp.sum(mask), 1).astype(jnp.float32)
    reference = _reference(past.reference, gradient, count)
    if config.gradient_scale == "first":
        gradient = gradient / jnp.where(reference == 0.0, 1.0, reference)
    # The true difference, not the step proposed: the caller may have shortened or replaced it.
    move = jnp.where(started, x - past.last_x, 0.0) if _looks_at_steps(config) else x
    change = gradient
    if _looks_at_changes(config):
        change = jnp.where(started, gradient - past.last_gradient, 0.0)

    length: jax.Array | float = config.lambda_a
    if config.step_scale == "relative":
        running = _LENGTH_KEPT * past.length + (1.0 - _LENGTH_KEPT) * _rms(move, count)
        bounds = config.lambda_a / _LENGTH_RANGE, config.lambda_a * _LENGTH_RANGE
        length = jnp.where(started, jnp.clip(running, *bounds), past.length)

    pairs, secant, scalars = past.pairs, jnp.zeros((0,)), jnp.zeros((0,))
    if config.secant:
        pairs = lbfgs_direction.remember(past.pairs, move, change)
        secant, scalars = _secant(pairs, gradient, jnp.reshape(length, ()), count)
    later = past._replace(
        last_x=jnp.copy(x) if past.last_x.size else past.last_x,
        last_gradient=jnp.copy(gradient) if past.last_gradient.size else past.last_gradient,
        reference=reference,
        length=jnp.asarray(length) if past.length.size else past.length,
        pairs=pairs,
    )
    return Observation(
        x, gradient, move, change, length, secant, scalars, iteration, mask, count, past, later
    )


def _rms(vector: jax.Array, count: jax.Array | float) -> jax.Array:
    """Root mean square of [N] over `count` entries, the others being 0; no square overflows.

    Its derivative at 0 is 0, not infinite.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vector)))
    scale = jnp.where(largest == 0.0, 1.0, largest)  # NaN stays
    mean_square = jnp.sum(jnp.square(vector / scale)) / count
    return scale * jnp.sqrt(jnp.maximum(mean_square, _SMALLEST)) * (largest != 0.0)


def _log_ratio(new: jax.Array, old: jax.Array) -> jax.Array:
    """log(new / old) in units of 4, within -5..5: a float32 can fall by that much and more."""
    logs = jnp.log(jnp.maximum(jnp.stack([new, old]), _SMALLEST))
    return jnp.clip(logs[0] - logs[1], -_LOG_LIMIT, _LOG_LIMIT) / _LOG_UNIT


def _cosine(
    one: jax.Array, its_rms: jax.Array, other: jax.Array, other_rms: jax.Array, count: Number
) -> jax.Array:
    """Of two vectors [N] whose root mean squares are known; 0 where one of these is."""
    lengths = [jnp.where(value == 0.0, 1.0, value) for value in (its_rms, other_rms)]
    return jnp.sum((one / lengths[0]) * (other / lengths[1])) / count


def _reference(reference: jax.Array, gradient: jax.Array, count: jax.Array | float) -> jax.Array:
    """The first gradient's root mean square, [1], once there has been one that is not 0; or [0]."""
    if not reference.size:
        return reference
    strength = _rms(gradient, count)
    # Where the first was next to nothing, a later one may not overflow in its units.
    bounded = jnp.maximum(reference, _LARGEST_SHARE * strength)
    found = jnp.where(strength <= _SMALLEST, 0.0, strength)  # NaN stays, to show in the step
    return jnp.where(reference > 0.0, bounded, found)


def _secant(
    pairs: jax.Array, gradient: jax.Array, length: jax.Array, count: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """The L-BFGS direction [N], no longer than `_SECANT_LIMIT` typical steps, and its scalars [2].

    Held constant in derivatives: 1 / s^T y would drown what else a window has to say.
    """
    step = lbfgs_direction.direction(pairs, gradient)
    long, strength = _rms(step, count), _rms(gradient, count)
    cosine = _cosine(step, long, gradient, strength, count)
    scalars = jnp.stack([jnp.where(long > 0.0, _log_ratio(long, length), 0.0), cosine])
    step = step * jnp.minimum(1.0, _SECANT_LIMIT * length / jnp.where(long == 0.0, 1.0, long))
    return jax.lax.stop_gradient((step, scalars))


# ------------------------------------------------------------------------------------ the features


def _data_channels(config: OptimizerConfig, inputs: Inputs) -> jax.Array:
    seen = inputs.seen
    channels = features.data_features(_position(config, seen), seen.gradient, inputs.averages)
    return features.normalize(channels, seen.mask, config.normalizer_eps)


def _position(config: OptimizerConfig, seen: Observation) -> jax.Array:
    if config.position == "x":
        return seen.x
    if config.position == "none":
        return jnp.where(jnp.isfinite(seen.x), 0.0, jnp.nan)  # a bad x must show in the step
    displacement = seen.x - seen.past.start
    return displacement if seen.mask is None else jnp.where(seen.mask, displacement, 0.0)


def _time_channels(config: OptimizerConfig, inputs: Inputs) -> jax.Array:
    return _everywhere(features.time_features(inputs.seen.iteration), inputs.seen.x.shape[0])


def place(x: jax.Array) -> jax.Array:
    """PLACE_NAMES of x [N], float32 [3, N]: tanh(x / scale), 0 where x is 0; a NaN stays."""
    return jnp.tanh(x / jnp.asarray(PLACE_SCALES, jnp.float32)[:, None])


def _curvature_channels(config: OptimizerConfig, inputs: Inputs) -> jax.Array:
    seen = inputs.seen
    channels = jnp.stack([seen.move, seen.change, inputs.precondition(seen.gradient)])
    return features.normalize(channels, seen.mask, config.normalizer_eps)


def _progress_channels(config: OptimizerConfig, inputs: Inputs) -> jax.Array:
    """The cosine is positive where the last step went beyond the minimum along its line."""
    seen = inputs.seen
    strength, travelled = _rms(seen.gradient, seen.size), _rms(seen.move, seen.size)
    scaled = config.gradient_scale == "first"
    first = jnp.ones((), jnp.float32) if scaled else seen.past.reference[0]
    last = _rms(seen.before.last_gradient, seen.size)
    scalars = jnp.stack(
        [
            _log_ratio(strength, first),
            jnp.where(seen.iteration > 0, _log_ratio(strength, last), 0.0),
            _cosine(seen.move, travelled, seen.gradient, strength, seen.size),
        ]
    )
    # Observations: differentiating a direction of length near 0 would only drown the rest.
    return _everywhere(jax.lax.stop_gradient(scalars), seen.x.shape[0])


def _secant_channels(config: OptimizerConfig, inputs: Inputs) -> jax.Array:
    seen = inputs.seen
    channel = features.normalize(seen.secant[None], seen.mask, config.normalizer_eps)
    return jnp.concatenate([channel, _everywhere(seen.secant_scalars, seen.x.shape[0])])


def _everywhere(scalars: jax.Array, size: int) -> jax.Array:
    """[C, N], a row for each of `scalars` [C], the same for every coordinate."""
    return jnp.broadcast_to(scalars[:, None], (scalars.shape[0], size))


# In the order of the network's inputs: a new group goes last, so that trained weights can grow it.
GROUPS = (
    FeatureGroup(features.DATA_FEATURE_NAMES, lambda _: True, _data_channels),
    FeatureGroup(features.TIME_FEATURE_NAMES, lambda c: c.time_features != "none", _time_channels),
    FeatureGroup(PLACE_NAMES, lambda c: c.place, lambda _, inputs: place(inputs.seen.x)),
    FeatureGroup(CURVATURE_NAMES, lambda c: c.curvature, _curvature_channels),
    FeatureGroup(PROGRESS_NAMES, lambda c: c.progress, _progress_channels),
    FeatureGroup(SECANT_NAMES, lambda c: c.secant > 0, _secant_channels),
)


def feature_names(config: OptimizerConfig) -> tuple[str, ...]:
    """The network's inputs in order: the paper's 39, then those of the options that are on."""
    return tuple(name for group in GROUPS if group.present(config) for name in group.names)


def network_inputs(config: OptimizerConfig, inputs: Inputs) -> jax.Array:
    """What the network reads, float32 [F, N], rows as in `feature_names`."""
    present = (group for group in GROUPS if group.present(config))
    return jnp.concatenate([group.channels(config, inputs) for group in present])
