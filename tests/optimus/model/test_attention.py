"""Attention with products in bfloat16: close to float32, and never unless asked for."""

import dataclasses
import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.model.attention import inducing_attention, self_attention
from optimus.model.config import OptimizerConfig
from optimus.model.optimizer import init_params, init_state, update

N, DIM, HEADS = 40, 16, 2
SMALL = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9, inducing_points=3)
HALF = dataclasses.replace(SMALL, attention_precision="bfloat16")


def layer(kind, precision):
    """(initialise, apply) of one attention layer."""

    def call(inputs, mask):
        chosen = () if precision is None else (precision,)
        if kind == "full":
            return self_attention(inputs, HEADS, mask, *chosen)
        return inducing_attention(inputs, HEADS, 4, mask, *chosen)

    return hk.without_apply_rng(hk.transform(call))


@pytest.mark.parametrize("kind", ["full", "inducing"])
def test_bfloat16_is_close_to_float32_in_value_and_gradient(kind):
    inputs = jax.random.normal(jax.random.PRNGKey(0), (DIM, N))  # as layer norm leaves them
    mask = jnp.arange(N) < 33
    params = layer(kind, None).init(jax.random.PRNGKey(1), inputs, mask)

    def loss(precision, params):
        out = layer(kind, precision).apply(params, inputs, mask)
        return jnp.sum(jnp.square(out)) / N, out

    found = {}
    for precision in ("float32", "bfloat16"):
        run = jax.jit(jax.value_and_grad(functools.partial(loss, precision), has_aux=True))
        (_, out), gradient = run(params)
        assert out.dtype == jnp.float32
        leaves = [np.asarray(leaf).ravel() for leaf in jax.tree_util.tree_leaves(gradient)]
        assert all(leaf.dtype == np.float32 for leaf in leaves)
        found[precision] = np.asarray(out), np.concatenate(leaves)
    for full, half in zip(found["float32"], found["bfloat16"]):
        error = np.linalg.norm(half - full) / np.linalg.norm(full)
        assert 0.0 < error < 0.02, error


@pytest.mark.parametrize("kind", ["full", "inducing"])
def test_bfloat16_is_nowhere_unless_asked_for(kind):
    inputs, mask = jnp.zeros((DIM, N)), jnp.ones(N, bool)
    params = layer(kind, None).init(jax.random.PRNGKey(1), inputs, mask)
    texts = {
        precision: str(jax.make_jaxpr(layer(kind, precision).apply)(params, inputs, mask))
        for precision in (None, "float32", "bfloat16")
    }
    assert texts[None] == texts["float32"] and "bf16" not in texts[None]
    assert "bf16" in texts["bfloat16"]
    assert OptimizerConfig().attention_precision == "float32"


@pytest.mark.parametrize("attention", ["full", "inducing"])
def test_an_optimizer_with_it_steps_as_the_other_nearly_does(attention):
    points = {}
    for config in (SMALL, HALF):
        config = dataclasses.replace(config, attention=attention)
        params = init_params(config, jax.random.PRNGKey(0))  # the same for both
        x, mask = jnp.linspace(-3.0, 3.0, 6), jnp.arange(6) < 5
        state = init_state(config, x)
        step_of = jax.jit(functools.partial(update, config))
        for _ in range(4):
            step, state = step_of(params, state, x, x * jnp.arange(1.0, 7.0), mask)
            x = x + step
        assert np.isfinite(step).all() and step.dtype == jnp.float32
        points[config.attention_precision] = np.asarray(x)
    moved = np.linalg.norm(points["float32"] - np.linspace(-3.0, 3.0, 6))
    difference = np.linalg.norm(points["bfloat16"] - points["float32"])
    assert 0.0 < difference < 0.02 * moved


def test_bad_precisions_say_what_is_wrong():
    with pytest.raises(ValueError, match="attention_precision: got 'half', want one of float32"):
        OptimizerConfig(attention_precision="half")
    with pytest.raises(ValueError, match="want float32 where attention is none"):
        OptimizerConfig(attention="none", attention_precision="bfloat16")
