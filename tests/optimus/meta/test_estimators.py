"""Evolution strategies: unbiased on a problem with a known gradient, exact in its bookkeeping.

The toy: x <- a x + b theta (elementwise, a and b numbers, x and theta in R^3), 20 steps in windows
of 5, loss ||x - target||^2 after each step. The meta-objective is the mean loss over all steps,
which equals the mean over windows of the per-window mean: what they estimate.

Its value is quadratic in the copies theta_1 ... theta_4 that the windows see. For a quadratic an
antithetic difference is exactly twice the directional derivative, for every sigma, and
E[eps eps^T] = sigma^2 I for both kinds of noise: the gradient of the smoothed objective is the
true gradient, and any distance of the mean estimate from it is bias.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimus.config import ESTIMATORS, PATHWISE, ConfigError, Estimator
from optimus.meta import noise
from optimus.meta.estimators import BY_NAME, estimate, evolution, of

A, B = 0.9, 0.3
THETA = np.array([0.5, -1.0, 2.0])
START = np.array([1.0, -2.0, 0.5])
TARGET = np.array([-1.0, 0.5, 3.0])
HORIZON, WINDOW, SIGMA = 20, 5, 0.1
EPISODES, BATCH = 4000, 40


def exact_gradient():
    """d/dtheta of the mean over t = 1 ... 20 of ||x_t - target||^2."""
    x, sensitivity, gradient = START, np.zeros(3), np.zeros(3)
    for _ in range(HORIZON):
        x, sensitivity = A * x + B * THETA, A * sensitivity + B
        gradient += 2.0 * (x - TARGET) * sensitivity / HORIZON
    return gradient


def mean_loss(theta):
    x, total = START, 0.0
    for _ in range(HORIZON):
        x = A * x + B * theta
        total += float(np.sum((x - TARGET) ** 2)) / HORIZON
    return total


def unroll(theta, x, steps):
    """One window of many trajectories: theta and x `[..., 3]` -> losses `[..., steps]`, new x."""
    losses = []
    for _ in range(steps):
        x = A * x + B * theta
        losses.append(np.sum((x - TARGET) ** 2, axis=-1))
    return np.stack(losses, axis=-1).astype(np.float32), x


def estimates(kind, strategy):
    """Independent estimates `[EPISODES / BATCH, 3]` of one strategy."""
    signs = np.array([1.0, -1.0])[:, None, None]
    x = np.broadcast_to(START, (2, EPISODES, 3))
    steps = HORIZON if strategy.whole_episodes else WINDOW
    accumulated = None
    sums, differences = [], []
    for window in range(HORIZON // steps):
        fresh = np.stack(
            [strategy.draw(3, 2**33 + e, window, 3, SIGMA, kind) for e in range(EPISODES)]
        )
        losses, x = unroll(THETA + signs * fresh, x, steps)
        accumulated = strategy.advance(accumulated, fresh)
        sums.append(accumulated)
        every = np.ones(steps, bool)
        rows = [evolution.mean_difference(losses[:, e], every) for e in range(EPISODES)]
        differences.append(rows)
    sums = np.stack(sums, axis=1).reshape(-1, BATCH * len(sums), 3)
    differences = np.asarray(differences, np.float32).T.reshape(sums.shape[:2])
    pairs = zip(sums, differences)
    return np.stack([evolution.estimate(s, d, np.float32(SIGMA)) for s, d in pairs])


def test_the_closed_form_is_the_gradient():
    step = 1e-5
    numerical = [
        (mean_loss(THETA + step * e) - mean_loss(THETA - step * e)) / (2 * step) for e in np.eye(3)
    ]
    np.testing.assert_allclose(exact_gradient(), numerical, rtol=1e-6)


@pytest.mark.parametrize("kind", noise.KINDS)
@pytest.mark.parametrize("name", ["pes", "nres", "full_es"])
def test_unbiased(name, kind):
    """4000 episodes: within four standard errors, which together are below 4 % of the gradient."""
    each, exact = estimates(kind, BY_NAME[name]), exact_gradient()
    assert each.shape == (EPISODES // BATCH, 3)
    error = each.std(axis=0, ddof=1) / len(each) ** 0.5
    assert np.linalg.norm(error) < 0.04 * np.linalg.norm(exact)
    assert (np.abs(each.mean(axis=0) - exact) <= 4 * error).all()


def test_the_same_test_finds_the_bias_of_truncated_es():
    each, exact = estimates("gaussian", BY_NAME["truncated_es"]), exact_gradient()
    error = each.std(axis=0, ddof=1) / len(each) ** 0.5
    assert (np.abs(each.mean(axis=0) - exact) > 10 * error).all()


def test_every_estimator_can_be_configured_and_no_other():
    assert tuple(BY_NAME) == ESTIMATORS
    assert tuple(name for name in BY_NAME if BY_NAME[name].needs_gradient) == PATHWISE
    for name, estimator in BY_NAME.items():
        horizon = 5 if estimator.whole_episodes else 20
        config = Estimator(kind=name, truncation=5, horizon=horizon)
        assert of(config) is estimator and config.signs == 1 + estimator.perturbs


@pytest.mark.parametrize("name", ["pes", "nres", "bptt"])
def test_weights_are_perturbed_both_ways_or_not_at_all(name):
    estimator, theta = BY_NAME[name], np.float32([1.0, 2.0, 3.0])
    drawn = np.stack([estimator.draw(0, episode, 0, 3, 0.5, "rademacher") for episode in (1, 2)])
    weights = np.asarray(estimator.perturb(theta, drawn))
    if name == "bptt":
        assert drawn.shape == (2, 0)
        np.testing.assert_array_equal(weights, np.broadcast_to(theta, (2, 1, 3)))
    else:
        np.testing.assert_array_equal(weights, np.stack([theta + drawn, theta - drawn], axis=1))


def test_a_batch_is_estimated_by_the_kind_that_it_is_of():
    random = np.random.default_rng(0)
    g, noise_, xi = random.normal(0, 0.1, (3, 4, 5)).astype(np.float32)
    d = random.normal(size=4).astype(np.float32)
    s, mean = 0.5, g.mean(axis=0)
    left = d / (2 * s**2) - np.sum(noise_ * g, axis=1) / s**2
    for kind, want in (
        ("pes", np.mean(d[:, None] * xi, axis=0) / (2 * s**2)),
        ("bptt", mean),
        ("pes_pathwise", mean + np.mean(d[:, None] * (xi - noise_), axis=0) / (2 * s**2)),
        ("nres_pathwise", mean + np.mean(left[:, None] * xi, axis=0)),
    ):
        found = estimate(Estimator(kind=kind, sigma=s, task_clip=0.0), g, d, noise_, xi)
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6, err_msg=kind)


def test_what_estimators_demand_of_a_configuration():
    with pytest.raises(ConfigError, match="full_es scores whole episodes"):
        Estimator(kind="full_es", truncation=5, horizon=20)
    with pytest.raises(ConfigError, match="want one of pes, nres, full_es, truncated_es"):
        Estimator(kind="es")


# ------------------------------------------------------------------------------------- bookkeeping


def weight_of_each_step(accumulated):
    """What one unit of L+ - L- at each step of a window is multiplied with."""
    weights = []
    for step in range(WINDOW):
        losses = np.zeros((2, WINDOW), np.float32)
        losses[0, step] = WINDOW  # a mean difference of 1
        difference = evolution.mean_difference(losses, np.ones(WINDOW, bool))
        sigma = np.float32(0.5**0.5)
        estimate = evolution.estimate(accumulated[None], np.float32([difference]), sigma)
        weights.append(float(estimate[0]))
    return weights


def test_the_last_window_is_credited_to_the_whole_sum_and_the_next_starts_empty():
    """With acc = 100 and eps = 1 the published implementation weighs 101, 101, 1, 0, 1, 1."""
    acc, eps = np.float32([100.0]), np.float32([1.0])
    pes = BY_NAME["pes"]
    last = pes.advance(acc, eps)
    np.testing.assert_allclose(weight_of_each_step(last), [101.0] * WINDOW, rtol=1e-6)
    new_episode = pes.advance(None, eps)
    np.testing.assert_allclose(weight_of_each_step(new_episode), [1.0] * WINDOW, rtol=1e-6)


def test_advance_changes_neither_argument():
    first = np.float32([1, 2])
    pes = BY_NAME["pes"]
    start = pes.advance(None, first) + 1
    total = pes.advance(start, first)
    assert (start.tolist(), first.tolist(), total.tolist()) == ([2, 3], [1, 2], [3, 5])


# ---------------------------------------------------------------------------------------- estimate

finite = st.floats(-10, 10, width=32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(finite, finite, finite, finite), min_size=1, max_size=6))
def test_the_estimate_is_the_formula_in_float64(rows):
    table = np.asarray(rows, np.float32)
    accumulated, differences = table[:, :3], table[:, 3]
    got = np.asarray(evolution.estimate(accumulated, differences, np.float32(0.25)))
    wide = accumulated.astype(np.float64) * differences.astype(np.float64)[:, None] / (2 * 0.25**2)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wide.mean(axis=0), rtol=1e-5, atol=1e-3 * 2**-13)


def test_a_large_batch_is_the_formula_in_float64():
    random = np.random.default_rng(0)
    accumulated = random.normal(0, 0.03, (64, 5000)).astype(np.float32)
    differences = random.normal(0, 0.1, 64).astype(np.float32)
    got = evolution.estimate(accumulated, differences, np.float32(0.01))
    want = np.einsum("b,bp->p", differences.astype(np.float64), accumulated) / (64 * 2 * 0.01**2)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_order_of_arrival_does_not_matter_once_sorted():
    random = np.random.default_rng(1)
    samples = [
        ((episode, window), random.normal(size=500).astype(np.float32), random.normal())
        for episode in range(5)
        for window in range(4)
    ]

    def estimated(order):
        ordered = sorted((samples[k] for k in order), key=lambda s: s[0])
        return np.asarray(
            evolution.estimate(
                np.stack([s[1] for s in ordered]),
                np.asarray([s[2] for s in ordered], np.float32),
                np.float32(0.01),
            )
        ).tobytes()

    reference = estimated(range(20))
    for _ in range(5):
        assert estimated(random.permutation(20)) == reference


# -------------------------------------------------------------------------------- mean differences


def test_masked_steps_do_not_count():
    losses = np.float32([[1.0, 2.0, 5.0], [0.5, 4.0, 7.0]])
    every = np.array([True, True, True])
    assert evolution.mean_difference(losses, every) == pytest.approx(-3.5 / 3)
    assert evolution.mean_difference(losses, np.array([True, True, False])) == -0.75
    assert evolution.mean_difference(losses, np.array([False, True, False])) == -2.0


def test_a_window_without_scored_steps_says_nothing():
    assert evolution.mean_difference(np.full((2, 4), np.nan, np.float32), np.zeros(4, bool)) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_masked_may_be_anything(bad):
    losses = np.float32([[1.0, bad], [0.5, bad]])
    assert evolution.mean_difference(losses, np.array([True, False])) == 0.5


def test_small_differences_of_large_losses_are_kept():
    losses = np.float32([[1e7 + 1, 1e7 + 2], [1e7, 1e7]])
    assert evolution.mean_difference(losses, np.ones(2, bool)) == 1.5
