"""The Transformer that reads per-coordinate features and predicts step and rank-one terms.

Coordinates are the tokens: every linear layer acts per coordinate and attention runs over the N
coordinates without positional encoding, so one set of weights serves every N and permuting the
coordinates permutes the outputs. Fixed by the paper: 39 features in, D = 128, three stacked
encoders that predict rank-one terms, a separate branch for alpha and d. Pre-LN, GELU, heads, FFN
width and initial scales are our decisions (fact sheet `optimus.md`, sections 3.1 and 3.2).

Arrays are channel first, `[channels, N]`, inside the network: reductions over channels or keys
then run along the slow axis, where the CPU adds whole rows at a time, and attention needs no
transposed copy.
"""

from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

# A rank-one term starts with weight 0.1 and entries of u of about 0.3 / sqrt(N). Neither may be 0:
# u u^T is even in u, so at u = 0 there is no first-order signal to learn from.
_INITIAL_GATE = 0.1
_HEAD_SCALE = 0.3
# Instead of -inf, so that a task whose every coordinate is padding stays finite.
_EXCLUDED_LOGIT = -1e30
_ELEMENTWISE_NEEDS_OWN_BUFFER = jax.__version_info__ < (0, 8, 0)


class NetworkOutput(NamedTuple):
    """What the network predicts for one step on one task, float32."""

    alpha: jax.Array  # [N], log-magnitude before its factor lambda_b
    direction: jax.Array  # [N]
    raw_gates: jax.Array  # [L], unconstrained; see preconditioner.gate_weight
    left: jax.Array  # [L, N], the u of each encoder, of norm O(1) at any N
    right: jax.Array | None  # [L, N], the v of each encoder in form "asym", else None


def _matmul(weights: jax.Array, inputs: jax.Array) -> jax.Array:
    """weights^T inputs: [..., I, M], [..., I, N] -> [..., M, N]."""
    return jnp.einsum("...im,...in->...mn", weights, inputs)


def _matmul_before_elementwise(weights: jax.Array, inputs: jax.Array) -> jax.Array:
    """As `_matmul`, for results that go straight into exp or GELU.

    Before JAX 0.8, XLA's CPU compiler lets an elementwise operation overwrite its input when that
    input dies there, and then does not vectorise it: exp of [4, 210, 210] logits took 0.4 ms
    instead of 0.06. A product with one row too many, cut off again, cannot be overwritten in
    place. Newer releases vectorise either way and are quicker without the detour.
    """
    if not _ELEMENTWISE_NEEDS_OWN_BUFFER:
        return _matmul(weights, inputs)
    rows = weights.shape[-1]
    padding = [(0, 0)] * (weights.ndim - 1) + [(0, 1)]
    return _matmul(jnp.pad(weights, padding), inputs)[..., :rows, :]


