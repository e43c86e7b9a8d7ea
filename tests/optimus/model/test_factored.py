"""The factored preconditioner: equal to the dense one until it forgets, and linear in N."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.model import preconditioner as pre
from optimus.model.optimizer import OptimizerConfig, init_params, init_state, update
from tests.optimus.model import measures

pytestmark = pytest.mark.slow

DENSE = OptimizerConfig(dim=8, encoders=2, heads=2, b_decay=0.9)


def terms(seed, encoders, size, right):
    random = np.random.RandomState(seed)

    def draw():
        return jnp.asarray(random.normal(size=(encoders, size)) / np.sqrt(size), jnp.float32)

    weights = jnp.asarray(random.uniform(-1, 1, encoders), jnp.float32)
    return weights, draw(), draw() if right else None


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_equals_the_dense_form_while_nothing_is_dropped_and_then_the_window(right, decay):
    size, encoders, steps = 7, 3, 5
    dense, factors = (
        pre.init_preconditioner(size),
        pre.init_factored(size, steps, encoders, not right),
    )
    vector = jnp.linspace(-1.0, 1.0, size)
    for t in range(12):
        new = terms(t, encoders, size, right)
        dense = pre.update_preconditioner(dense, *new, decay)
        factors = pre.update_factored(factors, jnp.int32(t), *new, decay)
        if t < steps:
            expected = dense
        else:  # the sum over the last `steps` steps
            expected = pre.init_preconditioner(size)
            for s in range(t - steps + 1, t + 1):
                expected = pre.update_preconditioner(
                    expected, *terms(s, encoders, size, right), decay
                )
        np.testing.assert_allclose(measures.densify(factors, size), expected, atol=1e-5)
        np.testing.assert_allclose(
            pre.apply_factored(factors, vector), expected @ vector, atol=1e-5
        )


def run(config, params, x, steps, mask=None):
    state, points = init_state(config, x), []
    step_of = jax.jit(functools.partial(update, config))
    for _ in range(steps):
        step, state = step_of(params, state, x, jnp.arange(1.0, 1.0 + len(x)) * x, mask)
        x = x + step
        points.append(x)
    return np.stack(points), state


@pytest.mark.parametrize("form", ["sym", "signed", "asym"])
@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_the_optimizer_takes_the_same_steps(form, decay):
    dense = dataclasses.replace(DENSE, rank_one=form, b_decay=decay)
    factored = dataclasses.replace(dense, rank=6)
    params = init_params(dense, jax.random.PRNGKey(0))  # of one shape for both
    x = jnp.linspace(-3.0, 2.0, 9)
    expected, dense_state = run(dense, params, x, 6)
    found, state = run(factored, params, x, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        measures.densify(state.preconditioner, 9), dense_state.preconditioner, atol=1e-5
    )
    assert state.preconditioner.shape == (12, 1 + 9 * (2 if form == "asym" else 1))
    later, _ = run(factored, params, x, 20)
    assert np.isfinite(later).all()


def test_padding_changes_nothing():
    config = dataclasses.replace(DENSE, rank=3)
    params = init_params(config, jax.random.PRNGKey(1))
    x = jnp.asarray([1.0, -2.0, 3.0])
    expected, _ = run(config, params, x, 8)
    found, _ = run(config, params, jnp.append(x, jnp.asarray([9.0, 9.0])), 8, jnp.arange(5) < 3)
    np.testing.assert_allclose(found[:, :3], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[:, 3:], 9.0)


def test_memory_is_linear():
    """Where the dense form would take 40 GB; state and temporaries of one update."""
    bytes_at = {}
    for size in (50_000, 100_000):
        factors = pre.init_factored(size, 8, 2, symmetric=True)
        assert factors.nbytes == 16 * (size + 1) * 4

        def one(factors, new, vector):
            factors = pre.update_factored(factors, jnp.int32(3), *new, None, 0.9)
            return factors, pre.apply_factored(factors, vector)

        new = terms(0, 2, size, False)[:2]
        compiled = jax.jit(one).lower(factors, new, new[1][0]).compile()
        found, product = compiled(factors, new, new[1][0])
        assert bool(jnp.isfinite(product).all()) and found.shape == factors.shape
        analysis = compiled.memory_analysis()
        bytes_at[size] = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    assert bytes_at[100_000] <= 2.1 * bytes_at[50_000] < 100e6


def test_it_differentiates_and_vmaps():
    config = dataclasses.replace(DENSE, rank=2)
    params = init_params(config, jax.random.PRNGKey(2))

    def loss(params, x):
        state = init_state(config, x)
        for _ in range(4):
            step, state = update(config, params, state, x, 2.0 * x)
            x = x + step
        return jnp.sum(x**2)

    gradients = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))(params, jnp.eye(3) + 1.0)
    norms = [float(jnp.abs(leaf).max()) for leaf in jax.tree_util.tree_leaves(gradients)]
    assert np.isfinite(norms).all() and max(norms) > 0.0


@pytest.mark.parametrize("rank", [-1, 1.5, True])
def test_rank_is_a_count(rank):
    with pytest.raises(ValueError, match="rank"):
        OptimizerConfig(rank=rank)
