"""Named leaves: the documented order, there and back, and optimizer states by field name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.model import registry
from optimus.model.config import PLUS, AdafactorMlpConfig
from optimus.model.parameters import layout_of, state_from_leaves, state_leaves

PARAMS = {
    "network": {
        "optimus/encoder_1": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)},
        "optimus/encoder_0": {"w": np.full((2, 2), 7, np.float32), "b": np.float32([8, 9])},
    },
    "decays": {"momentum": np.float32(5.0)},
}


def test_leaves_lie_in_the_documented_order():
    layout = layout_of(PARAMS)
    assert layout.names == (
        "decays/momentum",
        "network/optimus/encoder_0/b",
        "network/optimus/encoder_0/w",
        "network/optimus/encoder_1/w",
    )
    assert layout.shapes == ((), (2,), (2, 2), (2, 3))
    assert layout.size == 13
    assert layout.flatten(PARAMS).tolist() == [5, 8, 9, 7, 7, 7, 7, 0, 1, 2, 3, 4, 5]


def test_the_order_does_not_depend_on_insertion():
    swapped = {
        "decays": PARAMS["decays"],
        "network": dict(reversed(list(PARAMS["network"].items()))),
    }
    assert layout_of(swapped) == layout_of(PARAMS)


def test_a_layout_comes_from_shapes_alone():
    shapes = jax.eval_shape(lambda: jax.tree_util.tree_map(jnp.asarray, PARAMS))
    assert layout_of(shapes) == layout_of(PARAMS)


def assert_same_tree(got, want, lead=()):
    assert jax.tree_util.tree_structure(got) == jax.tree_util.tree_structure(want)
    for a, b in zip(jax.tree_util.tree_leaves(got), jax.tree_util.tree_leaves(want)):
        assert np.shape(a) == (*lead, *np.shape(b))
        np.testing.assert_array_equal(a, np.broadcast_to(b, np.shape(a)))


def test_flatten_and_unflatten_are_inverse():
    layout = layout_of(PARAMS)
    vector = layout.flatten(PARAMS)
    assert vector.dtype == np.float32
    assert_same_tree(layout.unflatten(vector), PARAMS)
    np.testing.assert_array_equal(layout.flatten(layout.unflatten(vector)), vector)


def test_a_vector_comes_back_from_its_named_arrays():
    layout = layout_of(PARAMS)
    vector = layout.flatten(PARAMS)
    arrays = layout.to_arrays(vector)
    assert next(iter(arrays)) == "theta/decays/momentum"
    assert [array.shape for array in arrays.values()] == list(layout.shapes)
    others = {"adam/mu": vector}
    np.testing.assert_array_equal(layout.from_arrays(arrays | others), vector)
    name = "theta/network/optimus/encoder_0/b"
    for wrong, message in (
        ({name: vector}, r"encoder_0/b has shape \(13,\), want \(2,\)"),
        ({name: None}, r"encoder_0/b has no such array, want \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            layout.from_arrays(arrays | wrong)


def test_unflatten_works_under_jit_and_vmap():
    layout = layout_of(PARAMS)
    vector = layout.flatten(PARAMS)
    assert_same_tree(jax.jit(layout.unflatten)(vector), PARAMS)
    many = jax.jit(jax.vmap(jax.vmap(layout.unflatten)))(np.tile(vector, (3, 2, 1)))
    assert_same_tree(many, PARAMS, lead=(3, 2))


def test_the_way_back_through_unflatten_is_that_of_the_slices():
    """To the bit, for each of several vectors: what `_unflatten` puts in place of JAX's own."""
    layout = layout_of(PARAMS)
    vectors = jnp.asarray(np.random.default_rng(0).normal(size=(3, layout.size)), jnp.float32)

    def by_hand(vector):
        return layout._split(vector)

    def total(split, vector):
        leaves = jax.tree_util.tree_leaves(split(vector))
        return sum(jnp.sum(jnp.sin(leaf) * (k + 1)) for k, leaf in enumerate(leaves))

    mine, plain = (
        jax.jit(jax.vmap(jax.grad(lambda v, split=split: total(split, v))))(vectors)
        for split in (layout.unflatten, by_hand)
    )
    np.testing.assert_array_equal(mine, plain)
    assert np.all(np.abs(mine) > 0)
    hlo = jax.jit(jax.grad(lambda v: total(layout.unflatten, v))).lower(vectors[0]).as_text()
    assert "pad" not in hlo


@pytest.mark.parametrize("config", [PLUS, AdafactorMlpConfig()])
def test_a_state_comes_back_from_its_named_leaves(config):
    state = registry.rule_of(config).init_state(config, jnp.arange(3.0))
    leaves = state_leaves(state)
    assert {"iteration", "momentum", "rms", "factored"} <= leaves.keys()
    assert len(leaves) == len(jax.tree_util.tree_leaves(state))
    kept = {name: leaf for name, leaf in leaves.items() if leaf.size}
    again = state_from_leaves(type(state), kept, jnp.zeros((0,), jnp.float32))
    assert_same_tree(again, state)
