"""Attention of coordinates to coordinates, in full or through a few inducing points.

Both take and return [D, N], never attend to padding, and permute with the coordinates. Channel
first: reductions over keys run along the slow axis, where the
CPU adds whole rows at a time, and no transposed copy is needed.
"""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from optimus.model.config import AttentionPrecision
from optimus.model.layers import layer_norm, linear, linear_gelu, matmul_before_elementwise

# From 600 coordinates on, one head after the other is 1.1 to 1.6 times faster on a CPU than all
# together, to the same bit: their logits would go to memory and back.
_LOGITS_THAT_LEAVE_THE_CACHE = 360_000
# Instead of -inf, so that a task whose every coordinate is padding stays finite.
_EXCLUDED_LOGIT = -1e30


def _attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    precision: AttentionPrecision = "float32",
) -> jax.Array:
    """softmax over keys: [H, W, Q], [H, W, K], [H, W, K], mask [K] -> [H, W, Q].

    With `precision` "bfloat16" the factors of both products are rounded to it, and nothing else.
    """
    half = precision == "bfloat16"

    def heads(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        if half:
            logits = _product("...im,...in->...mn", key, query)
        else:
            logits = matmul_before_elementwise(key, query)  # [..., keys, queries]
        if mask is not None:
            logits = jnp.where(mask[:, None], logits, _EXCLUDED_LOGIT)
        # Softmax over keys, divided out after the product with the values: N times fewer divisions.
        largest = jax.lax.stop_gradient(jnp.max(logits, axis=-2, keepdims=True))
        weights = jnp.exp(logits - largest)
        if half:
            mixed = _product("...dk,...kq->...dq", value, weights)
        else:
            mixed = jnp.einsum("...dk,...kq->...dq", value, weights)
        return mixed / jnp.sum(weights, axis=-2)[..., None, :]

    per_head = key.shape[-1] * query.shape[-1]
    if jax.default_backend() == "cpu" and per_head >= _LOGITS_THAT_LEAVE_THE_CACHE:
        return jax.lax.map(lambda one: heads(*one), (query, key, value))
    return heads(query, key, value)


def _product(indices: str, one: jax.Array, other: jax.Array) -> jax.Array:
    """einsum of factors rounded to bfloat16, summed in float32."""
    rounded = (each.astype(jnp.bfloat16) for each in (one, other))
    return jnp.einsum(indices, *rounded, preferred_element_type=jnp.float32)


def self_attention(
    inputs: jax.Array, heads: int, mask: jax.Array | None, precision: AttentionPrecision = "float32"
) -> jax.Array:
    """Multi-head self-attention: [D, N] -> [D, N], in N^2 time and memory.

    Args:
      inputs: float32 [D, N].
      heads: divides D.
      mask: bool [N], false on padding, or None.
      precision: of the products' factors.
    """
    dim, size = inputs.shape
    width = dim // heads
    qkv = linear("qkv", inputs, 3 * dim).reshape(3, heads, width, size)
    query, key, value = qkv[0] * float(1.0 / np.sqrt(width)), qkv[1], qkv[2]
    mixed = _attend(query, key, value, mask, precision)
    return linear("out", mixed.reshape(dim, size), dim)


def inducing_attention(
    inputs: jax.Array,
    heads: int,
    points: int,
    mask: jax.Array | None,
    precision: AttentionPrecision = "float32",
) -> jax.Array:
    """Attention through `points` trained inducing points: [D, N] -> [D, N], in N * points.

    As in the Set Transformer (arXiv 1810.00825): the points attend to the coordinates, go through
    a layer of their own, and the coordinates attend to them.

    Args:
      inputs: float32 [D, N].
      heads: divides D.
      points: number of inducing points.
      mask: bool [N], false on padding, or None.
      precision: of the products' factors.
    """
    dim, size = inputs.shape
    width = dim // heads
    scale = float(1.0 / np.sqrt(width))
    qkv = linear("qkv", inputs, 3 * dim).reshape(3, heads, width, size)
    # Their queries are trained as they are; of a layer's typical size, so that they differ.
    own = hk.get_parameter("inducing", (dim, points), jnp.float32, hk.initializers.RandomNormal())
    own_query = own.reshape(heads, width, points) * scale
    gathered = _attend(own_query, qkv[1], qkv[2], mask, precision)
    induced = own + linear("gather", gathered.reshape(dim, points), dim)
    wide = linear_gelu("inducing_ffn_in", layer_norm("inducing_ffn_norm", induced), 2 * dim)
    induced = induced + linear("inducing_ffn_out", wide, dim)
    induced = layer_norm("inducing_norm", induced)
    key, value = linear("inducing_kv", induced, 2 * dim).reshape(2, heads, width, points)
    mixed = _attend(qkv[0] * scale, key, value, None, precision)
    return linear("out", mixed.reshape(dim, size), dim)
