"""Per-coordinate layers of the network, channel first: [channels, N] in, [channels, N] out."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

_ELEMENTWISE_NEEDS_OWN_BUFFER = jax.__version_info__ < (0, 8, 0)


def matmul(weights: jax.Array, inputs: jax.Array) -> jax.Array:
    """weights^T inputs: [..., I, M], [..., I, N] -> [..., M, N]."""
    return jnp.einsum("...im,...in->...mn", weights, inputs)


def matmul_before_elementwise(weights: jax.Array, inputs: jax.Array) -> jax.Array:
    """As `matmul`, for results that go straight into exp or GELU.

    Before JAX 0.8, XLA's CPU compiler lets an elementwise operation overwrite its input when that
    input dies there, and then does not vectorise it: exp of [4, 210, 210] logits took 0.4 ms
    instead of 0.06. A product with one row too many, cut off again, cannot be overwritten in
    place. Newer releases vectorise either way and are quicker without the detour.
    """
    if not _ELEMENTWISE_NEEDS_OWN_BUFFER:
        return matmul(weights, inputs)
    rows = weights.shape[-1]
    padding = [(0, 0)] * (weights.ndim - 1) + [(0, 1)]
    return matmul(jnp.pad(weights, padding), inputs)[..., :rows, :]


def _linear_parameters(
    name: str, inputs: int, outputs: int, scale: float = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Weights [inputs, outputs] of standard deviation scale / sqrt(inputs) and biases 0."""
    initializer = hk.initializers.TruncatedNormal(stddev=scale / float(np.sqrt(inputs)))
    weights = hk.get_parameter(f"{name}_w", (inputs, outputs), jnp.float32, initializer)
    return weights, hk.get_parameter(f"{name}_b", (outputs,), jnp.float32, jnp.zeros)


def linear(name: str, inputs: jax.Array, outputs: int, scale: float = 1.0) -> jax.Array:
    """Per-coordinate affine map [I, N] -> [outputs, N].

    Args:
      name: of its parameters, "NAME_w" [I, outputs] and "NAME_b" [outputs].
      inputs: float32 [I, N].
      outputs: channels of the result.
      scale: of the initial weights, whose standard deviation is scale / sqrt(I).
    """
    weights, bias = _linear_parameters(name, inputs.shape[0], outputs, scale)
    return matmul(weights, inputs) + bias[:, None]


def linear_gelu(name: str, inputs: jax.Array, outputs: int) -> jax.Array:
    """GELU (tanh form) of a per-coordinate affine map [I, N] -> [outputs, N]."""
    weights, bias = _linear_parameters(name, inputs.shape[0], outputs)
    return jax.nn.gelu(matmul_before_elementwise(weights, inputs) + bias[:, None])


def layer_norm(name: str, inputs: jax.Array) -> jax.Array:
    """Normalises each coordinate over its channels: [D, N] -> [D, N]."""
    norm = hk.LayerNorm(axis=0, param_axis=0, create_scale=True, create_offset=True, name=name)
    return norm(inputs)
