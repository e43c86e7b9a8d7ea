"""Perturbations of the weights: one place, so that actor and learner draw the same bits.

The weights travel and are perturbed as one flat float32 vector (`optimus.model.parameters`). A draw
is a pure function of (seed, episode, window): nothing about ranks, hosts or time enters. `draw` is
a jitted function of its own; adding the noise to the weights happens elsewhere, since a fused draw
may round differently.
"""

import functools
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.tasks.draws import folded_key, halves

KINDS = ("gaussian", "rademacher")


def of_key(key: jax.Array, sigma: Any, size: int, kind: str) -> jax.Array:
    """One draw, float32 `[P]`.

    Args:
      key: consumed.
      sigma: standard deviation of each entry.
      size: P.
      kind: "gaussian" or "rademacher".
    """
    sampler = jax.random.normal if kind == "gaussian" else jax.random.rademacher
    return sigma * sampler(key, (size,), jnp.float32)


@functools.partial(jax.jit, static_argnames=("size", "kind"))
def _draw(words: jax.Array, sigma: jax.Array, size: int, kind: str) -> jax.Array:
    return of_key(folded_key(words), sigma, size, kind)


def draw(
    seed: int, episode: int, window: int | None, size: int, sigma: float, kind: str
) -> np.ndarray:
    """The perturbation of one window (PES) or of a whole episode (`window=None`, NRES).

    Args:
      seed: the run's seed, 0 <= seed < 2^63.
      episode: episode id, uint64.
      window: index of the window in its episode, or None.
      size: P.
      sigma: standard deviation of each entry.
      kind: "gaussian" or "rademacher".

    Returns:
      float32 `[P]`; equal arguments give equal bits on one host and JAX version.
    """
    words = [*halves(seed), *halves(episode), *([] if window is None else [window])]
    return np.asarray(_draw(np.asarray(words, np.uint32), np.float32(sigma), size, kind))


def checksum(noise: np.ndarray) -> int:
    """CRC-32 of the bits of a perturbation `[P]`: lets the learner prove that it drew the same."""
    return zlib.crc32(np.ascontiguousarray(noise).tobytes())
