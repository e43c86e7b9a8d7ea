"""Perturbations of the weights: one place, so that actor and learner draw the same bits.

The weights travel and are perturbed as one flat float32 vector. **Leaf order**: leaves sorted by
their path, path parts joined with "/", each leaf raveled in C order. A draw is a pure function of
(seed, episode, window): nothing about ranks, hosts or time enters (design: Identity, noise and
versions). `draw` is a jitted function of its own; adding the noise to the weights happens
elsewhere, since a fused draw may round differently.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KINDS = ("gaussian", "rademacher")


@dataclass(frozen=True)
class ParameterLayout:
    """Where each named leaf lies in the flat vector.

    Attributes:
      paths: for each leaf, its keys from the root (module names may themselves contain "/").
      shapes: leaf shapes, in the same order.
    """

    paths: tuple[tuple[str, ...], ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Leaf names, "/"-joined."""
        return tuple("/".join(path) for path in self.paths)

    @property
    def size(self) -> int:
        """P, the length of the flat vector."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)

    def flatten(self, params: Mapping[str, Any]) -> np.ndarray:
        """Nested dict of float32 leaves -> float32 `[P]`."""
        leaves = [_leaf(params, path) for path in self.paths]
        return np.concatenate([np.asarray(leaf, np.float32).ravel() for leaf in leaves])

    def unflatten(self, vector: Any) -> dict[str, Any]:
        """Float32 `[P]` -> nested dict; works on NumPy arrays and under jit, vmap and grad."""
        return self._split(vector) if isinstance(vector, np.ndarray) else _unflatten(self, vector)

    def _split(self, vector: Any) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        start = 0
        for path, shape in zip(self.paths, self.shapes):
            size = int(np.prod(shape, dtype=np.int64))
            node = tree
            for key in path[:-1]:
                node = node.setdefault(key, {})
            node[path[-1]] = vector[start : start + size].reshape(shape)
            start += size
        return tree


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unflatten(layout: ParameterLayout, vector: jax.Array) -> dict[str, Any]:
    """`ParameterLayout.unflatten` with a cheap way back.

    JAX's own derivative of a slice pads it to the whole vector, and sums one such vector for each
    leaf: three quarters of the time of a meta-update at N = 10. All leaves behind one another are
    the same sum, to the bit.
    """
    return layout._split(vector)


def _forward(layout: ParameterLayout, vector: jax.Array) -> tuple[dict[str, Any], None]:
    return layout._split(vector), None


def _backward(layout: ParameterLayout, _: None, tree: dict[str, Any]) -> tuple[jax.Array]:
    return (jnp.concatenate([jnp.ravel(_leaf(tree, path)) for path in layout.paths]),)


_unflatten.defvjp(_forward, _backward)


def _paths(tree: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _paths(value, (*prefix, key))
        else:
            yield (*prefix, key)


def _leaf(tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    return functools.reduce(lambda node, key: node[key], path, tree)


def layout_of(params: Mapping[str, Any]) -> ParameterLayout:
    """The layout of a nested dict of arrays."""
    paths = sorted(_paths(params), key="/".join)
    shapes = [tuple(np.shape(_leaf(params, path))) for path in paths]
    return ParameterLayout(tuple(paths), tuple(shapes))


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
    """CRC-32 of the bits of a perturbation: lets the learner prove that it drew the same."""
    return zlib.crc32(np.ascontiguousarray(noise).tobytes())
