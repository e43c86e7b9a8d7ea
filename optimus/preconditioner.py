"""The learned preconditioner: a dense matrix B that starts at I and grows by rank-one terms.

Algorithm 1 of the paper's supplement updates B <- B + dB before B is used, with dB a sum of
rank-one matrices. Their form is not given; the choices here and their reasons are in the fact
sheet `optimus.md`, section 3.2, and what trains stably in `training.md`, section 2.
"""

import jax
import jax.numpy as jnp


def init_preconditioner(size: int) -> jax.Array:
    """The identity, float32 [size, size]."""
    return jnp.eye(size, dtype=jnp.float32)


def gate_weight(raw_gate: jax.Array, form: str) -> jax.Array:
    """Weight of a rank-one term from its unconstrained parameter: tanh if "signed", else softplus.

    So the weight is in (-1, 1) for "signed" and positive otherwise, whatever the shape.
    """
    return jnp.tanh(raw_gate) if form == "signed" else jax.nn.softplus(raw_gate)


def update_preconditioner(
    preconditioner: jax.Array,
    weights: jax.Array,
    left: jax.Array,
    right: jax.Array | None = None,
    decay: float = 1.0,
) -> jax.Array:
    """B <- I + decay (B - I) + sum over l of weights[l] left[l] right[l]^T.

    Args:
      preconditioner: B, float32 [N, N].
      weights: float32 [L]. If none is negative and `right` is None, a symmetric positive definite
        B stays so (its eigenvalues stay at least 1 when it started at I).
      left: float32 [L, N].
      right: float32 [L, N]; None means `left`, and then a symmetric B stays symmetric to the bit.
      decay: in [0, 1]; 1 is the paper's plain sum, less lets B forget.
    """
    right = left if right is None else right
    size = preconditioner.shape[0]
    result = preconditioner
    if decay != 1.0:
        result = decay * result + (1.0 - decay) * jnp.eye(size, dtype=result.dtype)
    # Written as outer products, not as one matrix product with inner dimension L: XLA then makes
    # a single pass over B. The product left * right comes first, as only that is symmetric to
    # the bit.
    for index in range(left.shape[0]):
        outer = left[index][:, None] * right[index][None, :]
        result = result + weights[index] * outer
    return result


def apply_preconditioner(preconditioner: jax.Array, vector: jax.Array) -> jax.Array:
    """B @ vector, float32 [N], in full float32 also where the device would prefer TF32."""
    return jnp.dot(preconditioner, vector, precision=jax.lax.Precision.HIGHEST)
