"""What the options beyond the paper remember of a run, and the inputs they make of it.

Quasi-Newton methods live on two differences, of points and of gradients, and step-size control on
one inner product; the paper's features hold neither. Castera & Ochs (arXiv 2405.18222) argue that
a learned method should not notice a shift of x or a factor on f, and Celo2 (arXiv 2602.19142) that
its steps should come in units of their own length (fact sheet `optimus.md`, section 10). The
options `position`, `curvature`, `progress`, `gradient_scale` and `step_scale` follow from that.

An option that is off costs nothing: its arrays have size 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optimus.model import lbfgs_direction as secant_lib
from optimus.model.config import OptimizerConfig

CURVATURE_NAMES = ("last_step", "last_gradient_change", "preconditioned_gradient")
PROGRESS_NAMES = ("log_gradient_since_first", "log_gradient_since_last", "cosine_step_gradient")
SECANT_NAMES = ("secant_step", "log_secant_over_length", "cosine_secant_gradient")

PLACE_SCALES = (0.3, 3.0, 30.0)
PLACE_NAMES = tuple(f"place_{scale:g}" for scale in PLACE_SCALES)

_LENGTH_KEPT = 0.9  # of the running mean of step lengths, per step
_LENGTH_RANGE = 1e12  # it stays within lambda_a times or divided by this
_LOG_LIMIT, _LOG_UNIT = 20.0, 4.0
_SECANT_LIMIT = 10.0  # of the secant step's length, in units of the typical step's
_SMALLEST = 1e-30  # a gradient below is none
_LARGEST_SHARE = 1e-15  # of a gradient that its reference is at least


class Past(NamedTuple):
    """What is remembered, float32; also fields of `optimizer.OptimizerState`."""

    start: jax.Array  # x0, [N] if position is "displacement", else [0]
    last_x: jax.Array  # x one step ago, [N] if any option looks at steps, else [0]
    last_gradient: jax.Array  # as divided then, [N] if curvature or progress, else [0]
    reference: jax.Array  # rms of the first gradient that is not 0, [1]; 0 before; or [0]
    length: jax.Array  # of a typical step, [1] if step_scale is "relative", else [0]
    pairs: jax.Array  # of steps and changes, [2 secant, N] if secant > 0, else [0]


class Reading(NamedTuple):
    """What one step reads, float32; 0 where there is no last step yet."""

    gradient: jax.Array  # [N], divided as `gradient_scale` says
    position: jax.Array  # [N], for the channel "parameter"
    channels: jax.Array  # [2, N], the first two of CURVATURE_NAMES, or [0, N]
    scalars: jax.Array  # [3], PROGRESS_NAMES, or [0]
    length: jax.Array | float  # what stands for lambda_a
    secant: jax.Array  # [N], the quasi-Newton step, bounded; or [0]
    secant_scalars: jax.Array  # [2], the last two of SECANT_NAMES, or [0]
    past: Past  # for the next step


def _looks_at_steps(config: OptimizerConfig) -> bool:
    return (
        config.curvature or config.progress or config.secant > 0 or config.step_scale == "relative"
    )


def _looks_at_changes(config: OptimizerConfig) -> bool:
    return config.curvature or config.progress or config.secant > 0


def init(config: OptimizerConfig, x: jax.Array) -> Past:
    """Before the first step, at x [N]."""
    x = jnp.asarray(x, jnp.float32)
    needs_reference = config.progress or config.gradient_scale == "first"

    def none() -> jax.Array:
        """[0], for what is off; not in a checkpoint. Each its own: jit donates no buffer twice."""
        return jnp.zeros((0,), jnp.float32)

    return Past(
        # Copies, so that a state may be donated to jit while its caller keeps x.
        start=jnp.copy(x) if config.position == "displacement" else none(),
        last_x=jnp.copy(x) if _looks_at_steps(config) else none(),
        last_gradient=jnp.zeros_like(x) if _looks_at_changes(config) else none(),
        reference=jnp.zeros((1,), jnp.float32) if needs_reference else none(),
        length=jnp.full((1,), config.lambda_a, jnp.float32)
        if config.step_scale == "relative"
        else none(),
        pairs=secant_lib.init_pairs(config.secant, x.size) if config.secant else none(),
    )


def place(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """PLACE_NAMES, float32 [3, N]: tanh(x / scale), 0 on padding; a NaN stays."""
    if mask is not None:
        x = jnp.where(mask, x, 0.0)
    return jnp.tanh(x / jnp.asarray(PLACE_SCALES, jnp.float32)[:, None])


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


def read(
    config: OptimizerConfig,
    past: Past,
    iteration: jax.Array,
    x: jax.Array,
    gradient: jax.Array,
    mask: jax.Array | None,
) -> Reading:
    """The inputs of step `iteration` and what the next one will want.

    Args:
      config: which options are on.
      past: from `init` or the last reading.
      iteration: steps taken before this one, int32 [].
      x, gradient: float32 [N], 0 on padding.
      mask: bool [N], false on padding, or None.
    """
    started = iteration > 0
    size = x.shape[0]
    count = float(size) if mask is None else jnp.maximum(jnp.sum(mask), 1).astype(jnp.float32)

    reference = past.reference
    if reference.size:
        strength = _rms(gradient, count)
        # Where the first was next to nothing, a later one may not overflow in its units.
        bounded = jnp.maximum(reference, _LARGEST_SHARE * strength)
        found = jnp.where(strength <= _SMALLEST, 0.0, strength)  # NaN stays, to show in the step
        reference = jnp.where(reference > 0.0, bounded, found)
    if config.gradient_scale == "first":
        gradient = gradient / jnp.where(reference == 0.0, 1.0, reference)
    # The true difference, not the step proposed: the caller may have shortened or replaced it.
    move = jnp.where(started, x - past.last_x, 0.0) if _looks_at_steps(config) else x

    length: jax.Array | float = config.lambda_a
    if config.step_scale == "relative":
        running = _LENGTH_KEPT * past.length + (1.0 - _LENGTH_KEPT) * _rms(move, count)
        bounds = config.lambda_a / _LENGTH_RANGE, config.lambda_a * _LENGTH_RANGE
        length = jnp.where(started, jnp.clip(running, *bounds), past.length)

    channels = jnp.zeros((0, size), jnp.float32)
    change = gradient
    if _looks_at_changes(config):
        change = jnp.where(started, gradient - past.last_gradient, 0.0)
    if config.curvature:
        channels = jnp.stack([move, change])
    pairs, secant, secant_scalars = past.pairs, jnp.zeros((0,)), jnp.zeros((0,))
    if config.secant:
        pairs = secant_lib.remember(past.pairs, move, change)
        secant, secant_scalars = _secant(pairs, gradient, jnp.reshape(length, ()), count)
    scalars = jnp.zeros((0,), jnp.float32)
    if config.progress:
        scalars = _progress(config, past, started, move, gradient, reference, count)

    return Reading(
        gradient=gradient,
        position=_position(config, past, x, mask),
        channels=channels,
        scalars=scalars,
        length=length,
        secant=secant,
        secant_scalars=secant_scalars,
        past=Past(
            start=past.start,
            last_x=jnp.copy(x) if past.last_x.size else past.last_x,
            last_gradient=jnp.copy(gradient) if past.last_gradient.size else past.last_gradient,
            reference=reference,
            length=jnp.asarray(length) if past.length.size else past.length,
            pairs=pairs,
        ),
    )


def _position(
    config: OptimizerConfig, past: Past, x: jax.Array, mask: jax.Array | None
) -> jax.Array:
    if config.position == "x":
        return x
    if config.position == "none":
        return jnp.where(jnp.isfinite(x), 0.0, jnp.nan)  # a bad x must show in the step
    displacement = x - past.start
    return displacement if mask is None else jnp.where(mask, displacement, 0.0)


def _progress(
    config: OptimizerConfig,
    past: Past,
    started: jax.Array,
    move: jax.Array,
    gradient: jax.Array,
    reference: jax.Array,
    count: jax.Array | float,
) -> jax.Array:
    """[3]. The cosine is positive where the last step went beyond the minimum along its line."""
    strength, travelled = _rms(gradient, count), _rms(move, count)
    first = jnp.ones((), jnp.float32) if config.gradient_scale == "first" else reference[0]
    last = _rms(past.last_gradient, count)
    lengths = [jnp.where(value == 0.0, 1.0, value) for value in (travelled, strength)]
    cosine = jnp.sum((move / lengths[0]) * (gradient / lengths[1])) / count
    scalars = jnp.stack(
        [
            _log_ratio(strength, first),
            jnp.where(started, _log_ratio(strength, last), 0.0),
            cosine,
        ]
    )
    # Observations: differentiating a direction of length near 0 would only drown the rest.
    return jax.lax.stop_gradient(scalars)


def _secant(
    pairs: jax.Array, gradient: jax.Array, length: jax.Array, count: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """The quasi-Newton step [N], no longer than `_SECANT_LIMIT` typical ones, and its scalars [2].

    Held constant in derivatives: 1 / s^T y would drown what else a window has to say.
    """
    step = secant_lib.direction(pairs, gradient)
    long, strength = _rms(step, count), _rms(gradient, count)
    lengths = [jnp.where(value == 0.0, 1.0, value) for value in (long, strength)]
    cosine = jnp.sum((step / lengths[0]) * (gradient / lengths[1])) / count
    scalars = jnp.stack([jnp.where(long > 0.0, _log_ratio(long, length), 0.0), cosine])
    step = step * jnp.minimum(1.0, _SECANT_LIMIT * length / lengths[0])
    return jax.lax.stop_gradient((step, scalars))
