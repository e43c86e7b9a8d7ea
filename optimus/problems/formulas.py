"""Formulas of the 15 test functions: x `[N]` -> scalar of the dtype of x, pure JAX.

Source: the Virtual Library of Simulation Experiments (Simon Fraser University); their minima,
minimisers and domains are in `optimus.problems.functions`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

PERM_BETA = 10.0


def _index(x: jax.Array) -> jax.Array:
    """1, 2, ..., N in the dtype of x."""
    return jnp.arange(1, x.size + 1, dtype=x.dtype)


def ackley(x: jax.Array) -> jax.Array:
    """A cone with ripples. At 0 it has no gradient; 0, a subgradient, is returned there."""
    mean = jnp.mean(jnp.square(x))
    root = jnp.where(mean > 0, jnp.sqrt(jnp.where(mean > 0, mean, 1.0)), 0.0)
    waves = jnp.mean(jnp.cos(2 * math.pi * x))
    return -20 * jnp.exp(-0.2 * root) - jnp.exp(waves) + 20 + math.e


def dixon_price(x: jax.Array) -> jax.Array:
    """(x₁−1)² + Σ_{i≥2} i (2x_i² − x_{i−1})². Methods also stall at the stationary value 2/3."""
    terms = jnp.square(2 * jnp.square(x[1:]) - x[:-1])
    return jnp.square(x[0] - 1) + jnp.sum(_index(x)[1:] * terms)


def griewank(x: jax.Array) -> jax.Array:
    """Σ x²/4000 − Π cos(x_i/√i) + 1."""
    return jnp.sum(jnp.square(x)) / 4000 - jnp.prod(jnp.cos(x / jnp.sqrt(_index(x)))) + 1


def levy_term(w: jax.Array) -> jax.Array:
    """One inner term of Levy, elementwise."""
    return jnp.square(w - 1) * (1 + 10 * jnp.square(jnp.sin(math.pi * w + 1)))


def levy(x: jax.Array) -> jax.Array:
    """With w = 1 + (x−1)/4; the inner sum runs to N − 1."""
    w = 1 + (x - 1) / 4
    last = jnp.square(w[-1] - 1) * (1 + jnp.square(jnp.sin(2 * math.pi * w[-1])))
    return jnp.square(jnp.sin(math.pi * w[0])) + jnp.sum(levy_term(w[:-1])) + last


def perm(x: jax.Array) -> jax.Array:
    """Perm 0, d, β = 10: Σ_i (Σ_j (j+β)(x_jⁱ − j⁻ⁱ))². Powers up to N: float64 beyond N ~ 10."""
    j = np.arange(1.0, x.size + 1)
    # A running product along i is x_jⁱ, with right gradients at 0 and for negative x.
    powers = jnp.cumprod(jnp.broadcast_to(x, (x.size, x.size)), axis=0)
    targets = jnp.asarray(j ** -j[:, None], x.dtype)
    inner = jnp.sum(jnp.asarray(j + PERM_BETA, x.dtype) * (powers - targets), axis=1)
    return jnp.sum(jnp.square(inner))


def powell(x: jax.Array) -> jax.Array:
    """Σ over groups (a, b, c, d): (a+10b)² + 5(c−d)² + (b−2c)⁴ + 10(a−d)⁴. N a multiple of 4."""
    if x.size % 4:
        raise ValueError(f"powell needs a dimension that is a multiple of 4: {x.size}")
    a, b, c, d = x.reshape(-1, 4).T
    squares = jnp.square(a + 10 * b) + 5 * jnp.square(c - d)
    return jnp.sum(squares + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


def rastrigin(x: jax.Array) -> jax.Array:
    """10N + Σ (x² − 10 cos 2πx)."""
    return 10 * x.size + jnp.sum(jnp.square(x) - 10 * jnp.cos(2 * math.pi * x))


def rosenbrock(x: jax.Array) -> jax.Array:
    """Σ 100 (x_{i+1} − x_i²)² + (x_i − 1)². From N = 4 on with a second local minimum."""
    return jnp.sum(100 * jnp.square(x[1:] - jnp.square(x[:-1])) + jnp.square(x[:-1] - 1))


def rotated_hyper_ellipsoid(x: jax.Array) -> jax.Array:
    """Σ_i Σ_{j≤i} x_j² = Σ_j (N−j+1) x_j². Its axes are not rotated, in spite of the name."""
    return jnp.sum(_index(x)[::-1] * jnp.square(x))


def sphere(x: jax.Array) -> jax.Array:
    """Σ x²."""
    return jnp.sum(jnp.square(x))


def styblinski_tang(x: jax.Array) -> jax.Array:
    """½ Σ (x⁴ − 16x² + 5x). The other local minimum of a coordinate costs 14.137 more."""
    return jnp.sum(x**4 - 16 * jnp.square(x) + 5 * x) / 2


def sum_of_powers(x: jax.Array) -> jax.Array:
    """Σ |x_i|^{i+1}. Overflows float32 where |x| > 1 and N is large."""
    return jnp.sum(jnp.abs(x) ** (_index(x) + 1))


def sum_of_squares(x: jax.Array) -> jax.Array:
    """Σ i x_i²."""
    return jnp.sum(_index(x) * jnp.square(x))


def trid(x: jax.Array) -> jax.Array:
    """Σ (x_i−1)² − Σ_{i≥2} x_i x_{i−1}. The minimiser is of size N²/4."""
    return jnp.sum(jnp.square(x - 1)) - jnp.sum(x[1:] * x[:-1])


def zakharov(x: jax.Array) -> jax.Array:
    """Σ x² + s² + s⁴ with s = Σ i x_i / 2."""
    s = jnp.sum(_index(x) * x) / 2
    return jnp.sum(jnp.square(x)) + jnp.square(s) + s**4
