"""Coordinates that are the courses of axes over time: who is who, and what comes of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimus.model.axes import axes_and_times
from optimus.model.config import OptimizerConfig
from optimus.model.optimizer import init_params, init_state, update

PLAIN = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)
CONFIG = dataclasses.replace(PLAIN, axes=3)


@given(st.integers(1, 60), st.integers(1, 12))
def test_numbers_are_dealt_out_evenly_and_in_time(size, axes):
    axis, time = axes_and_times(size, axes)
    counts = np.bincount(axis, minlength=axes)
    assert len(axis) == len(time) == size == counts.sum() and counts.max() - counts.min() <= 1
    assert (np.diff(time) >= 0).all() and time[0] == 0 and time[-1] < size / axes
    for one in range(axes):
        share = time[axis == one] * axes / size  # of the window
        np.testing.assert_allclose(share, np.arange(counts[one]) / counts[one], atol=1e-6)


def test_whole_frames_are_rows():
    axis, time = axes_and_times(12, 3)
    np.testing.assert_array_equal(axis, [0, 1, 2] * 4)
    np.testing.assert_array_equal(time, np.repeat([0, 1, 2, 3], 3))


def step(config, params, x, gradient, mask=None):
    return update(config, params, init_state(config, x), x, gradient, mask)[0]


def test_before_training_axes_say_nothing_and_then_they_do():
    params = init_params(CONFIG, jax.random.key(0))
    x, gradient = jnp.zeros(7), jnp.ones(7)
    alike = step(CONFIG, params, x, gradient)
    np.testing.assert_allclose(alike, alike[0], rtol=1e-6)

    network = dict(params["network"])
    trained = {"axis": jnp.eye(3, 8), "axis_time": jnp.zeros((2, 8))}
    network["optimus"] = {**network["optimus"], **trained}
    by_axis = step(CONFIG, {**params, "network": network}, x, gradient)
    axis, _ = axes_and_times(7, 3)
    for one in range(3):
        same = by_axis[axis == one]
        np.testing.assert_allclose(same, same[0], rtol=1e-5)
    assert len({round(float(value), 6) for value in by_axis}) == 3

    trained = {"axis": jnp.zeros((3, 8)), "axis_time": jnp.ones((2, 8)).at[0].set(-1.0)}
    network["optimus"] = {**network["optimus"], **trained}
    by_time = step(CONFIG, {**params, "network": network}, x, gradient)
    assert len({round(float(value), 6) for value in by_time}) == len(set(axes_and_times(7, 3)[1]))


def test_no_padding():
    params = init_params(CONFIG, jax.random.key(0))
    with pytest.raises(ValueError, match="axes is 3, must be 0 where x may be padded"):
        step(CONFIG, params, jnp.zeros(4), jnp.ones(4), jnp.ones(4, bool))
    with pytest.raises(ValueError, match="axes is -1, must be an integer of at least 0"):
        dataclasses.replace(PLAIN, axes=-1)
