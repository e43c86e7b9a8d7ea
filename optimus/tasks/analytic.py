"""Small closed-form families for every runner. A task is data drawn from a key."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.errors import require
from optimus.tasks.draws import folded_key, halves

TaskData = dict[str, jax.Array]


class Family(NamedTuple):
    """A distribution over losses on R^N with minimum value 0.

    Attributes:
      sample: (key, N) -> task data, a dict of arrays.
      start: half-width of the box of x0, around 0.
      value: (task data, x `[N]`) -> loss, float32 scalar >= 0.
    """

    sample: Callable[[jax.Array, int], TaskData]
    start: float
    value: Callable[[TaskData, jax.Array], jax.Array]


def _quadratic_sample(key: jax.Array, dim: int) -> TaskData:
    """Random rotation, eigenvalues log-uniform over two decades, optimum U(-2, 2)."""
    rotation_key, scale_key, shift_key = jax.random.split(key, 3)
    rotation, _ = jnp.linalg.qr(jax.random.normal(rotation_key, (dim, dim), jnp.float32))
    scales = 10.0 ** jax.random.uniform(scale_key, (dim,), jnp.float32, -1.0, 1.0)
    shift = jax.random.uniform(shift_key, (dim,), jnp.float32, -2.0, 2.0)
    return {"root": jnp.sqrt(scales)[:, None] * rotation, "shift": shift}


def _quadratic_value(data: TaskData, x: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum(jnp.square(data["root"] @ (x - data["shift"])))


def _rosenbrock_value(data: TaskData, x: jax.Array) -> jax.Array:
    z = x - data["shift"]
    return jnp.sum(100.0 * jnp.square(z[1:] - jnp.square(z[:-1])) + jnp.square(z[:-1] - 1.0))


def _rosenbrock_sample(key: jax.Array, dim: int) -> TaskData:
    return {"shift": jax.random.uniform(key, (dim,), jnp.float32, -0.5, 0.5)}


FAMILIES: dict[str, Family] = {
    "quadratic": Family(_quadratic_sample, 5.0, _quadratic_value),
    "rosenbrock": Family(_rosenbrock_sample, 2.0, _rosenbrock_value),
}


def task_key(seed: int, episode: int) -> jax.Array:
    """The key [] that decides task and start of an episode; independent of its noise keys."""
    domain = 0x7461736B  # "task", one of its own
    return folded_key(np.asarray([*halves(seed), domain, *halves(episode)], np.uint32))


def family(name: str) -> Family:
    """A family by name; raises `ConfigError` naming the known ones."""
    require(name in FAMILIES, f"unknown task family {name!r}; known: {', '.join(sorted(FAMILIES))}")
    return FAMILIES[name]


def make(name: str, dim: int, key: jax.Array) -> tuple[TaskData, jax.Array]:
    """Task data and start x0 `[dim]` of the episode with this key."""
    chosen: Any = family(name)
    data_key, start_key = jax.random.split(key)
    start = jax.random.uniform(start_key, (dim,), jnp.float32, -chosen.start, chosen.start)
    return chosen.sample(data_key, dim), start
