"""The quasi-Newton direction: against the textbook recursion, and what a step makes of it."""

import dataclasses
import functools
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimus.minimization import safeguard
from optimus.model import lbfgs_direction
from optimus.model.config import PLUS, OptimizerConfig
from optimus.model.optimizer import feature_names, init_params, init_state, update

SIZE, COUNT = 12, 4
remember, direction = jax.jit(lbfgs_direction.remember), jax.jit(lbfgs_direction.direction)
CONFIG = OptimizerConfig(
    dim=8, encoders=1, heads=2, b_decay=0.9, secant=COUNT, step_scale="relative"
)


def float32(values):
    return jnp.asarray(values, jnp.float32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(-8, 8), st.floats(-8, 8))
@settings(max_examples=30, deadline=None)
def test_it_is_that_of_lbfgs(seed, steps, log_length, log_gradient):
    """The direction agrees with the textbook recursion at any scale of steps and gradients, and
    pairs beyond the memory have no say."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(SIZE, SIZE))
    hessian = root @ root.T + np.eye(SIZE)
    pairs, textbook = lbfgs_direction.init_pairs(COUNT, SIZE), deque(maxlen=COUNT)
    for _ in range(steps):
        move = rng.normal(size=SIZE) * 10.0**log_length
        pairs = remember(pairs, float32(move), float32(hessian @ move))
        textbook.append((move, hessian @ move))
    gradient = rng.normal(size=SIZE) * 10.0**log_gradient
    found = direction(pairs, float32(gradient))
    wanted = safeguard.direction(textbook, gradient)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)


def test_without_pairs_it_is_nothing():
    none = lbfgs_direction.init_pairs(COUNT, SIZE)
    np.testing.assert_array_equal(direction(none, jnp.ones(SIZE)), np.zeros(SIZE))
    np.testing.assert_array_equal(direction(none, jnp.zeros(SIZE)), np.zeros(SIZE))


@pytest.mark.parametrize(
    "move, change",
    [
        (np.ones(SIZE), -np.ones(SIZE)),  # negative curvature
        (np.ones(SIZE), np.zeros(SIZE)),
        (np.zeros(SIZE), np.zeros(SIZE)),  # no step, as before the first
        (np.zeros(SIZE), np.ones(SIZE)),
        (np.ones(SIZE), np.r_[1.0, -1.0, np.zeros(SIZE - 2)]),  # orthogonal
        (np.full(SIZE, np.nan), np.ones(SIZE)),
        (np.ones(SIZE), np.full(SIZE, np.inf)),
        (np.ones(SIZE), np.full(SIZE, 3e38)),  # its square is beyond float32
    ],
)
def test_a_pair_that_tells_nothing_is_not_kept(move, change):
    good = remember(lbfgs_direction.init_pairs(COUNT, SIZE), jnp.ones(SIZE), 2.0 * jnp.ones(SIZE))
    np.testing.assert_array_equal(remember(good, float32(move), float32(change)), good)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_gradient_shows_everywhere(bad):
    pairs = remember(lbfgs_direction.init_pairs(COUNT, SIZE), jnp.ones(SIZE), jnp.ones(SIZE))
    gradient = jnp.ones(SIZE).at[3].set(bad)
    assert np.isnan(direction(pairs, gradient)).all()


def weights(share):
    """Weights that say nothing but how much of the quasi-Newton step is taken."""
    params = jax.tree_util.tree_map(jnp.zeros_like, init_params(CONFIG, jax.random.key(0)))
    network = dict(params["network"])
    network["optimus"] = {**network["optimus"], "secant_share_b": jnp.asarray([share])}
    return {**params, "network": network}


def path(params, hessian, x, steps):
    """Points of `steps` steps on 1/2 x^T hessian x; the first is given, since without pairs
    nothing is taken."""
    step_of = jax.jit(functools.partial(update, CONFIG))
    state, points = init_state(CONFIG, float32(x)), []
    for index in range(steps):
        step, state = step_of(params, state, float32(x), float32(hessian @ x))
        x = x - 0.1 * hessian @ x if index == 0 else x + np.asarray(step, np.float64)
        points.append(x)
    return points


def test_a_share_of_one_is_lbfgs_without_a_line_search():
    """Far inside the bound on its length: the learned step's points are those of x - H g."""
    hessian, x = np.diag(np.linspace(1.0, 3.0, SIZE)), np.linspace(-1.0, 1.0, SIZE)
    points = path(weights(0.0), hessian, x, 8)  # 2 sigmoid(0) = 1
    pairs, at = deque(maxlen=COUNT), points[0]
    pairs.append((at - x, hessian @ (at - x)))
    for found in points[1:]:
        after = at + safeguard.direction(pairs, hessian @ at)
        np.testing.assert_allclose(found, after, atol=1e-5)
        pairs.append((after - at, hessian @ (after - at)))
        at = after
    assert np.abs(at).max() < 1e-3
    none = path(weights(-40.0), hessian, x, 3)
    np.testing.assert_allclose(none[2], none[0])


def test_its_length_is_bounded_by_that_of_recent_steps():
    """Curvature next to 0 promises a minimum far away: no further than 10 typical steps."""
    x, flat = np.ones(SIZE), 1e-6 * np.eye(SIZE)
    step_of = jax.jit(functools.partial(update, CONFIG))
    state = init_state(CONFIG, float32(x))
    _, state = step_of(weights(0.0), state, float32(x), float32(flat @ x))
    step, state = step_of(weights(0.0), state, float32(x + 0.1), float32(flat @ (x + 0.1)))
    typical = float(state.past.length[0])
    assert 0.05 < typical < 0.2
    np.testing.assert_allclose(step, -10.0 * typical, rtol=1e-3)


def test_its_inputs_come_last():
    names = feature_names(dataclasses.replace(PLUS, secant=1))
    assert names[:-3] == feature_names(PLUS)
    assert names[-3:] == ("secant_step", "log_secant_over_length", "cosine_secant_gradient")


@pytest.mark.slow
def test_derivatives_see_the_share_and_not_the_direction():
    """1 / s^T y of a tiny step is not differentiated; the share that is taken is."""
    x = float32(np.ones(SIZE))
    state = init_state(CONFIG, x)
    _, state = update(CONFIG, weights(0.0), state, x, x)

    def total(share, x):
        step, _ = update(CONFIG, weights(share), state, x, x)
        return jnp.sum(step)

    by_share, by_x = jax.grad(total, argnums=(0, 1))(0.0, x - 1e-3)
    assert np.isfinite(by_share) and abs(by_share) > 1e-4
    np.testing.assert_array_equal(by_x, np.zeros(SIZE))
