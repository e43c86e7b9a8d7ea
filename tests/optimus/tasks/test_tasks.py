"""Closed-form tasks: known minima, correct gradients, and data that follow from the ids alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from optimus.config.tasks import ANALYTIC_FAMILIES
from optimus.meta import noise
from optimus.tasks import analytic

NAMES = sorted(analytic.FAMILIES)


def test_configurations_know_the_families_by_name() -> None:
    assert sorted(ANALYTIC_FAMILIES) == NAMES


DIM = 6


@functools.cache
def compiled(name):
    """(make, value and gradient) of a family, jitted."""
    make = jax.jit(functools.partial(analytic.make, name, DIM))
    return make, jax.jit(jax.value_and_grad(analytic.family(name).value, argnums=1))


def made(name, seed=0, episode=0):
    """Data as NumPy arrays, and the start."""
    data, start = compiled(name)[0](analytic.task_key(seed, episode))
    assert start.shape == (DIM,) and start.dtype == jnp.float32
    return {key: np.asarray(leaf) for key, leaf in data.items()}, np.asarray(start)


def reference(name, data, x):
    """Loss and gradient in float64, from SciPy or the textbook."""
    z = np.float64(x) - np.float64(data["shift"])
    if name == "rosenbrock":
        return scipy.optimize.rosen(z), scipy.optimize.rosen_der(z)
    matrix = np.float64(data["root"]).T @ np.float64(data["root"])
    return 0.5 * z @ matrix @ z, matrix @ z


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_are_the_textbooks(name):
    random = np.random.default_rng(0)
    for episode in range(5):
        data, start = made(name, episode=episode)
        for x in (start, random.uniform(-3, 3, DIM).astype(np.float32)):
            value, gradient = compiled(name)[1](data, x)
            expected, slope = reference(name, data, x)
            assert float(value) == pytest.approx(expected, rel=1e-4) and value.dtype == jnp.float32
            np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("name", NAMES)
def test_the_minimum_is_zero_and_flat(name):
    data, _ = made(name)
    at = data["shift"] + np.float32(name == "rosenbrock")
    value, gradient = compiled(name)[1](data, at)
    assert abs(float(value)) < 1e-9
    assert float(jnp.abs(gradient).max()) < 1e-3


def test_the_quadratic_has_the_stated_spectrum():
    for episode in range(5):
        data, _ = made("quadratic", 3, episode)
        matrix = data["root"].T @ data["root"]
        eigenvalues = np.linalg.eigvalsh(matrix)
        assert 0.099 < eigenvalues.min() < eigenvalues.max() < 10.1
        assert np.abs(data["shift"]).max() <= 2.0
        assert np.abs(matrix[0, 1:]).max() > 1e-3  # rotated


@pytest.mark.parametrize(("name", "half_width"), [("quadratic", 5.0), ("rosenbrock", 2.0)])
def test_starts_fill_their_box(name, half_width):
    starts = np.abs([made(name, episode=episode)[1] for episode in range(30)])
    assert 0.9 * half_width < starts.max() <= half_width


@pytest.mark.parametrize("name", NAMES)
def test_seed_and_episode_decide_everything(name):
    def drawn(seed, episode):
        data, start = made(name, seed, episode)
        return np.concatenate([np.ravel(leaf) for leaf in (*data.values(), start)])

    np.testing.assert_array_equal(drawn(1, 2), drawn(1, 2))
    pairs = [(1, 2), (1, 3), (2, 2), (2, 1), (1, 2 + 2**32), (1 + 2**32, 2), (1, 2**64 - 1)]
    different = [drawn(*pair) for pair in pairs]
    for k, one in enumerate(different):
        for other in different[:k]:
            assert np.abs(one - other).max() > 1e-2


def test_a_task_key_is_not_a_noise_key():
    """No task is made out of the random numbers of a perturbation, its own or another's."""
    normal = np.asarray(jax.random.normal(analytic.task_key(5, 7), (1000,)))
    for episode, window in [(7, None), (7, 0), (7, 1), (0, 7)]:
        drawn = noise.draw(5, episode, window, 1000, 1.0, "gaussian")
        assert abs(np.corrcoef(normal, drawn)[0, 1]) < 0.16  # 5 deviations


def test_an_unknown_family_is_named():
    with pytest.raises(ValueError, match="unknown task family 'sphere'; known: quadratic, rosen"):
        analytic.make("sphere", 3, analytic.task_key(0, 0))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_tasks_is_the_tasks_one_by_one(name):
    keys = jnp.stack([analytic.task_key(0, episode) for episode in range(3)])
    data, starts = jax.jit(jax.vmap(functools.partial(analytic.make, name, DIM)))(keys)
    for k in range(3):
        alone, start = made(name, 0, k)
        np.testing.assert_array_equal(starts[k], start)
        for leaf in alone:
            np.testing.assert_allclose(data[leaf][k], alone[leaf], rtol=1e-4, atol=1e-5)