def _linear_parameters(
    name: str, inputs: int, outputs: int, scale: float = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Weights [inputs, outputs] of standard deviation scale / sqrt(inputs) and biases 0."""
    initializer = hk.initializers.TruncatedNormal(stddev=scale / float(np.sqrt(inputs)))
    weights = hk.get_parameter(f"{name}_w", (inputs, outputs), jnp.float32, initializer)
    return weights, hk.get_parameter(f"{name}_b", (outputs,), jnp.float32, jnp.zeros)


def _linear(name: str, inputs: jax.Array, outputs: int, scale: float = 1.0) -> jax.Array:
    """Per-coordinate affine map [I, N] -> [outputs, N]."""
    weights, bias = _linear_parameters(name, inputs.shape[0], outputs, scale)
    return _matmul(weights, inputs) + bias[:, None]


def _linear_gelu(name: str, inputs: jax.Array, outputs: int) -> jax.Array:
    """GELU (tanh form) of a per-coordinate affine map [I, N] -> [outputs, N]."""
    weights, bias = _linear_parameters(name, inputs.shape[0], outputs)
    return jax.nn.gelu(_matmul_before_elementwise(weights, inputs) + bias[:, None])


def _layer_norm(name: str, inputs: jax.Array) -> jax.Array:
    """Normalises each coordinate over its channels: [D, N] -> [D, N]."""
    norm = hk.LayerNorm(axis=0, param_axis=0, create_scale=True, create_offset=True, name=name)
    return norm(inputs)


def _self_attention(inputs: jax.Array, heads: int, mask: jax.Array | None) -> jax.Array:
    """Multi-head self-attention over coordinates: [D, N] -> [D, N]; padding is never attended."""
    dim, size = inputs.shape
    width = dim // heads
    qkv = _linear("qkv", inputs, 3 * dim).reshape(3, heads, width, size)
    query, key, value = qkv[0] * float(1.0 / np.sqrt(width)), qkv[1], qkv[2]
    logits = _matmul_before_elementwise(key, query)  # [heads, keys, queries]
    if mask is not None:
        logits = jnp.where(mask[:, None], logits, _EXCLUDED_LOGIT)
    # Softmax over keys, divided out after the product with the values: N times fewer divisions.
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=1, keepdims=True))
    weights = jnp.exp(logits - largest)
    mixed = jnp.einsum("hdk,hkq->hdq", value, weights) / jnp.sum(weights, axis=1)[:, None]
    return _linear("out", mixed.reshape(dim, size), dim)


class Encoder(hk.Module):
    """Pre-LN Transformer encoder with the head that reads its rank-one term off its output."""

    def __init__(self, heads: int, ffn_multiplier: int, rank_one: str, name: str) -> None:
        super().__init__(name=name)
        self._heads, self._ffn_multiplier, self._rank_one = heads, ffn_multiplier, rank_one

    def __call__(
        self, hidden: jax.Array, mask: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Hidden [D, N] to (hidden [D, N], unscaled u or u and v [1 or 2, N], raw gate [])."""
        dim = hidden.shape[0]
        hidden = hidden + _self_attention(_layer_norm("attention_norm", hidden), self._heads, mask)
        wide = _linear_gelu("ffn_in", _layer_norm("ffn_norm", hidden), self._ffn_multiplier * dim)
        hidden = hidden + _linear("ffn_out", wide, dim)

        vectors = 2 if self._rank_one == "asym" else 1
        inverse_softplus = float(np.log(np.expm1(_INITIAL_GATE)))
        raw = float(np.arctanh(_INITIAL_GATE)) if self._rank_one == "signed" else inverse_softplus
        gate = hk.get_parameter("gate", (), jnp.float32, hk.initializers.Constant(raw))
        return hidden, _linear("rank_one", hidden, vectors, _HEAD_SCALE), gate


class Network(hk.Module):
    """The whole network; its sizes are those of `optimizer.OptimizerConfig`."""

    def __init__(
        self,
        dim: int,
        encoders: int,
        heads: int,
        ffn_multiplier: int,
        rank_one: str,
        branch: str,
        name: str = "optimus",
    ) -> None:
        super().__init__(name=name)
        self._dim, self._encoders, self._heads = dim, encoders, heads
        self._ffn_multiplier, self._rank_one, self._branch = ffn_multiplier, rank_one, branch

    def __call__(self, features: jax.Array, mask: jax.Array | None = None) -> NetworkOutput:
        """Features float32 [F, N] and optional mask bool [N] (false: padding) to predictions.

        Outputs at padding are 0, and padding influences nothing else.
        """
        size = features.shape[1]
        count = size if mask is None else jnp.maximum(jnp.sum(mask), 1)

        hidden = _linear("embedding", features, self._dim)
        vectors, gates = [], []
        for index in range(self._encoders):
            encoder = Encoder(
                self._heads, self._ffn_multiplier, self._rank_one, name=f"encoder_{index}"
            )
            hidden, vector, gate = encoder(hidden, mask)
            vectors.append(vector)
            gates.append(gate)
        rank_one = jnp.stack(vectors) * jax.lax.rsqrt(jnp.asarray(count, jnp.float32))

        branch = features if self._branch == "features" else hidden
        step = _linear("branch_out", _linear_gelu("branch_in", branch, self._dim), 2)
        if mask is not None:
            rank_one, step = jnp.where(mask, rank_one, 0.0), jnp.where(mask, step, 0.0)
        return NetworkOutput(
            alpha=step[0],
            direction=step[1],
            raw_gates=jnp.stack(gates),
            left=rank_one[:, 0],
            right=rank_one[:, 1] if self._rank_one == "asym" else None,
        )
