"""Estimators with a pathwise term, on a toy with a known gradient (`benchmarks.estimators`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import estimators as toy
from optimus.meta.estimators import pathwise

EPISODES = 4000


def mean_and_error(kind, order):
    each = np.asarray(toy.estimates(kind, order, EPISODES, jax.random.PRNGKey(1)), np.float64)
    return each.mean(axis=0), each.std(axis=0, ddof=1) / EPISODES**0.5


def test_the_closed_form_is_the_gradient():
    def mean_loss(theta):
        return toy.unroll(theta, jnp.asarray(toy.START), toy.HORIZON, 2)[0]

    np.testing.assert_allclose(toy.exact_gradient(), jax.grad(mean_loss)(toy.THETA), rtol=1e-5)


@pytest.mark.parametrize(("order", "held"), [(1, True), (2, False)])
def test_back_propagation_is_exact_in_the_window_and_blind_before_it(order, held):
    mean, _ = mean_and_error("bptt", order)
    np.testing.assert_allclose(mean, toy.exact_gradient(held, toy.WINDOW), rtol=1e-4)
    exact = toy.exact_gradient()
    assert np.linalg.norm(mean - exact) > 0.2 * np.linalg.norm(exact)


@pytest.mark.parametrize("kind", ["pes_pathwise", "nres_pathwise"])
def test_unbiased_with_exact_derivatives(kind):
    mean, error = mean_and_error(kind, 2)
    exact = toy.exact_gradient()
    assert np.linalg.norm(error) < 0.05 * np.linalg.norm(exact)
    assert (np.abs(mean - exact) <= 4 * error + 1e-5).all()


def test_pes_with_the_inner_gradient_held_is_biased_by_what_that_leaves_out():
    mean, error = mean_and_error("pes_pathwise", 1)
    window = [toy.exact_gradient(held, toy.WINDOW) for held in (True, False)]
    bias = window[0] - window[1]
    assert (np.abs(mean - (toy.exact_gradient() + bias)) <= 4 * error + 1e-5).all()
    assert (np.abs(bias) > 3.5 * error).any()


def test_nres_takes_out_of_the_difference_whatever_it_adds():
    """A control variate: with eps reused, even first-order derivatives bias nothing."""
    mean, error = mean_and_error("nres_pathwise", 1)
    assert (np.abs(mean - toy.exact_gradient()) <= 4 * error + 1e-5).all()


@pytest.mark.parametrize("pair", [("pes_pathwise", "pes"), ("nres_pathwise", "nres")])
def test_the_pathwise_term_lowers_the_variance(pair):
    with_term, without = (toy.row(kind, 2 * (k == 0), 4000) for k, kind in enumerate(pair))
    assert with_term["deviation"] < 0.95 * without["deviation"]


def test_per_task_clip():
    gradients = jnp.asarray([[3.0, 4.0], [0.3, 0.4], [np.nan, 1.0], [np.inf, 0.0]])
    clipped = pathwise.clip_each(gradients, 1.0)
    np.testing.assert_allclose(clipped, [[0.6, 0.8], [0.3, 0.4], [0, 0], [0, 0]], rtol=1e-6)
    free = pathwise.clip_each(gradients, 0.0)
    np.testing.assert_allclose(free, [[3.0, 4.0], [0.3, 0.4], [0, 0], [0, 0]])
