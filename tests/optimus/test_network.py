"""The Transformer: sizes, what it starts from, which coordinates see which."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.architecture import RANK_ONE_FORMS
from optimus.features import FEATURE_NAMES
from optimus.network import Network, _self_attention
from optimus.preconditioner import gate_weight

KEY = jax.random.PRNGKey(0)


@functools.cache
def build(**changes):
    sizes = dict(dim=8, encoders=2, heads=2, ffn_multiplier=4, rank_one="sym", branch="encoder")
    pair = hk.without_apply_rng(
        hk.transform(lambda z, mask=None: Network(**{**sizes, **changes})(z, mask))
    )
    return hk.Transformed(jax.jit(pair.init), jax.jit(pair.apply))


def features(size, seed=1):
    return jax.random.normal(jax.random.PRNGKey(seed), (len(FEATURE_NAMES), size))


@pytest.mark.parametrize("form", RANK_ONE_FORMS)
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
    layer = hk.without_apply_rng(hk.transform(lambda h: _self_attention(h, heads, None)))
    h = 30.0 * jax.random.normal(KEY, (dim, size))
    params = layer.init(KEY, h)
    weights = params["~"]
    q, k, v = jnp.split(h.T @ weights["qkv_w"], 3, axis=1)
    split = lambda rows: rows.reshape(size, heads, dim // heads)  # noqa: E731
    mixed = jax.nn.dot_product_attention(split(q), split(k), split(v)).reshape(size, dim)
    expected = (mixed @ weights["out_w"]).T
    np.testing.assert_allclose(layer.apply(params, h), expected, rtol=1e-3, atol=1e-3)
