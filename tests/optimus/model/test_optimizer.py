"""The optimizer as a whole: `init_params`, `init_state`, `update`."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimus.model.optimizer import (
    OptimizerConfig,
    init_params,
    init_state,
    update,
)
from tests.optimus.model import measures

GOLDEN = pathlib.Path(__file__).parent / "golden" / "optimizer.json"
KEY = jax.random.PRNGKey(0)
SMALL = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)


@functools.cache
def jitted_update(config=SMALL):
    return jax.jit(functools.partial(update, config))


@functools.cache
def small_params(config=SMALL):
    return jax.jit(functools.partial(init_params, config))(KEY)


def trajectory(config, params, x, steps, mask=None, curvature=None):
    """Points [steps, N] and last state on an ill-conditioned quadratic."""
    curvature = 1.0 + np.arange(len(x)) % 5 if curvature is None else curvature
    state, points = init_state(config, x), []
    for _ in range(steps):
        step, state = jitted_update(config)(params, state, x, curvature * x, mask)
        x = x + step
        points.append(x)
    return np.stack(points), state


def frozen_random(seed):
    """NumPy's legacy generator: unlike the newer ones, no release may change its numbers."""
    return np.random.RandomState(seed)


def start(size):
    return jnp.asarray(frozen_random(size).uniform(-5, 5, size), jnp.float32)


@pytest.mark.parametrize(
    "config, count",
    [
        (OptimizerConfig(), 617_103),
        (OptimizerConfig(dim=32, encoders=2), 27_885),
        (OptimizerConfig(dim=32, encoders=2, rank_one="signed"), 27_885),
        (OptimizerConfig(dim=32, encoders=2, rank_one="asym"), 27_885 + 2 * 33),
    ],
)
def test_parameter_count(config, count):
    params = jax.eval_shape(functools.partial(init_params, config), KEY)
    assert measures.parameter_count(params) == count
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree_util.tree_leaves(params))
    assert sum(leaf.size for leaf in jax.tree_util.tree_leaves(params["decays"])) == 7


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(7)))
def test_permuting_coordinates_permutes_the_whole_run(order):
    order = np.asarray(order)
    x, params = start(7), small_params()

    curvature = np.arange(1.0, 8.0)
    straight, state = trajectory(SMALL, params, x, 3, curvature=curvature)
    permuted, permuted_state = trajectory(SMALL, params, x[order], 3, curvature=curvature[order])
    np.testing.assert_allclose(permuted, straight[:, order], atol=2e-5)
    expected = np.asarray(state.preconditioner)[np.ix_(order, order)]
    np.testing.assert_allclose(permuted_state.preconditioner, expected, atol=2e-5)


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_one_set_of_weights_serves_every_size(size):
    points, state = trajectory(SMALL, small_params(), start(size), 3)
    assert np.isfinite(points).all() and (np.diff(points, axis=0) != 0).any()
    assert state.preconditioner.shape == (size, size) and state.averages.momentum.shape == (3, size)
    assert state.iteration == 3 and state.iteration.dtype == jnp.int32


@pytest.mark.parametrize("garbage", [0.0, 1e6, np.nan])
def test_padding_mask_leaves_results_unchanged(garbage):
    plain, _ = trajectory(SMALL, small_params(), start(4), 10)
    x = jnp.concatenate([start(4), jnp.full(3, garbage)])
    padded, state = trajectory(SMALL, small_params(), x, 10, jnp.arange(7) < 4)
    np.testing.assert_allclose(padded[:, :4], plain, atol=2e-5)
    np.testing.assert_array_equal(padded[:, 4:], np.broadcast_to(x[4:], (10, 3)))
    np.testing.assert_array_equal(state.preconditioner[4:], np.eye(7)[4:])


@pytest.mark.parametrize("b_decay", [1.0, 0.9])
def test_b_stays_symmetric_and_positive_definite(b_decay):
    config = dataclasses.replace(SMALL, b_decay=b_decay)
    state = trajectory(config, small_params(), start(4), 50)[1]
    b = np.asarray(state.preconditioner)
    np.testing.assert_array_equal(b, b.T)
    eigenvalues = np.linalg.eigvalsh(b.astype(np.float64))
    assert eigenvalues[0] > 1.0 - 1e-4 and eigenvalues[-1] > 1.001


@pytest.mark.parametrize("form", ["sym", "signed", "asym"])
def test_without_rank_one_terms_b_stays_the_identity(form):
    config = dataclasses.replace(SMALL, rank_one=form)
    params = small_params(config)
    network = dict(params["network"])
    closed = jnp.float32(0.0 if form == "signed" else -200.0)
    network["optimus/encoder_0"] = {**network["optimus/encoder_0"], "gate": closed}
    state = trajectory(config, {**params, "network": network}, start(4), 10)[1]
    np.testing.assert_array_equal(state.preconditioner, np.eye(4))


