"""Generated losses, none of them a benchmark function: tasks without end for training.

All families share one formula, so that a batch of mixed tasks is one vectorised program:

    z = x_scale (R x - c)
    f = f_scale * sum_i [ stiff_i |z_i - target|^power + height (1 - cos(frequency z_i))
                          + bend (z_{i+1} - curl z_i^2)^2 ]

quadratic: power 2, target = height = bend = 0, stiff over up to four decades.
power:     power U(2, 4), otherwise the same.
valley:    stiff 1, bend log-uniform 1..100, curl U(0.3, 1.5), target 1 / curl: curved and narrow, a
           relative of Rosenbrock's function at random place, scale and rotation.
bumpy:     quadratic with height log-uniform 0.1..10 and frequency log-uniform 1.5..2π.

The minimum is 0. Families of a held-out group are never drawn.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from optimus.problems.groups import GENERATED
from optimus.tasks.draws import dimension, log_scaled, maybe_rotation, rotate, rotate_back

_NAMES = tuple(GENERATED)
START, SHIFT, WIDEST = 10.0, 5.0, 3.0  # half-widths of start and centre; largest x_scale

Data = dict[str, jax.Array]


def sample(
    families: tuple[str, ...], spec: Any, low: int, high: int, size: int, key: jax.Array
) -> tuple[Data, jax.Array]:
    """A task of one of `families` and its start.

    Args:
      families: names in `groups.GENERATED`.
      spec: shift, rotate (shares of tasks), f_scale (largest factor); x_scale is log-uniform in
        1/3..3 whatever the spec.
      low: smallest n.
      high: largest n.
      size: coordinates including padding.
      key: consumed.

    Returns:
      Task data ("mask" bool `[size]` and "family", an index in `groups.GENERATED`, among it) and
      x0, float32 `[size]`, 0 in the padding.
    """
    key, rotation_key = jax.random.split(key)
    drawn = jax.random.uniform(key, (12 + 3 * size,), jnp.float32)  # one draw: quick to compile
    vectors = drawn[12:].reshape(3, size)
    n = dimension(drawn[0], low, high)
    mask = jnp.arange(size) < n
    indices = jnp.asarray([_NAMES.index(name) for name in families])
    family = indices[jnp.floor(drawn[1] * len(families)).astype(jnp.int32)]
    valley, bumpy = family == _NAMES.index("valley"), family == _NAMES.index("bumpy")
    spread = 10.0 ** (4.0 * drawn[2] * (vectors[0] - 0.5))
    curl = jnp.where(valley, 0.3 + 1.2 * drawn[3], 0.0)
    data = {
        "family": family,
        "mask": mask,
        "shift": jnp.where(drawn[4] < spec.shift, SHIFT * (2 * vectors[1] - 1), 0.0),
        "x_scale": log_scaled(drawn[5], 1 / WIDEST, WIDEST),
        "f_scale": log_scaled(drawn[6], 1 / spec.f_scale, spec.f_scale),
        "stiff": jnp.where(mask, jnp.where(valley, 1.0, spread), 0.0),
        # (1/curl, 1/curl, ...) solves z_{i+1} = curl z_i^2 for every i: the minimum is 0 there.
        "target": jnp.where(valley, 1.0 / jnp.maximum(curl, 0.3), 0.0),
        "power": jnp.where(family == _NAMES.index("power"), 2.0 + 2.0 * drawn[7], 2.0),
        "height": jnp.where(bumpy, log_scaled(drawn[8], 0.1, 10.0), 0.0),
        "frequency": log_scaled(drawn[9], 1.5, 2 * math.pi),
        "bend": jnp.where(valley, log_scaled(drawn[10], 1.0, 100.0), 0.0),
        "curl": curl,
        **maybe_rotation(rotation_key, mask, spec.rotate, drawn[11] < spec.rotate),
    }
    return data, jnp.where(mask, START * (2 * vectors[2] - 1), 0.0)


def value(data: Data, x: jax.Array) -> jax.Array:
    """Loss at x `[size]`, float32 [] >= 0; padding has no influence."""
    mask = data["mask"]
    z = rotate(data, jnp.where(mask, x, 0.0)) - data["shift"]
    z = jnp.where(mask, data["x_scale"] * z, 0.0)
    distance = jnp.where(mask, jnp.abs(z - data["target"]), 1.0)  # 1: a power with a derivative
    own = data["stiff"] * (distance + 1e-12) ** data["power"]
    bumps = data["height"] * (1.0 - jnp.cos(data["frequency"] * z))
    pair = jnp.square(z[1:] - data["curl"] * jnp.square(z[:-1]))
    total = jnp.sum(jnp.where(mask, own + bumps, 0.0))
    total += data["bend"] * jnp.sum(jnp.where(mask[1:], pair, 0.0))
    return data["f_scale"] * total


def minimiser(data: Data) -> jax.Array:
    """The task's minimiser, float32 `[size]`; anything in the padding."""
    z = data["target"] / data["x_scale"] + data["shift"]
    return rotate_back(data, jnp.where(data["mask"], z, 0.0))
