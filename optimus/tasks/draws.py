"""What every sampler draws: dimension, rotation, scale; and the keys that all draws start from."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MOST_ROTATED = 100  # coordinates: a rotation is a dense matrix per task


def domain_key(seed: int, domain: str) -> jax.Array:
    """A key [] of its own for each (seed, domain): "train", "validation", ... never meet."""
    digest = hashlib.sha256(f"optimus/{domain}/{seed}".encode()).digest()
    return folded_key(np.frombuffer(digest[:8], np.uint32))


def halves(value: int) -> tuple[int, int]:
    """A number of 64 bits as two of 32, the upper half first."""
    return value >> 32 & 0xFFFFFFFF, value & 0xFFFFFFFF


def folded_key(words: Any) -> jax.Array:
    """The key [] of two words, uint32, with the words after them folded in one by one."""
    key = jax.random.wrap_key_data(jnp.asarray(words[:2]), impl="threefry2x32")
    for position in range(2, len(words)):  # static: a handful of folds
        key = jax.random.fold_in(key, words[position])
    return key


def log_scaled(share: jax.Array, low: Any, high: Any) -> jax.Array:
    """low ... high, log-uniform where `share`, float32 [] or `[N]`, is uniform in [0, 1)."""
    return low * jnp.exp(share * jnp.log(high / low))


def dimension(share: jax.Array, low: Any, high: Any, multiple: Any = 1) -> jax.Array:
    """A dimension n, int32 [], log-uniform in low..high.

    Args:
      share: uniform in [0, 1), float32 [].
      low: smallest n.
      high: largest n.
      multiple: n is rounded down to a multiple of it; at most `low`.
    """
    n = jnp.floor(log_scaled(share, low * 1.0, high + 1.0)).astype(jnp.int32)
    return multiple * (jnp.clip(n, low, high) // multiple)


def rotation(key: jax.Array, mask: jax.Array) -> jax.Array:
    """Orthogonal `[size, size]`, uniform (Haar) on the real coordinates, the identity elsewhere."""
    size = mask.shape[0]
    both, eye = mask[:, None] & mask[None], jnp.eye(size, dtype=jnp.float32)
    normal = jnp.where(both, jax.random.normal(key, (size, size), jnp.float32), eye)
    q, r = jnp.linalg.qr(normal)
    return jnp.where(both, q * jnp.where(jnp.diag(r) < 0, -1.0, 1.0), eye)


def rotate(data: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """R x, `[size]`, where the task has a rotation."""
    if "rotation" not in data:
        return x
    return jnp.matmul(data["rotation"], x, precision="highest")


def rotate_back(data: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """R^T x, `[size]`, where the task has a rotation."""
    turned = {"rotation": data["rotation"].T} if "rotation" in data else data
    return rotate(turned, x)


def maybe_rotation(
    key: jax.Array, mask: jax.Array, share: float, turned: jax.Array
) -> dict[str, jax.Array]:
    """{"rotation": `[size, size]`}, the identity unless `turned`; {} where no task has one.

    Args:
      key: consumed.
      mask: bool `[size]`, real coordinates.
      share: of tasks that have a rotation.
      turned: bool [], whether this one has.
    """
    if share == 0.0 or mask.shape[0] > MOST_ROTATED:
        return {}
    eye = jnp.eye(mask.shape[0], dtype=jnp.float32)
    return {"rotation": jnp.where(turned, rotation(key, mask), eye)}
