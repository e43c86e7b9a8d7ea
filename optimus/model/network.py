"""The Transformer that reads per-coordinate features and predicts step and rank-one terms.

Coordinates are the tokens: every linear layer acts per coordinate and attention runs over the N
coordinates without positional encoding, so one set of weights serves every N and permuting the
coordinates permutes the outputs. Fixed by the paper: 39 features in,
D = 128, three stacked encoders that predict rank-one terms, a separate branch for alpha and d.
Pre-LN, GELU, heads, FFN width and initial scales are our decisions: the paper gives none.

Arrays are channel first, `[channels, N]`, inside the network: reductions over channels or keys
then run along the slow axis, where the CPU adds whole rows at a time, and attention needs no
transposed copy.
"""

from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from optimus.model.attention import inducing_attention, self_attention
from optimus.model.config import OptimizerConfig
from optimus.model.layers import layer_norm, linear, linear_gelu

# A rank-one term starts with weight 0.1 and entries of u of about 0.3 / sqrt(N). Neither may be 0:
# u u^T is even in u, so at u = 0 there is no first-order signal to learn from.
_INITIAL_GATE = 0.1
_HEAD_SCALE = 0.3


class NetworkOutput(NamedTuple):
    """What the network predicts for one step on one task, float32."""

    alpha: jax.Array  # [N], log-magnitude before its factor lambda_b
    direction: jax.Array  # [N]
    secant: jax.Array | None  # [N], unconstrained share of the L-BFGS direction; None without one
    # The next three are None where `rank_one` is "none".
    raw_gates: jax.Array | None  # [L], unconstrained; see preconditioner.gate_weight
    left: jax.Array | None  # [L, N], the u of each encoder, of norm O(1) at any N
    right: jax.Array | None  # [L, N], the v of each encoder in form "asym", else None


class Encoder(hk.Module):
    """Pre-LN Transformer encoder with the head that reads its rank-one term off its output."""

    def __init__(self, config: OptimizerConfig, name: str) -> None:
        super().__init__(name=name)
        self._config = config

    def __call__(
        self, hidden: jax.Array, mask: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
        """Hidden [D, N] to (hidden [D, N], unscaled u or u and v [1 or 2, N], raw gate [])."""
        config, dim = self._config, hidden.shape[0]
        if config.attention != "none":
            hidden = hidden + self._attention(hidden, mask)
        wide = linear_gelu("ffn_in", layer_norm("ffn_norm", hidden), config.ffn_multiplier * dim)
        hidden = hidden + linear("ffn_out", wide, dim)

        if config.rank_one == "none":
            return hidden, None, None
        vectors = 2 if config.rank_one == "asym" else 1
        return hidden, linear("rank_one", hidden, vectors, _HEAD_SCALE), self._gate(hidden, mask)

    @hk.transparent  # its modules keep the names that weights have been saved under
    def _attention(self, hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
        config, normed = self._config, layer_norm("attention_norm", hidden)
        heads, precision = config.heads, config.attention_precision
        if config.attention == "inducing":
            return inducing_attention(normed, heads, config.inducing_points, mask, precision)
        return self_attention(normed, heads, mask, precision)

    def _gate(self, hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
        form = self._config.rank_one
        inverse_softplus = float(np.log(np.expm1(_INITIAL_GATE)))
        raw = float(np.arctanh(_INITIAL_GATE)) if form in ("signed", "gated") else inverse_softplus
        gate = hk.get_parameter("gate", (), jnp.float32, hk.initializers.Constant(raw))
        if form != "gated":
            return gate
        # Starts as "signed": only training makes the weight depend on the state.
        slope = hk.get_parameter("gate_w", (hidden.shape[0],), jnp.float32, jnp.zeros)
        real = hidden if mask is None else jnp.where(mask, hidden, 0.0)
        return gate + jnp.dot(slope, jnp.sum(real, axis=1) / _count(hidden.shape[1], mask))


def _count(size: int, mask: jax.Array | None) -> jax.Array | int:
    """How many coordinates are real; 1 if none is."""
    return size if mask is None else jnp.maximum(jnp.sum(mask), 1)


class Network(hk.Module):
    """The whole network, in the sizes and forms of `config`."""

    def __init__(self, config: OptimizerConfig, name: str = "optimus") -> None:
        super().__init__(name=name)
        self._config = config

    def __call__(self, features: jax.Array, mask: jax.Array | None = None) -> NetworkOutput:
        """Features float32 [F, N] and optional mask bool [N] (false: padding) to predictions.

        Outputs at padding are 0, and padding influences nothing else.
        """
        config, size = self._config, features.shape[1]
        hidden = linear("embedding", features, config.dim)
        vectors: list[jax.Array] = []
        gates: list[jax.Array] = []
        for index in range(config.encoders):
            encoder = Encoder(config, name=f"encoder_{index}")
            hidden, vector, gate = encoder(hidden, mask)
            if vector is not None and gate is not None:
                vectors.append(vector)
                gates.append(gate)

        step = linear("branch_out", linear_gelu("branch_in", hidden, config.dim), 2)
        if mask is not None:
            step = jnp.where(mask, step, 0.0)
        share = linear("secant_share", hidden, 1)[0] if config.secant else None
        if not vectors:
            return NetworkOutput(step[0], step[1], share, raw_gates=None, left=None, right=None)
        count = jnp.asarray(_count(size, mask), jnp.float32)
        rank_one = jnp.stack(vectors) * jax.lax.rsqrt(count)
        if mask is not None:
            rank_one = jnp.where(mask, rank_one, 0.0)
        raw_gates, left = jnp.stack(gates), rank_one[:, 0]
        right = rank_one[:, 1] if config.rank_one == "asym" else None
        return NetworkOutput(step[0], step[1], share, raw_gates, left, right)
