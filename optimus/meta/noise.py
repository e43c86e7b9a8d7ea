"""Perturbations of the weights: one place, so that actor and learner draw the same bits.

The weights travel and are perturbed as one flat float32 vector (`optimus.model.parameters`). A draw
is a pure function of (seed, episode, window): nothing about ranks, hosts or time enters. `draw` is
a jitted function of its own; adding the noise to the weights happens elsewhere, since a fused draw
may round differently.
"""

from __future__ import annotations

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np

KINDS = ("gaussian", "rademacher")


@functools.partial(jax.jit, static_argnames=("size", "kind"))
def _draw(words: jax.Array, sigma: jax.Array, size: int, kind: str) -> jax.Array:
    key = jax.random.wrap_key_data(words[:2], impl="threefry2x32")
    for position in range(2, words.shape[0]):  # static: a handful of folds
        key = jax.random.fold_in(key, words[position])
    if kind == "gaussian":
        return sigma * jax.random.normal(key, (size,), jnp.float32)
    return sigma * jax.random.rademacher(key, (size,), jnp.float32)


def _words(*values: int) -> list[int]:
    return [word for value in values for word in (value >> 32 & 0xFFFFFFFF, value & 0xFFFFFFFF)]


def draw(
    seed: int, episode: int, window: int | None, size: int, sigma: float, kind: str
) -> np.ndarray:
    """The perturbation of one window (PES) or of a whole episode (`window=None`, NRES).

    Args:
      seed: the run's seed, 0 <= seed < 2^63.
      episode: episode id, uint64.
      window: index of the window in its episode, or None.
      size: P. sigma: standard deviation of each entry. kind: "gaussian" or "rademacher".

    Returns:
      float32 `[P]`; equal arguments give equal bits on one host and JAX version.
    """
    words = _words(seed, episode) + ([] if window is None else [window])
    return np.asarray(_draw(np.asarray(words, np.uint32), np.float32(sigma), size, kind))


def checksum(noise: np.ndarray) -> int:
    """CRC-32 of the bits of a perturbation `[P]`: lets the learner prove that it drew the same."""
    return zlib.crc32(np.ascontiguousarray(noise).tobytes())
