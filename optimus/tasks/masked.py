"""The 15 test functions for any n up to a fixed size, so that one program serves many n.

    value(x, mask, n)      x [size], real in its first n coordinates; mask bool [size]; n int32 []

equals `formulas.NAME(x[:n])` up to the order of summation; what stands in the padding, which must
be finite, has no influence on value or gradient.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.problems import formulas
from optimus.problems.functions import FUNCTIONS

Value = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
Minimiser = Callable[[int, jax.Array], jax.Array]


class Masked(NamedTuple):
    """A function of masked coordinates.

    Attributes:
      value: see the module.
      minimum: n -> least value, float32.
      minimiser: (size, n) -> float32 `[size]`, where it is taken; anything in the padding.
      least, most, multiple: the n it is used with; most 0: no bound.
    """

    value: Value
    minimum: Callable[[jax.Array], jax.Array]
    minimiser: Minimiser
    least: int
    most: int
    multiple: int


def _sum(mask: jax.Array, terms: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(mask, terms, 0.0))


def _ackley(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    mean = _sum(mask, jnp.square(x)) / n
    root = jnp.where(mean > 0, jnp.sqrt(jnp.where(mean > 0, mean, 1.0)), 0.0)
    waves = _sum(mask, jnp.cos(2 * math.pi * x)) / n
    return -20 * jnp.exp(-0.2 * root) - jnp.exp(waves) + 20 + math.e


def _dixon_price(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    terms = formulas.index(x)[1:] * jnp.square(2 * jnp.square(x[1:]) - x[:-1])
    return jnp.square(x[0] - 1) + _sum(mask[1:], terms)


def _griewank(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    waves = jnp.prod(jnp.where(mask, jnp.cos(x / jnp.sqrt(formulas.index(x))), 1.0))
    return _sum(mask, jnp.square(x)) / 4000 - waves + 1


def _levy(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    w = 1 + (x - 1) / 4
    at_end = formulas.index(x) == n
    last = jnp.square(w - 1) * (1 + jnp.square(jnp.sin(2 * math.pi * w)))
    inner = _sum(mask & ~at_end, formulas.levy_term(w))
    return jnp.square(jnp.sin(math.pi * w[0])) + inner + _sum(at_end, last)


def _perm(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    j = np.arange(1.0, x.size + 1)
    powers = jnp.cumprod(jnp.broadcast_to(x, (x.size, x.size)), axis=0)
    targets = jnp.asarray(j ** -j[:, None], x.dtype)
    terms = jnp.asarray(j + formulas.PERM_BETA, x.dtype) * (powers - targets)
    inner = jnp.sum(jnp.where(mask[:, None] & mask, terms, 0.0), axis=1)
    return jnp.sum(jnp.square(inner))


def _powell(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    whole = x.size - x.size % 4
    a, b, c, d = x[:whole].reshape(-1, 4).T
    squares = jnp.square(a + 10 * b) + 5 * jnp.square(c - d)
    return _sum(mask[:whole:4], squares + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


def _rastrigin(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    return 10 * n.astype(x.dtype) + _sum(mask, jnp.square(x) - 10 * jnp.cos(2 * math.pi * x))


def _rosenbrock(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    terms = 100 * jnp.square(x[1:] - jnp.square(x[:-1])) + jnp.square(x[:-1] - 1)
    return _sum(mask[1:], terms)


def _rotated_hyper_ellipsoid(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    return _sum(mask, (n.astype(x.dtype) + 1 - formulas.index(x)) * jnp.square(x))


def _sphere(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    return _sum(mask, jnp.square(x))


def _styblinski_tang(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    return _sum(mask, x**4 - 16 * jnp.square(x) + 5 * x) / 2


def _sum_of_powers(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    return _sum(mask, jnp.where(mask, jnp.abs(x), 0.0) ** (formulas.index(x) + 1))


def _sum_of_squares(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    return _sum(mask, formulas.index(x) * jnp.square(x))


def _trid(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    return _sum(mask, jnp.square(x - 1)) - _sum(mask[1:], x[1:] * x[:-1])


def _zakharov(x: jax.Array, mask: jax.Array, n: jax.Array) -> jax.Array:
    s = _sum(mask, formulas.index(x) * x) / 2
    return _sum(mask, jnp.square(x)) + jnp.square(s) + s**4


def _trid_minimiser(size: int, n: jax.Array) -> jax.Array:
    place = jnp.arange(1, size + 1, dtype=jnp.float32)
    return place * (n + 1 - place)


_MOST = {"perm": 10}  # powers up to n: meaningless in float32 beyond

_VALUES = (
    *(_ackley, _dixon_price, _griewank, _levy, _perm, _powell, _rastrigin, _rosenbrock),
    *(_rotated_hyper_ellipsoid, _sphere, _styblinski_tang, _sum_of_powers, _sum_of_squares),
    *(_trid, _zakharov),
)


def _masked(name: str, value: Value) -> Masked:
    true = FUNCTIONS[name]

    def minimum(n: Any) -> jax.Array:
        return jnp.asarray(true.minimum(n), jnp.float32)

    def minimiser(size: int, n: jax.Array) -> jax.Array:  # but for Trid's the same for every n
        return jnp.asarray(true.minimiser(size), jnp.float32)

    where = _trid_minimiser if name == "trid" else minimiser
    return Masked(value, minimum, where, true.least_dim, _MOST.get(name, 0), true.multiple_of)


MASKED = {name: _masked(name, value) for name, value in zip(FUNCTIONS, _VALUES, strict=True)}
