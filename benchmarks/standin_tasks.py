"""Generated losses on which the stand-in weights are trained; none is a benchmark function.

A task is data drawn from a key: a shifted, scaled and (half of the time) rotated loss in n <= size
coordinates, with minimum value 0; coordinates from n on are padding. All families share one
formula, so that a batch of mixed tasks is one vectorised program:

    z = R (x - c) / width
    f = scale * sum_i [ stiff_i |z_i - target|^power + height (1 - cos(3 z_i))
                        + bend (z_{i+1} - curl z_i^2)^2 ]

quadratic: power 2, target = height = bend = 0, stiff log-uniform over up to four decades.
power:     power U(2, 4), otherwise the same.
valley:    stiff 1, bend log-uniform 1..100, curl U(0.3, 1.5), target 1 / curl: curved, narrow, and
           a relative of Rosenbrock's function at random place, scale and rotation.
bumpy:     quadratic with height U(0, 1): shallow local minima.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Task(NamedTuple):
    """One loss on `[size]` coordinates of which the first n are real; float32."""

    rotation: jax.Array  # [size, size], orthogonal, mixing real coordinates only
    shift: jax.Array  # [size], c
    width: jax.Array  # []
    scale: jax.Array  # []
    stiff: jax.Array  # [size]
    target: jax.Array  # []
    power: jax.Array  # []
    height: jax.Array  # []
    bend: jax.Array  # []
    curl: jax.Array  # []
    mask: jax.Array  # bool [size]


def _log_uniform(key: jax.Array, low: float, high: float, shape: tuple[int, ...] = ()) -> jax.Array:
    return jnp.exp(jax.random.uniform(key, shape, jnp.float32, jnp.log(low), jnp.log(high)))


def sample(key: jax.Array, size: int, low: int) -> tuple[Task, jax.Array]:
    """A task with n log-uniform in low..size, and its start x0 `[size]`; `key` is consumed."""
    keys = jax.random.split(key, 15)
    n = jnp.floor(_log_uniform(keys[0], low, size + 1.0)).astype(jnp.int32)
    mask = jnp.arange(size) < n
    both = mask[:, None] & mask[None]
    normal = jnp.where(both, jax.random.normal(keys[1], (size, size)), jnp.eye(size))
    orthogonal = jnp.where(both, jnp.linalg.qr(normal)[0], jnp.eye(size))
    rotation = jnp.where(jax.random.bernoulli(keys[2]), orthogonal, jnp.eye(size))

    family = jax.random.randint(keys[3], (), 0, 4)
    valley = family == 2
    decades = jax.random.uniform(keys[4], (), jnp.float32, 0.0, 4.0)
    spread = 10.0 ** (decades * (jax.random.uniform(keys[5], (size,)) - 0.5))
    curl = jnp.where(valley, jax.random.uniform(keys[6], (), jnp.float32, 0.3, 1.5), 0.0)
    task = Task(
        rotation=rotation,
        shift=jax.random.uniform(keys[7], (size,), jnp.float32, -3.0, 3.0),
        width=_log_uniform(keys[8], 0.3, 3.0),
        scale=_log_uniform(keys[9], 1e-3, 1e3),
        stiff=jnp.where(mask, jnp.where(valley, 1.0, spread), 0.0),
        # (1/curl, 1/curl, ...) solves z_{i+1} = curl z_i^2 for every i: the minimum is 0 there.
        target=jnp.where(valley, 1.0 / jnp.maximum(curl, 0.3), 0.0),
        power=jnp.where(family == 1, jax.random.uniform(keys[10], (), jnp.float32, 2, 4), 2.0),
        height=jnp.where(family == 3, jax.random.uniform(keys[11], ()), 0.0),
        bend=jnp.where(valley, _log_uniform(keys[12], 1.0, 100.0), 0.0),
        curl=curl,
        mask=mask,
    )
    reach = task.width * jax.random.uniform(keys[13], (), jnp.float32, 0.5, 5.0)
    start = jax.random.uniform(keys[14], (size,), jnp.float32, -1.0, 1.0) * reach
    return task, jnp.where(mask, start, 0.0)


def value(task: Task, x: jax.Array) -> jax.Array:
    """Loss at x `[size]`, float32 [] >= 0; padding has no influence."""
    z = task.rotation @ jnp.where(task.mask, x - task.shift, 0.0) / task.width
    distance = jnp.where(task.mask, jnp.abs(z - task.target), 1.0)  # 1: a power with a derivative
    own = task.stiff * (distance + 1e-12) ** task.power
    bumps = task.height * (1.0 - jnp.cos(3.0 * z))
    pair = jnp.square(z[1:] - task.curl * jnp.square(z[:-1]))
    total = jnp.sum(jnp.where(task.mask, own + bumps, 0.0))
    return task.scale * (total + task.bend * jnp.sum(jnp.where(task.mask[1:], pair, 0.0)))
