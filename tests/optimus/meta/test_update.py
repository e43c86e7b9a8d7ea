"""The meta-update: optax's own clipped Adam, and nothing that is not finite."""

import jax
import numpy as np
import optax
import pytest

from optimus.config import MetaOptimizer
from optimus.errors import UserError
from optimus.meta import update as meta_update

META = MetaOptimizer()  # the paper: clip 3, Adam 5e-4
SIZE = 400


def gradients(scale, count=20, seed=0):
    return np.random.default_rng(seed).normal(0, scale, (count, SIZE)).astype(np.float32)


def theta0():
    return np.random.default_rng(9).normal(size=SIZE).astype(np.float32)


def bits(state):
    return [np.asarray(leaf).tobytes() for leaf in state]


@pytest.mark.parametrize("scale", [1e-4, 0.15, 50.0])  # norms around 0.002, 3 and 1000
def test_twenty_steps_equal_optax(scale):
    reference = optax.chain(optax.clip_by_global_norm(3.0), optax.adam(5e-4))

    @jax.jit
    def step(params, opt_state, gradient):
        updates, opt_state = reference.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    params, opt_state = theta0(), reference.init(theta0())
    state = meta_update.init(META, theta0())
    for gradient in gradients(scale):
        params, opt_state = step(params, opt_state, gradient)
        state, _ = meta_update.update(META, state, gradient)
        np.testing.assert_allclose(state.theta, params, rtol=0, atol=1e-7)
    assert int(state.updates) == 20
    assert not np.allclose(state.theta, theta0(), atol=1e-3)


def test_adam_starts_from_nothing():
    state = meta_update.init(META, theta0())
    assert not np.any(state.mu) and not np.any(state.nu) and int(state.updates) == 0
    assert state.theta.dtype == state.mu.dtype == state.nu.dtype == np.float32
    np.testing.assert_array_equal(state.theta, theta0())


def test_the_norm_is_that_before_clipping():
    gradient = gradients(50.0)[0]
    _, norm = meta_update.update(META, meta_update.init(META, theta0()), gradient)
    assert norm == pytest.approx(np.linalg.norm(gradient.astype(np.float64)), rel=1e-12)
    assert norm > 900


def test_a_gradient_over_the_clip_counts_as_one_of_norm_three():
    gradient = gradients(50.0)[0]
    clipped = 3.0 * gradient / np.linalg.norm(gradient)
    state, _ = meta_update.update(META, meta_update.init(META, theta0()), gradient)
    np.testing.assert_allclose(state.mu, 0.1 * clipped, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(state.nu, 0.001 * clipped**2, rtol=1e-4, atol=1e-12)


def test_a_gradient_under_the_clip_is_left_alone():
    gradient = gradients(0.1)[0]
    assert np.linalg.norm(gradient) < 3
    state, _ = meta_update.update(META, meta_update.init(META, theta0()), gradient)
    np.testing.assert_allclose(state.mu, 0.1 * gradient, rtol=1e-6, atol=1e-12)


def test_clip_and_rate_are_those_of_the_configuration():
    meta = MetaOptimizer(clip_norm=0.5, learning_rate=0.01)
    gradient = gradients(1.0)[0]
    state, _ = meta_update.update(meta, meta_update.init(meta, theta0()), gradient)
    assert np.linalg.norm(state.mu) == pytest.approx(0.1 * 0.5, rel=1e-4)
    # Adam's first step has the size of the rate in every coordinate.
    step = np.abs(np.asarray(state.theta) - theta0())
    np.testing.assert_allclose(step, 0.01, rtol=1e-2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_changes_nothing(bad):
    state, _ = meta_update.update(META, meta_update.init(META, theta0()), gradients(1.0)[0])
    before = bits(state)
    gradient = gradients(1.0)[1]
    gradient[17] = bad
    with pytest.raises(UserError, match="diverged: the meta-gradient is not finite; try a smaller"):
        meta_update.update(META, state, gradient)
    assert bits(state) == before


def test_an_update_leaves_the_old_state_usable():
    state = meta_update.init(META, theta0())
    before = bits(state)
    first, _ = meta_update.update(META, state, gradients(1.0)[0])
    assert bits(state) == before
    again, _ = meta_update.update(META, state, gradients(1.0)[0])
    assert bits(again) == bits(first)


def test_arrays_out_of_a_checkpoint_go_on_bit_for_bit():
    state, _ = meta_update.update(META, meta_update.init(META, theta0()), gradients(1.0)[0])
    loaded = meta_update.MetaState(*(np.array(leaf) for leaf in state))
    expected, _ = meta_update.update(META, state, gradients(1.0)[1])
    got, _ = meta_update.update(META, loaded, gradients(1.0)[1])
    assert bits(got) == bits(expected)


def test_clip_by_value_bounds_every_entry_on_its_own():
    meta = MetaOptimizer(clip="value", clip_norm=0.5)
    gradient = gradients(1.0)[0]
    state, _ = meta_update.update(meta, meta_update.init(meta, theta0()), gradient)
    np.testing.assert_allclose(state.mu, 0.1 * np.clip(gradient, -0.5, 0.5), rtol=1e-5)


def test_warm_up_and_cosine():
    meta = MetaOptimizer(warmup=4, cosine=100)
    factors = [float(meta_update.rate_factor(meta, np.int32(k))) for k in (0, 1, 3, 50, 99, 500)]
    np.testing.assert_allclose(factors, [0.25, 0.5, 0.9978, 0.5, 0.01, 0.01], atol=1e-3)
    constant = MetaOptimizer()
    assert float(meta_update.rate_factor(constant, np.int32(7))) == 1.0
    plain, scheduled = (
        meta_update.update(m, meta_update.init(m, theta0()), gradients(1.0)[0])[0].theta - theta0()
        for m in (constant, meta)
    )
    np.testing.assert_allclose(scheduled, 0.25 * plain, rtol=1e-2, atol=1e-9)


def test_the_average_of_constant_weights_is_those_weights():
    average = np.zeros(3, np.float32)
    theta = np.float32([1.0, -2.0, 0.5])
    gaps = []
    for updates in range(1, 400):
        average = meta_update.averaged(average, theta, updates, 0.9)
        gaps.append(float(np.abs(average - theta).max()))
    assert gaps[0] < 0.21 and gaps[-1] < 1e-6  # the first weights are soon forgotten
    assert gaps == sorted(gaps, reverse=True)


def test_an_average_without_memory_is_the_weights():
    theta = np.float32([1.0, -2.0, 0.5])
    assert np.array_equal(meta_update.averaged(np.ones(3, np.float32), theta, 50, 0.0), theta)


def test_the_average_of_noise_is_quieter():
    noise = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    average, seen = noise[0], []
    for updates, theta in enumerate(noise[1:], 1):
        average = meta_update.averaged(average, theta, updates, 0.99)
        seen.append(np.asarray(average))
    # An average with decay d of white noise has (1 - d) / (1 + d) of its variance.
    assert 0.02 < np.std(seen[500:]) < 0.2
