"""What tests ask of a model's arrays."""

from typing import Any

import jax
import jax.numpy as jnp


def parameter_count(params: Any) -> int:
    """Number of scalars in `params`: 617,103 for the default configuration."""
    return sum(leaf.size for leaf in jax.tree_util.tree_leaves(params))


def densify(factors: jax.Array, size: int) -> jax.Array:
    """The factored B as a dense matrix `[size, size]`."""
    left, right = factors[:, 1 : 1 + size], factors[:, -size:]
    product = jnp.dot((factors[:, :1] * left).T, right, precision=jax.lax.Precision.HIGHEST)
    return jnp.eye(size, dtype=factors.dtype) + product
