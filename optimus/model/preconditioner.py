"""The learned preconditioner: a matrix B that starts at I and grows by rank-one terms.

Algorithm 1 of the paper's supplement updates B <- B + dB before B is used, with dB a sum of
rank-one matrices. Their form is not given. Here entries of u are of order 1 / sqrt(N), since
entries of order 1 explode at N = 1000, and B may decay towards I, without which long unrolls
diverge in training.

B is dense, [N, N], or factored: I + U^T diag(t) V with the terms of the last `steps` steps, in
memory and time linear in N. The two are the same operator until a term has to be dropped, after
`steps` steps. Each later step drops its predecessor's terms of `steps` steps ago, which by then
weigh decay^steps of what they did; with decay 1 (the paper) they weigh all of it, so that a
factored B then is a windowed sum, not an approximation of the dense one.

The factored form is one array [steps * L, 1 + N or 1 + 2 N]: in a row, a term's weight, its left
and (unless symmetric) its right vector; so it travels and is saved like the dense one.
"""

import jax
import jax.numpy as jnp


def init_preconditioner(size: int) -> jax.Array:
    """The identity, float32 [size, size]."""
    return jnp.eye(size, dtype=jnp.float32)


def gate_weight(raw_gate: jax.Array, form: str) -> jax.Array:
    """Weight [L] of rank-one terms from their unconstrained values [L], or of one [].

    tanh, in (-1, 1), if the form is "signed" or "gated"; else softplus, positive.
    """
    return jnp.tanh(raw_gate) if form in ("signed", "gated") else jax.nn.softplus(raw_gate)


def update_preconditioner(
    preconditioner: jax.Array,
    weights: jax.Array,
    left: jax.Array,
    right: jax.Array | None = None,
    decay: float | jax.Array = 1.0,
) -> jax.Array:
    """B <- I + decay (B - I) + sum over l of weights[l] left[l] right[l]^T.

    Args:
      preconditioner: B, float32 [N, N].
      weights: float32 [L]. If none is negative and `right` is None, a symmetric positive definite
        B stays so (its eigenvalues stay at least 1 when it started at I).
      left: float32 [L, N].
      right: float32 [L, N]; None means `left`, and then a symmetric B stays symmetric to the bit.
      decay: in [0, 1], a number or (where it is learned) float32 []; 1 is the paper's plain sum,
        less lets B forget.
    """
    right = left if right is None else right
    size = preconditioner.shape[0]
    result = preconditioner
    if isinstance(decay, jax.Array) or decay != 1.0:
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


def init_factored(size: int, steps: int, encoders: int, symmetric: bool) -> jax.Array:
    """The identity, float32 [steps * encoders, 1 + size, or 1 + 2 size if not symmetric].

    Args:
      size: N.
      steps: how many steps' terms are kept. With 0 there is no place for a term: B stays the
        identity.
      encoders: L, terms per step.
      symmetric: whether a term's right vector is its left one.
    """
    return jnp.zeros((steps * encoders, 1 + (1 if symmetric else 2) * size), jnp.float32)


def update_factored(
    factors: jax.Array,
    iteration: jax.Array,
    weights: jax.Array,
    left: jax.Array,
    right: jax.Array | None = None,
    decay: float | jax.Array = 1.0,
) -> jax.Array:
    """As `update_preconditioner`; the new terms replace the oldest.

    Args:
      factors: from `init_factored` or this function.
      iteration: steps taken before this one, int32 [].
      weights, left, right, decay: as there; `right` is None if and only if symmetric.
    """
    terms = left.shape[0]
    factors = factors.at[:, 0].multiply(decay)
    vectors = [left] if right is None else [left, right]
    rows = jnp.concatenate([weights[:, None], *vectors], axis=1)
    oldest = jnp.mod(iteration, factors.shape[0] // terms) * terms
    return jax.lax.dynamic_update_slice_in_dim(factors, rows, oldest, axis=0)


def apply_factored(factors: jax.Array, vector: jax.Array) -> jax.Array:
    """B @ vector, float32 [N], in full float32."""
    size = vector.shape[0]
    highest = jax.lax.Precision.HIGHEST
    left, right = factors[:, 1 : 1 + size], factors[:, -size:]
    inner = factors[:, 0] * jnp.dot(right, vector, precision=highest)
    return vector + jnp.dot(inner, left, precision=highest)
