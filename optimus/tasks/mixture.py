"""The benchmark's functions as training tasks: evaluation split B, or A with Rosenbrock alone.

    f(z) = f_scale [F(s x_scale (R z - δ)) - F*]

with F, s, δ and the start box those of the fair presets (`optimus.problems.presets`): with
scales of 1 and neither shift nor rotation it is what `optimus.problems.presets` reports for the
true functions. Starts are drawn from JAX keys; the benchmark's own come from NumPy streams that
nothing here can reach.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optimus.problems.functions import FUNCTIONS
from optimus.problems.presets import PRESETS, SCALES, shift_half_width, start_half_width
from optimus.tasks.draws import dimension, log_scaled, maybe_rotation, rotate, rotate_back

_FAIR = PRESETS["fair-shift"]
_MOST = {"perm": 10}  # powers up to n: meaningless in float32 beyond
_MOST_SHIFTED_POWERS = 100  # Sum of Powers overflows beyond when its optimum is moved

Data = dict[str, jax.Array]


def span(name: str, low: int, high: int) -> tuple[int, int] | None:
    """The n of low..high that a function is defined for; None where there is none."""
    function = FUNCTIONS[name]
    least = max(low, function.least_dim, function.multiple_of)
    most = min(high, _MOST.get(name, high))
    # Rounding down to the multiple may leave low..high below, never `least`.
    return (least, most) if least <= most else None


class Numbers(NamedTuple):
    """What sets one function's tasks apart, as numbers, so that one program draws them all.

    Attributes:
      low, high: smallest and largest n. multiple: that n is a multiple of.
      start, shift: half-widths of the boxes of start and shift.
      most_shifted: largest n whose optimum is moved. turns: 1 where it may be rotated, else 0.
    """

    low: int
    high: int
    multiple: int
    start: float
    shift: float
    most_shifted: int
    turns: float


def numbers(name: str, low: int, high: int) -> Numbers:
    """The numbers of a function for n in low..high, which `span` must have agreed to."""
    multiple = FUNCTIONS[name].multiple_of
    boxes = (start_half_width(_FAIR, name), shift_half_width(_FAIR, name))
    moves = (_MOST_SHIFTED_POWERS, 0.0) if name == "sum_of_powers" else (high, 1.0)
    return Numbers(low, high, multiple, *boxes, *moves)


def sample(spec: Any, size: int, given: Any, key: jax.Array) -> tuple[Data, jax.Array]:
    """A task and its start.

    Args:
      spec: shift, rotate (shares of tasks), x_scale, f_scale (largest factors).
      size: coordinates including padding.
      given: the function's `Numbers`; may be traced.
      key: consumed.

    Returns:
      Task data ("mask" bool `[size]` among it) and x0, float32 `[size]`, 0 in the padding.
    """
    key, rotation_key = jax.random.split(key)
    drawn = jax.random.uniform(key, (5 + 2 * size,), jnp.float32)  # one draw: quick to compile
    n = dimension(drawn[0], given.low, given.high, given.multiple)
    mask = jnp.arange(size) < n
    moved = (drawn[1] < spec.shift) & (n <= given.most_shifted)
    data = {
        "n": n,
        "mask": mask,
        "shift": jnp.where(moved, given.shift * (2 * drawn[5 : 5 + size] - 1), 0.0),
        "x_scale": log_scaled(drawn[2], 1 / spec.x_scale, spec.x_scale),
        "f_scale": log_scaled(drawn[3], 1 / spec.f_scale, spec.f_scale),
        **maybe_rotation(rotation_key, mask, spec.rotate, drawn[4] < spec.rotate * given.turns),
    }
    start = given.start * (2 * drawn[5 + size :] - 1)
    return data, jnp.where(mask, start, 0.0)


def value(name: str, data: Data, x: jax.Array) -> jax.Array:
    """The task's value at x `[size]`, float32 [], 0 at its minimum up to rounding."""
    function, mask, n = FUNCTIONS[name], data["mask"], data["n"]
    z = rotate(data, jnp.where(mask, x, 0.0)) - data["shift"]
    z = jnp.where(mask, SCALES.get(name, 1.0) * data["x_scale"] * z, 0.0)
    minimum = jnp.asarray(function.minimum(n), jnp.float32)
    return data["f_scale"] * (function.value(z, mask, n) - minimum)


def _true_minimiser(name: str, size: int, n: jax.Array) -> jax.Array:
    """Of the function itself, float32 `[size]`; anything in the padding."""
    if name == "trid":  # the others' are the same for every n
        place = jnp.arange(1, size + 1, dtype=jnp.float32)
        return place * (n + 1 - place)
    return jnp.asarray(FUNCTIONS[name].minimiser(size), jnp.float32)


def minimiser(name: str, data: Data) -> jax.Array:
    """The task's minimiser, float32 `[size]`; anything in the padding."""
    z = _true_minimiser(name, data["mask"].shape[0], data["n"])
    z = z / (SCALES.get(name, 1.0) * data["x_scale"]) + data["shift"]
    return rotate_back(data, jnp.where(data["mask"], z, 0.0))