def test_b_decay_bounds_what_the_plain_sum_does_not():
    norms = []
    for b_decay in (1.0, 0.9):
        config = dataclasses.replace(SMALL, b_decay=b_decay)
        state = trajectory(config, small_params(), start(4), 100)[1]
        norms.append(np.linalg.norm(np.asarray(state.preconditioner) - np.eye(4)))
    assert norms[1] < 0.5 * norms[0]


def test_b_is_updated_before_it_is_used():
    x = start(4)
    step, state = jitted_update()(small_params(), init_state(SMALL, x), x, x)
    network_only = np.linalg.solve(state.preconditioner, step)
    assert not np.allclose(network_only, step, rtol=1e-3)
    config = dataclasses.replace(SMALL, lambda_a=0.2)
    twice, _ = jitted_update(config)(small_params(), init_state(config, x), x, x)
    np.testing.assert_allclose(twice, 2.0 * step, rtol=1e-5)


def test_vmap_over_parameters_and_tasks_agrees_with_single_calls():
    keys = jax.random.split(KEY, 3)
    params = jax.jit(jax.vmap(functools.partial(init_params, SMALL)))(keys)
    x = jnp.stack([start(4), 2.0 * start(4), -start(4)])
    states = jax.vmap(functools.partial(init_state, SMALL))(x)
    steps, _ = jax.jit(jax.vmap(functools.partial(update, SMALL)))(params, states, x, x)
    for lane in range(3):
        one = jax.tree_util.tree_map(lambda leaf, lane=lane: leaf[lane], params)
        step, _ = jitted_update()(one, init_state(SMALL, x[lane]), x[lane], x[lane])
        np.testing.assert_allclose(steps[lane], step, atol=1e-6)


def test_gradients_through_a_window_are_finite_and_reach_every_parameter():
    def loss(params):
        def one(carry, _):
            x, state = carry
            step, state = update(SMALL, params, state, x, x)
            return (x + step, state), jnp.sum(jnp.square(x + step))

        return jnp.sum(jax.lax.scan(one, (x, init_state(SMALL, x)), None, length=4)[1])

    x = start(4)
    gradient = jax.jit(jax.grad(loss))(small_params())
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0.0, path


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
def test_one_bad_gradient_entry_shows_in_every_entry_of_the_step(bad):
    x = start(4)
    step, _ = jitted_update()(small_params(), init_state(SMALL, x), x, x.at[2].set(bad))
    assert np.isnan(step).all()


def test_float64_of_the_caller_becomes_float32():
    x = np.asarray(start(4), np.float64)
    step, _ = jitted_update()(small_params(), init_state(SMALL, x), x, x)
    assert step.dtype == jnp.float32


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(dim=0), "dim: got 0, want an integer of at least 1"),
        (dict(dim=30), "dim: got 30, want a multiple of heads"),
        (dict(encoders=0), "encoders: got 0"),
        (dict(heads=2.0), "heads: got 2.0"),
        (dict(lambda_a=float("nan")), "lambda_a: got nan, want within"),
        (dict(lambda_b=0.0), "lambda_b: got 0.0"),
        (dict(b_decay=1.5), r"b_decay: got 1.5, want within \[0, 1\]"),
        (dict(rank_one="full"), "rank_one: got 'full', want one of sym, signed, gated, asym"),
        (dict(time_features="log"), "time_features: got 'log', want one of shifted, none"),
    ],
)
def test_bad_configurations_say_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message) as raised:
        OptimizerConfig(**changes)
    assert "\n" not in str(raised.value)


def test_bad_shapes_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"x has shape \(0,\), must be \[N\]"):
        init_state(SMALL, jnp.zeros(0))
    with pytest.raises(ValueError, match=r"x has shape \(2, 2\)"):
        init_state(SMALL, jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"gradient has shape \(2,\), must be \[3\]"):
        update(SMALL, small_params(), init_state(SMALL, jnp.zeros(3)), np.zeros(3), np.zeros(2))


def seeded_params(config, seed):
    shapes = jax.eval_shape(functools.partial(init_params, config), KEY)
    random = frozen_random(seed)
    return jax.tree_util.tree_map(
        lambda leaf: (
            jnp.asarray(random.normal(0.0, 0.15, leaf.shape), jnp.float32)
            if leaf.size > 4
            else jnp.full(leaf.shape, 0.01, jnp.float32)
        ),
        shapes,
    )


def test_golden_trajectories():
    """Relative 1e-3 of the largest entry: rounding differs between processors and XLA releases.

    `golden/optimizer.json` was written by this code; it guards against change, not error.
    """
    for case in json.loads(GOLDEN.read_text()):
        config = OptimizerConfig(**case["config"])
        params = seeded_params(config, case["seed"])
        points, state = trajectory(config, params, start(case["size"]), case["steps"])
        for name, got in (("x", points[-1]), ("preconditioner", state.preconditioner)):
            expected = np.asarray(case[name])
            np.testing.assert_allclose(
                got, expected, atol=1e-3 * np.abs(expected).max(), err_msg=f"{name} of {case}"
            )
