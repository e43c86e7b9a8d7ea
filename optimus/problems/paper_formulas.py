"""What a preset minimises: the true formula, or the paper's slip of it, scaled, moved and offset.

objective, f_star = objective_of("paper", "levy", 10)
objective({}, z)                # f(z) − f_star, pure JAX, in the dtype of z
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optimus.problems import formulas
from optimus.problems.functions import FUNCTIONS, Value, function, offset, rotate, scale, shift
from optimus.problems.preset_rules import PRESETS, SCALES

Objective = Callable[[Any, jax.Array], jax.Array]


def levy_to_d(value: Value) -> Value:
    """The paper's Levy: one more inner term, that of the last coordinate."""
    return lambda x: value(x) + formulas.levy_term(1 + (x[-1] - 1) / 4)


def sum_in_pairs(terms: jax.Array) -> jax.Array:
    """Σ `[N]` as a binary tree, whatever the device: the rounding error grows with log N, not N."""
    width = 1 << max(terms.size - 1, 0).bit_length()
    terms = jnp.concatenate([terms, jnp.zeros(width - terms.size, terms.dtype)])
    while width > 1:
        width //= 2
        terms = terms[:width] + terms[width:]
    return terms[0]


def trid_in_pairs(x: jax.Array) -> jax.Array:
    """Trid with the rounding error of sums in pairs, which is NumPy's.

    Its sums of size N⁵ cancel to N³: in float32 it is their rounding that ends a line search. On a
    CPU XLA sums in blocks, with an error about twice as large; BFGS then stops at a mean of 9.1e4
    in 250 dimensions, in pairs at 5.4e4, and the print has 5.55e4. The gradient is the same.
    """
    return sum_in_pairs(jnp.square(x - 1)) - sum_in_pairs(x[1:] * x[:-1])


def formula(name: str, slips: bool) -> Value:
    """A function by name, with the paper's slips if wanted."""
    value = function(name).value
    if not slips:
        return value
    if name == "perm":
        return FUNCTIONS["sum_of_squares"].value
    if name == "trid":
        return trid_in_pairs
    return levy_to_d(value) if name == "levy" else value


@functools.cache
def objective_of(preset_name: str, function_name: str, dim: int) -> tuple[Objective, float]:
    """The reported value as a function of (data, z), and what it subtracts.

    `data` may hold "shift" `[N]` and "rotation" `[N, N]`. The same object at every call, so that
    compiled code is shared.
    """
    slips = PRESETS[preset_name].slips
    scaled = scale(formula(function_name, slips), SCALES.get(function_name, 1.0))
    f_star = function(function_name).minimum(dim)
    if slips and function_name == "trid":
        f_star = function("trid").minimum(dim + 1)

    def objective(data: Any, z: jax.Array) -> jax.Array:
        value = scaled
        if "shift" in data:
            value = shift(value, data["shift"])
        if "rotation" in data:
            value = rotate(value, data["rotation"])
        return offset(value, f_star)(z)

    return objective, f_star
