"""Formulas of the 15 test functions, and the paper's slips of three: x `[N]` -> scalar, pure JAX.

    value(x)               x [N], all of it real
    value(x, mask, n)      x [size], real in its first n coordinates; mask bool [size]; n int32 []

The second is the first of x[:n] up to the order of summation, so that one program serves many n;
what stands in the padding, which must be finite, has no influence on value or gradient.

Source: the Virtual Library of Simulation Experiments (Simon Fraser University); their minima,
minimisers and domains are in `optimus.problems.functions`. Values have the dtype of x.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

PERM_BETA = 10.0
Mask = jax.Array | None
Count = jax.Array | int | None


def index(x: jax.Array) -> jax.Array:
    """1, 2, ..., N in the dtype of x `[N]`."""
    return jnp.arange(1, x.size + 1, dtype=x.dtype)


def _real(mask: Mask, terms: jax.Array, other: float = 0.0) -> jax.Array:
    """Terms `[N]`, `other` in the padding."""
    return terms if mask is None else jnp.where(mask, terms, other)


def _sum(mask: Mask, terms: jax.Array) -> jax.Array:
    return jnp.sum(_real(mask, terms))


def _pairs(mask: Mask) -> Mask:
    """Which pairs of neighbours are real."""
    return None if mask is None else mask[1:]


def ackley(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """A cone with ripples; x `[N]`. The gradient at 0, where there is none, is 0: a subgradient."""
    n = x.size if n is None else n
    mean = _sum(mask, jnp.square(x)) / n
    root = jnp.where(mean > 0, jnp.sqrt(jnp.where(mean > 0, mean, 1.0)), 0.0)
    waves = _sum(mask, jnp.cos(2 * math.pi * x)) / n
    return -20 * jnp.exp(-0.2 * root) - jnp.exp(waves) + 20 + math.e


def dixon_price(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """(x₁−1)² + Σ_{i≥2} i (2x_i² − x_{i−1})²; x `[N]`. There is a stationary value of 2/3."""
    terms = index(x)[1:] * jnp.square(2 * jnp.square(x[1:]) - x[:-1])
    return jnp.square(x[0] - 1) + _sum(_pairs(mask), terms)


def griewank(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ x²/4000 − Π cos(x_i/√i) + 1; x `[N]`."""
    squares = _sum(mask, jnp.square(x)) / 4000
    return squares - jnp.prod(_real(mask, jnp.cos(x / jnp.sqrt(index(x))), 1.0)) + 1


def levy_term(w: jax.Array) -> jax.Array:
    """One inner term of Levy, elementwise; w `[N]`."""
    return jnp.square(w - 1) * (1 + 10 * jnp.square(jnp.sin(math.pi * w + 1)))


