"""Perturbations of the weights inside the compiled program: drawn, kept and credited per lane."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from optimus.config import Estimator
from optimus.meta.estimators import STRATEGIES, pathwise
from optimus.meta.fused.lanes import Lanes


def draw(estimator: Estimator, key: jax.Array, size: int) -> jax.Array:
    """One draw of the noise, float32 `[P]`."""
    if estimator.noise == "gaussian":
        return estimator.sigma * jax.random.normal(key, (size,), jnp.float32)
    return estimator.sigma * jax.random.rademacher(key, (size,), jnp.float32)


def of_window(
    estimator: Estimator, lanes: Lanes, keys: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """This window's noise and the credit with it, `[L, P]` both; `keys` `[L]`, size P."""
    kind = estimator.kind
    strategy = STRATEGIES[kind] if kind in STRATEGIES else pathwise.STRATEGIES[kind]

    def drawn() -> jax.Array:
        return jax.vmap(lambda key: draw(estimator, key, size))(keys)

    fresh = lanes.fresh[:, None]
    if not strategy.fresh_each_window:  # one noise per episode, drawn when one begins
        new = jax.lax.cond(jnp.any(lanes.fresh), drawn, lambda: jnp.zeros_like(lanes.credit))
        noise = jnp.where(fresh, new, lanes.credit)
        return noise, noise
    noise = drawn()
    first: Any = strategy.advance(None, noise)  # type: ignore[arg-type]
    later: Any = strategy.advance(lanes.credit, noise)  # type: ignore[arg-type]
    return noise, jnp.where(fresh, first, later)
