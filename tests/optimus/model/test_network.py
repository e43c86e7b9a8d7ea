"""The Transformer: sizes, what it starts from, which coordinates see which."""

import functools
from typing import get_args

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.model import attention
from optimus.model.attention import inducing_attention, self_attention
from optimus.model.config import OptimizerConfig, RankOne
from optimus.model.features import FEATURE_NAMES
from optimus.model.network import Network
from optimus.model.preconditioner import gate_weight

KEY = jax.random.PRNGKey(0)


@functools.cache
def build(**changes):
    config = OptimizerConfig(**{**dict(dim=8, encoders=2, heads=2), **changes})
    pair = hk.without_apply_rng(hk.transform(lambda z, mask=None: Network(config)(z, mask)))
    return hk.Transformed(jax.jit(pair.init), jax.jit(pair.apply))


def features(size, seed=1):
    return jax.random.normal(jax.random.PRNGKey(seed), (len(FEATURE_NAMES), size))


@pytest.mark.parametrize("form", [form for form in get_args(RankOne) if form != "none"])
def test_rank_one_terms_start_small_but_not_at_zero(form):
    network = build(rank_one=form, dim=64, encoders=1)
    params = network.init(KEY, features(1))
    output = network.apply(params, features(400))
    assert output.left.shape == (1, 400)
    assert (output.right is not None) == (form == "asym")
    np.testing.assert_allclose(gate_weight(output.raw_gates, form), 0.1, rtol=1e-5)
    norm = np.linalg.norm(output.left)
    assert 0.05 < norm < 2.0
    head = params["optimus/encoder_0"]["rank_one_w"]
    assert 0.5 < float(np.std(head)) / (0.3 / 8.0) < 1.5


def test_norm_of_u_does_not_grow_with_the_number_of_coordinates():
    network = build()
    params = network.init(KEY, features(1))  # the same for every size
    norms = [np.linalg.norm(network.apply(params, features(size)).left) for size in (6, 2000)]
    assert 0.4 < norms[0] / norms[1] < 2.5


def test_permuting_coordinates_permutes_outputs():
    network, z = build(), features(6)
    params = network.init(KEY, features(1))
    order = np.random.default_rng(3).permutation(6)
    straight, permuted = network.apply(params, z), network.apply(params, z[:, order])
    for name in ("alpha", "direction", "left"):
        expected = np.asarray(getattr(straight, name))[..., order]
        np.testing.assert_allclose(getattr(permuted, name), expected, atol=2e-6)


def test_padding_is_not_attended_and_comes_out_as_zero():
    network, z = build(), features(6)
    params = network.init(KEY, features(1))
    mask = jnp.arange(9) < 6
    padded = network.apply(params, jnp.concatenate([z, 100.0 + features(3)], axis=1), mask)
    plain = network.apply(params, z)
    for name in ("alpha", "direction", "left"):
        np.testing.assert_allclose(getattr(padded, name)[..., :6], getattr(plain, name), atol=2e-6)
        np.testing.assert_array_equal(getattr(padded, name)[..., 6:], 0.0)


def test_only_padding_gives_zeros_and_finite_gradients():
    network, z = build(encoders=1), features(4)
    params = network.init(KEY, features(1))

    def total(params):
        output = network.apply(params, z, jnp.zeros(4, bool))
        return jnp.sum(output.alpha) + jnp.sum(output.left)

    value, gradient = jax.jit(jax.value_and_grad(total))(params)
    assert value == 0.0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree_util.tree_leaves(gradient))


def test_attention_agrees_with_jax_own():
    """Against `jax.nn.dot_product_attention`, with logits large enough to overflow a naive exp."""
    dim, size, heads = 8, 5, 2
    layer = hk.without_apply_rng(hk.transform(lambda h: self_attention(h, heads, None)))
    h = 30.0 * jax.random.normal(KEY, (dim, size))
    params = layer.init(KEY, h)
    weights = params["~"]
    q, k, v = jnp.split(h.T @ weights["qkv_w"], 3, axis=1)
    split = lambda rows: rows.reshape(size, heads, dim // heads)  # noqa: E731
    mixed = jax.nn.dot_product_attention(split(q), split(k), split(v)).reshape(size, dim)
    expected = (mixed @ weights["out_w"]).T
    np.testing.assert_allclose(layer.apply(params, h), expected, rtol=1e-3, atol=1e-3)


def test_one_head_after_the_other_is_all_heads_together(monkeypatch):
    mask = jnp.arange(5) < 4
    layer = hk.without_apply_rng(hk.transform(lambda h: self_attention(h, 2, mask)))
    h = jax.random.normal(KEY, (8, 5))
    params = jax.tree_util.tree_map(lambda leaf: leaf + 0.1, layer.init(KEY, h))
    together = layer.apply(params, h)
    monkeypatch.setattr(attention, "_LOGITS_THAT_LEAVE_THE_CACHE", 0)
    np.testing.assert_allclose(layer.apply(params, h), together, rtol=1e-6, atol=1e-6)


def test_inducing_points_see_every_coordinate_and_tell_them_apart():
    layer = hk.without_apply_rng(hk.transform(lambda h: inducing_attention(h, 2, 4, None)))
    h = jax.random.normal(KEY, (8, 6))
    params = layer.init(KEY, h)
    jacobian = jax.jacobian(lambda h: layer.apply(params, h).sum(axis=0))(h)  # [6, 8, 6]
    assert (np.abs(jacobian).max(axis=1) > 1e-6).all()
    assert np.std(layer.apply(params, h), axis=1).min() > 1e-4