def levy(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """With w = 1 + (x−1)/4; the inner sum runs to N − 1; x `[N]`."""
    w = 1 + (x - 1) / 4
    ends = w[-1] if mask is None else w
    last = jnp.square(ends - 1) * (1 + jnp.square(jnp.sin(2 * math.pi * ends)))
    if mask is None:
        return jnp.square(jnp.sin(math.pi * w[0])) + jnp.sum(levy_term(w[:-1])) + last
    at_end = index(x) == n
    inner = _sum(mask & ~at_end, levy_term(w))
    return jnp.square(jnp.sin(math.pi * w[0])) + inner + _sum(at_end, last)


def perm(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Perm 0, d, β = 10: Σ_i (Σ_j (j+β)(x_jⁱ − j⁻ⁱ))²; x `[N]`, in float64 beyond N ~ 10."""
    j = np.arange(1.0, x.size + 1)
    # A running product along i is x_jⁱ, with right gradients at 0 and for negative x.
    powers = jnp.cumprod(jnp.broadcast_to(x, (x.size, x.size)), axis=0)
    targets = jnp.asarray(j ** -j[:, None], x.dtype)
    terms = jnp.asarray(j + PERM_BETA, x.dtype) * (powers - targets)
    inner = jnp.sum(_real(None if mask is None else mask[:, None] & mask, terms), axis=1)
    return jnp.sum(jnp.square(inner))


def powell(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ over groups (a, b, c, d): (a+10b)² + 5(c−d)² + (b−2c)⁴ + 10(a−d)⁴; x `[N]`, 4 divides N."""
    whole = x.size - x.size % 4
    if mask is None and whole < x.size:
        raise ValueError(f"powell needs a dimension that is a multiple of 4: {x.size}")
    a, b, c, d = x[:whole].reshape(-1, 4).T
    squares = jnp.square(a + 10 * b) + 5 * jnp.square(c - d)
    groups = None if mask is None else mask[:whole:4]
    return _sum(groups, squares + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


def rastrigin(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """10N + Σ (x² − 10 cos 2πx); x `[N]`."""
    count = jnp.asarray(x.size if n is None else n, x.dtype)
    return 10 * count + _sum(mask, jnp.square(x) - 10 * jnp.cos(2 * math.pi * x))


def rosenbrock(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ 100 (x_{i+1} − x_i²)² + (x_i − 1)²; x `[N]`. From N = 4 on with a second local minimum."""
    terms = 100 * jnp.square(x[1:] - jnp.square(x[:-1])) + jnp.square(x[:-1] - 1)
    return _sum(_pairs(mask), terms)


def rotated_hyper_ellipsoid(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ_i Σ_{j≤i} x_j² = Σ_j (N−j+1) x_j²; x `[N]`. In spite of the name it is not rotated."""
    count = jnp.asarray(x.size if n is None else n, x.dtype)
    return _sum(mask, (count + 1 - index(x)) * jnp.square(x))


def sphere(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ x²; x `[N]`."""
    return _sum(mask, jnp.square(x))


def styblinski_tang(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """½ Σ (x⁴ − 16x² + 5x); x `[N]`. The other local minimum of a coordinate costs 14.137 more."""
    return _sum(mask, x**4 - 16 * jnp.square(x) + 5 * x) / 2


def sum_of_powers(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ |x_i|^{i+1}; x `[N]`. Overflows float32 where |x| > 1 and N is large."""
    return _sum(mask, _real(mask, jnp.abs(x)) ** (index(x) + 1))


def sum_of_squares(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ i x_i²; x `[N]`."""
    return _sum(mask, index(x) * jnp.square(x))


def trid(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ (x_i−1)² − Σ_{i≥2} x_i x_{i−1}; x `[N]`. The minimiser is of size N²/4."""
    return _sum(mask, jnp.square(x - 1)) - _sum(_pairs(mask), x[1:] * x[:-1])


def zakharov(x: jax.Array, mask: Mask = None, n: Count = None) -> jax.Array:
    """Σ x² + s² + s⁴ with s = Σ i x_i / 2; x `[N]`."""
    s = _sum(mask, index(x) * x) / 2
    return _sum(mask, jnp.square(x)) + jnp.square(s) + s**4


def levy_to_d(x: jax.Array) -> jax.Array:
    """The paper's Levy: one more inner term, that of the last coordinate; x `[N]`."""
    return levy(x) + levy_term(1 + (x[-1] - 1) / 4)


def sum_in_pairs(terms: jax.Array) -> jax.Array:
    """Σ `[N]` as a binary tree, whatever the device: the rounding error grows with log N, not N."""
    width = 1 << max(terms.size - 1, 0).bit_length()
    terms = jnp.concatenate([terms, jnp.zeros(width - terms.size, terms.dtype)])
    while width > 1:
        width //= 2
        terms = terms[:width] + terms[width:]
    return terms[0]


def trid_in_pairs(x: jax.Array) -> jax.Array:
    """Trid with the rounding error of sums in pairs, which is NumPy's; x `[N]`.

    Its sums of size N⁵ cancel to N³: in float32 it is their rounding that ends a line search. On a
    CPU XLA sums in blocks, with an error about twice as large; BFGS then stops at a mean of 9.1e4
    in 250 dimensions, in pairs at 5.4e4, and the print has 5.55e4. The gradient is the same.
    """
    return sum_in_pairs(jnp.square(x - 1)) - sum_in_pairs(x[1:] * x[:-1])
