"""The 39 features against numbers worked out by hand from the formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.model import features

RTOL = 2e-6


def first_step(x, gradient, mask=None):
    return _first_step(jnp.asarray(x, jnp.float32), jnp.asarray(gradient, jnp.float32), mask)


@jax.jit
def _first_step(x, gradient, mask):
    state = features.update_accumulators(
        features.init_decays(), features.init_accumulators(len(x)), gradient
    )
    return features.compute_features(x, gradient, state, jnp.int32(0), mask=mask), state


def test_there_are_39_distinct_names():
    assert len(features.FEATURE_NAMES) == len(set(features.FEATURE_NAMES)) == 39
    assert features.FEATURE_NAMES[:3] == ("gradient", "parameter", "momentum_0.9")
    assert features.FEATURE_NAMES[28] == "time_1"
    assert first_step([1.0, 2.0], [3.0, 4.0])[0].shape == (39, 2)


def test_decay_formula():
    """Offset 0 gives the initial decay; offset a gives 1 - (1 - d) exp(10 a)."""
    rate = features.mixing_rate(features.MOMENTUM_DECAYS, jnp.zeros(3))
    np.testing.assert_allclose(rate, [0.1, 0.01, 0.001], rtol=RTOL)
    rate = features.mixing_rate(0.99, jnp.float32(0.05))
    np.testing.assert_allclose(rate, 0.01 * np.exp(0.5), rtol=RTOL)


def test_decays_of_squares_stay_within_0_and_1_and_momentum_does_not():
    offsets = {name: value + 1.0 for name, value in features.init_decays().items()}
    state = features.init_accumulators(1)
    state = features.update_accumulators(offsets, state, jnp.asarray([2.0]))
    np.testing.assert_allclose(state.rms, [4.0], rtol=RTOL)
    np.testing.assert_allclose(state.factored[:, 0], [4.0, 4.0, 4.0], rtol=RTOL)
    np.testing.assert_allclose(state.momentum[0, 0], 0.2 * np.exp(10.0), rtol=RTOL)


def test_accumulators_over_two_steps():
    decays, state = features.init_decays(), features.init_accumulators(2)
    for gradient in ([3.0, 0.0], [1.0, -2.0]):
        state = features.update_accumulators(decays, state, jnp.asarray(gradient))
    expected = [[0.9 * 0.3 + 0.1, -0.2], [0.99 * 0.03 + 0.01, -0.02], [0.003997, -0.002]]
    np.testing.assert_allclose(state.momentum, expected, rtol=RTOL)
    np.testing.assert_allclose(state.rms, [0.999 * 0.009 + 0.001, 0.004], rtol=RTOL)
    np.testing.assert_allclose(state.factored[0], [0.9 * 0.9 + 0.1, 0.4], rtol=RTOL)


def test_data_channels_of_a_first_step_by_hand():
    """x = (1, -2), g = (3, 0.5): each raw channel as its formula is written, in float64."""
    x, g = np.array([1.0, -2.0]), np.array([3.0, 0.5])
    mix = np.array([0.1, 0.01, 0.001])[:, None]
    m, v, w = mix * g, 0.001 * g**2, mix * (g**2 + 1e-30)
    inverse = 1 / np.sqrt(v + 1e-6)
    expected = np.concatenate(
        [
            g[None],
            x[None],
            m,
            v[None],
            m * inverse,
            inverse[None],
            g / np.sqrt(np.maximum(w + 1e-9, 1e-9)),
            w,
            w,
            1 / np.sqrt(w + 1e-8),
            1 / np.sqrt(w + 1e-8),
            m / np.sqrt(w + 1e-6),
        ]
    )
    # Anchors worked out on paper, so that the lines above cannot share a mistake with the code.
    assert expected[6, 0] == pytest.approx(0.3 / np.sqrt(0.009001))
    assert expected[10, 0] == pytest.approx(np.sqrt(10.0), rel=1e-6)
    got, state = first_step(x, g)
    raw = features.data_features(jnp.float32(x), jnp.float32(g), state)
    np.testing.assert_allclose(raw, expected, rtol=RTOL)
    rms = np.sqrt(1e-5 + np.mean(expected**2, axis=1, keepdims=True))
    np.testing.assert_allclose(got[:28], expected / rms, rtol=RTOL)
    np.testing.assert_allclose(got[0], [1.39497, 0.232495], rtol=1e-5)


def test_one_coordinate_leaves_signs():
    got = np.asarray(first_step([-5.0], [2.0])[0])[:28, 0]
    # Second moments near 0 fade instead: 0.004 against the normaliser's sqrt(1e-5).
    large = np.abs(np.asarray(features.data_features(*_one_coordinate()))[:, 0]) > 0.1
    np.testing.assert_allclose(np.abs(got[large]), 1.0, atol=1e-3)
    assert got[0] > 0.99 and got[1] < -0.99


def _one_coordinate():
    state = first_step([-5.0], [2.0])[1]
    return jnp.asarray([-5.0]), jnp.asarray([2.0]), state


def test_time_features():
    scales = np.array(features.TIME_SCALES)
    np.testing.assert_allclose(
        features.time_features(7), np.tanh(7 / scales - 1), rtol=1e-5, atol=1e-7
    )
    rows = first_step([1.0, 2.0], [3.0, 4.0])[0][28:]
    np.testing.assert_allclose(rows, np.full((11, 2), np.tanh(-1.0)), rtol=1e-6)


@pytest.mark.parametrize("magnitude", [1e-30, 1e-3, 1.0, 1e6, 1e12, 1e18])
def test_normalisation_survives_gradients_whose_fourth_power_overflows(magnitude):
    got = np.asarray(first_step([1.0, 2.0, 3.0], np.array([1.0, -2.0, 0.5]) * magnitude)[0])
    assert np.isfinite(got).all()
    assert np.abs(got[:28]).max() <= np.sqrt(3.0) + 1e-5


def test_a_small_eps_keeps_small_channels():
    small = jnp.asarray([[3e-8, -1e-8], [2e4, 1e4]])
    usual, kept = features.normalize(small), features.normalize(small, eps=1e-18)
    assert np.abs(usual[0]).max() < 1e-4
    np.testing.assert_allclose(kept[0], [3 / np.sqrt(5), -1 / np.sqrt(5)], rtol=1e-3)
    np.testing.assert_allclose(kept[1], usual[1], rtol=1e-6)


def test_padding_leaves_normalisation_alone():
    x, g = [1.0, -2.0, 4.0], [3.0, 0.5, 1e3]
    mask = jnp.asarray([True, True, False])
    padded = first_step(x, g, mask=mask)[0]
    np.testing.assert_allclose(padded[:28, :2], first_step(x[:2], g[:2])[0][:28], rtol=RTOL)
    np.testing.assert_array_equal(padded[:28, 2], 0.0)
