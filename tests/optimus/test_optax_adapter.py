"""`optimus.as_optax` keeps optax's contract."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optimus
from optimus.model.optimizer import OptimizerConfig, init_params
from optimus.weights import LearnedOptimizer, WeightsError

CONFIG = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)


@functools.cache
def model():
    return LearnedOptimizer(CONFIG, init_params(CONFIG, jax.random.PRNGKey(0)), {})


def tree(dtype=jnp.float32):
    return {
        "w": jnp.arange(6, dtype=dtype).reshape(2, 3) / 4,
        "b": (jnp.asarray(1.5, dtype), [jnp.ones((1,), dtype)]),
    }


def loss(params):
    return sum(jnp.sum(jnp.square(leaf - 2.0)) for leaf in jax.tree_util.tree_leaves(params))


def assert_trees_close(found, expected, rtol=1e-5):
    assert jax.tree_util.tree_structure(found) == jax.tree_util.tree_structure(expected)
    for a, b in zip(jax.tree_util.tree_leaves(found), jax.tree_util.tree_leaves(expected)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(
            np.asarray(a, np.float32), np.asarray(b, np.float32), rtol=rtol, atol=1e-6
        )


def run(transform, params, steps=3):
    state = transform.init(params)
    for _ in range(steps):
        updates, state = transform.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_it_takes_the_steps_of_the_optimizer_on_the_flat_vector():
    params = tree()
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    state = optimus.init_state(CONFIG, flat)
    for _ in range(3):
        gradient = jax.flatten_util.ravel_pytree(jax.grad(loss)(unravel(flat)))[0]
        step, state = optimus.update(CONFIG, model().params, state, flat, gradient)
        flat = flat + step
    found, found_state = run(optimus.as_optax(model()), params)
    assert_trees_close(found, unravel(flat))
    assert_trees_close(found_state, state, rtol=1e-4)


def test_a_tree_with_every_option_on():
    """State that depends on x0 and on steps taken, here those of another learning rate."""
    config = dataclasses.replace(optimus.PLUS, dim=8, encoders=1, heads=2)
    every = LearnedOptimizer(config, init_params(config, jax.random.PRNGKey(0)), {})
    params = tree()
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    state = optimus.init_state(config, flat)
    update = jax.jit(functools.partial(optimus.update, config))
    for _ in range(3):
        step, state = update(every.params, state, flat, 2.0 * (flat - 2.0))
        flat = flat + 0.5 * step
    transform = optax.chain(optimus.as_optax(every), optax.scale(0.5))
    found, (found_state, _) = run(transform, params)
    assert_trees_close(found, unravel(flat), rtol=1e-4)
    assert_trees_close(found_state, state, rtol=1e-3)
    assert found_state.past.start.shape == (8,) and found_state.past.length.shape == (1,)


def test_it_is_a_transformation_with_extra_arguments():
    transform, params = optimus.as_optax(model()), tree()
    assert isinstance(transform, optax.GradientTransformationExtraArgs)
    gradient = jax.grad(loss)(params)
    plain, _ = transform.update(gradient, transform.init(params), params)
    extra, _ = transform.update(
        gradient, transform.init(params), params, value=loss(params), grad=gradient, other="x"
    )
    assert_trees_close(extra, plain)


def test_without_params_the_error_is_optax_own():
    transform, params = optimus.as_optax(model()), tree()
    with pytest.raises(ValueError) as error:
        transform.update(params, transform.init(params))
    with pytest.raises(ValueError) as theirs:
        optax.add_decayed_weights(0.1).update(params, optax.EmptyState(), None)
    assert str(error.value) == str(theirs.value)


def test_under_jit_and_scan():
    transform, params = optimus.as_optax(model()), tree()
    expected, _ = run(transform, params)

    @jax.jit
    def scanned(params):
        def body(carry, _):
            params, state = carry
            updates, state = transform.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(body, (params, transform.init(params)), length=3)[0][0]

    assert_trees_close(scanned(params), expected, rtol=1e-4)


def test_under_vmap():
    transform = optimus.as_optax(model())
    starts = jnp.asarray([[1.0, 2.0, 3.0], [-4.0, 0.5, 0.0]])

    def final(x):
        return run(transform, {"x": x})[0]["x"]

    expected = jnp.stack([final(x) for x in starts])
    np.testing.assert_allclose(jax.vmap(final)(starts), expected, rtol=1e-4, atol=1e-6)


def test_in_a_chain():
    params = tree()
    expected, _ = run(optax.chain(optimus.as_optax(model()), optax.scale(1.0)), params)
    assert_trees_close(expected, run(optimus.as_optax(model()), params)[0])
    clipped = optax.chain(
        optax.clip_by_global_norm(1.0), optimus.as_optax(model()), optax.scale(0.5)
    )
    state = clipped.init(params)
    updates, _ = clipped.update(jax.grad(loss)(params), state, params, value=1.0)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree_util.tree_leaves(updates))


def test_masked_leaves_are_passed_by_and_do_not_count():
    params = {"on": jnp.asarray([1.0, -3.0]), "off": jnp.asarray([5, 6])}
    gradient = {"on": jnp.asarray([-2.0, -10.0]), "off": jnp.asarray([7, 8])}
    transform = optax.masked(optimus.as_optax(model()), {"on": True, "off": False})
    updates, _ = transform.update(gradient, transform.init(params), params)
    np.testing.assert_array_equal(updates["off"], gradient["off"])
    alone = optimus.as_optax(model())
    expected, _ = alone.update(gradient["on"], alone.init(params["on"]), params["on"])
    np.testing.assert_allclose(updates["on"], expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_parameters(dtype):
    params = tree(dtype)
    found, state = run(optimus.as_optax(model()), params)
    assert all(leaf.dtype == dtype for leaf in jax.tree_util.tree_leaves(found))
    assert state.preconditioner.dtype == jnp.float32
    assert_trees_close(
        jax.tree_util.tree_map(lambda leaf: leaf.astype(jnp.float32), found),
        run(optimus.as_optax(model()), tree())[0],
        rtol=0.05,
    )


def test_a_mixed_tree_keeps_each_dtype():
    params = {"a": jnp.ones((2,), jnp.bfloat16), "b": jnp.ones((2,), jnp.float32)}
    found, _ = run(optimus.as_optax(model()), params)
    assert (found["a"].dtype, found["b"].dtype) == (jnp.bfloat16, jnp.float32)


def test_empty_trees():
    transform = optimus.as_optax(model())
    for params in ({}, {"x": jnp.zeros((0,))}):
        updates, state = transform.update(params, transform.init(params), params)
        assert updates == params and state == optax.EmptyState()


def test_what_cannot_be_optimised_is_refused():
    transform = optimus.as_optax(model())
    for leaf in (jnp.asarray([1, 2]), jnp.asarray([1j])):
        with pytest.raises(TypeError, match="must be real floating point"):
            transform.init({"x": leaf})
    with pytest.raises(ValueError, match="20001 variables are too many"):
        transform.init(jnp.zeros(20_001))
    linear = dataclasses.replace(CONFIG, attention="inducing", rank=2)
    state = optimus.as_optax(LearnedOptimizer(linear, {}, {})).init(jnp.zeros(20_001))
    assert state.preconditioner.shape == (2, 20_002)
    params = tree()
    with pytest.raises(ValueError, match="different structure or shapes"):
        transform.update({"w": params["w"]}, transform.init(params), params)
    with pytest.raises(ValueError, match="different structure or shapes"):
        transform.update({**params, "w": params["w"].T}, transform.init(params), params)
    with pytest.raises(ValueError, match=r"must be \[8\] as in state"):
        transform.update({"w": params["w"]}, transform.init(params), {"w": params["w"]})
    with pytest.raises(WeightsError, match="no weights named"):
        optimus.as_optax("no-such-model")


def test_the_shipped_model_reduces_a_loss():
    params = tree()
    found, _ = run(optimus.as_optax("optimus-noposition"), params, steps=60)
    assert loss(found) < 1e-2 * loss(params)
