"""Windows that differentiate their meta-loss: against JAX's own derivative, and after failures."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch.runners import actors_cannot
from optimus.config import Estimator, TrainConfig
from optimus.meta import loss as meta_loss
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.model.registry import rule_of
from optimus.wire import MAX_SAMPLE_BYTES, LossRequest, Sample, Version, check_sample, decode
from tests.workers import fakes
from workers import unroll as unrolls
from workers.actor import Actor
from workers.scheduling import drive
from workers.unroll import base

STEPS = 3
SECANT = dataclasses.replace(fakes.SMALL, secant=2, step_scale="relative")


def config_of(rule: Any, kind: str = "bptt", order: int = 1) -> TrainConfig:
    estimator = Estimator(kind=kind, truncation=STEPS, horizon=2 * STEPS, order=order)
    return fakes.served(optimizer=rule, estimator=estimator)


def unroll_of(config: TrainConfig, signs: int, *fail: Any) -> unrolls.PooledUnroll:
    order = config.phases[0].estimator.order
    return unrolls.PooledUnroll(config, fakes.Source(), fakes.Pool(*fail), signs, order)


def theta_of(config: TrainConfig) -> np.ndarray:
    params = rule_of(config.optimizer).init_params(config.optimizer, jax.random.PRNGKey(1))
    return unrolls.parameter_layout(config).flatten(params)


def window(unroll: Any, weights: Any, arrays: Any, fresh: list[int | None]) -> base.Window:
    return drive([unroll.window(weights, arrays, fresh, STEPS)], threading.Event())[0]


def expected(config: TrainConfig, theta: jax.Array, shift: float, windows: int) -> np.ndarray:
    """Derivative of the last window's mean log gap, inner gradients as of its order, by JAX."""
    layout, rule = unrolls.parameter_layout(config), rule_of(config.optimizer)

    def total(theta: jax.Array) -> jax.Array:
        x = jnp.zeros(fakes.Source.dim)
        state = rule.init_state(config.optimizer, x)
        scores = []
        for step in range(windows * STEPS):
            if step % STEPS == 0:  # truncation
                x, state = jax.lax.stop_gradient((x, state))
                scores = []
            gradient = 2 * (x - shift)
            if config.phases[0].estimator.order == 1 or step % STEPS == 0:
                gradient = jax.lax.stop_gradient(gradient)
            params = layout.unflatten(theta)
            move, state = rule.update(config.optimizer, params, state, x, gradient)
            x = x + move
            scores.append(jnp.log(jnp.sum((x - shift) ** 2)))
        return jnp.mean(jnp.stack(scores))

    return np.asarray(jax.grad(total)(theta))


@pytest.mark.parametrize(
    ("rule", "order"),
    [
        (fakes.SMALL, 1),
        (AdafactorMlpConfig(step_mult=0.1), 1),
        (fakes.SMALL, 2),
        pytest.param(SECANT, 2, marks=pytest.mark.slow),
    ],
)
def test_it_is_the_derivative_of_the_window(rule: Any, order: int) -> None:
    config = config_of(rule, order=order)
    unroll = unroll_of(config, 1)
    theta = jnp.asarray(theta_of(config))
    weights = jnp.broadcast_to(theta, (2, 1, theta.size))
    first = window(unroll, weights, None, [3, 5])
    second = window(unroll, weights, first.arrays, [None, None])
    # The start of an episode, and for exact derivatives each step but the first once more.
    extra = (STEPS - 1) * (order - 1)
    assert [list(each.evaluations) for each in (first, second)] == [
        [STEPS + 1 + extra] * 2,
        [STEPS + extra] * 2,
    ]
    for found, windows in ((first, 1), (second, 2)):
        assert found.gradients is not None and found.gradients.dtype == np.float32
        for lane, shift in enumerate((4.0, 1.0)):
            want = expected(config, theta, shift, windows)
            scale = np.abs(want).max()
            assert scale > 0
            np.testing.assert_allclose(found.gradients[lane], want, rtol=0, atol=2e-4 * scale)


def test_a_pair_gives_the_mean_of_its_two() -> None:
    config = config_of(fakes.SMALL)
    theta = theta_of(config)
    both = jnp.asarray(np.stack([theta, 1.1 * theta])[None])
    pair = unroll_of(config, 2)
    alone = unroll_of(config, 1)
    found = window(pair, both, None, [3]).gradients
    each = [window(alone, both[:, k : k + 1], None, [3]).gradients for k in range(2)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-4, atol=1e-5)


def test_a_failed_lane_says_nothing_and_leaves_the_others_alone() -> None:
    def fail(request: LossRequest) -> str | None:
        return "nonfinite" if request.request_id == 5 else None  # lane 0, second step

    config = config_of(fakes.SMALL)
    theta = jnp.asarray(theta_of(config))
    weights = jnp.broadcast_to(theta, (2, 1, theta.size))
    unroll = unroll_of(config, 1, fail)
    found = window(unroll, weights, None, [3, 5])
    assert list(found.failed) == [True, False] and found.gradients is not None
    assert not found.gradients[0].any()
    want = expected(config, theta, 1.0, 1)
    np.testing.assert_allclose(found.gradients[1], want, rtol=0, atol=2e-4 * np.abs(want).max())


def test_a_loss_that_fails_on_the_way_back_takes_its_own_lane_only() -> None:
    def fail(request: LossRequest) -> str | None:
        return "nonfinite" if request.request_id == 10 else None  # lane 1, first on the way back

    config = config_of(fakes.SMALL, order=2)
    theta = jnp.asarray(theta_of(config))
    weights = jnp.broadcast_to(theta, (2, 1, theta.size))
    unroll = unroll_of(config, 1, fail)
    found = window(unroll, weights, None, [3, 5])
    assert not found.failed.any() and found.mask.all() and found.gradients is not None
    assert found.gradients[0].any() and not found.gradients[1].any()


@pytest.mark.parametrize(("kind", "signs"), [("bptt", 1), ("nres_pathwise", 2)])
def test_samples_of_an_actor_carry_it(kind: str, signs: int) -> None:
    config = config_of(fakes.SMALL, kind)
    theta, stream = theta_of(config), fakes.Stream()
    parameters = fakes.Parameters(config, theta)
    unroll = unroll_of(config, signs)
    actor = Actor(config, 0, lambda _: unroll, parameters, stream)
    for _ in range(2):
        assert actor.refresh()
        actor.collect(threading.Event())
        parameters.version = Version(1, parameters.version.step + 1)
    samples = [decode(Sample, data) for data in stream.samples]
    assert len(samples) == 2 * config.phases[0].layout.total_lanes
    for sample in samples:
        assert check_sample(sample, STEPS, 2, signs, theta.size) is None
        assert sample.gradient.any()
        assert check_sample(sample, STEPS, 2, signs, theta.size + 1) is not None
        assert "schema 'pathwise/1'" in str(check_sample(sample, STEPS, 2))
    assert max(map(len, stream.samples)) <= MAX_SAMPLE_BYTES + 4 * theta.size


def test_the_slope_is_the_derivative_of_the_score() -> None:
    for value in (1e-3, 0.5, 30.0):
        steps = np.array([value * 0.999, value * 1.001])
        low, high = meta_loss.log_gap(steps, 2.0)
        slope = (high - low) / (steps[1] - steps[0])
        assert meta_loss.log_gap_slope(value, 2.0) == pytest.approx(slope, rel=1e-4)
    assert meta_loss.log_gap_slope(1e6, 2.0) == 0.0  # capped
    assert meta_loss.log_gap_slope(1e-9, 2.0) == 0.0  # floored


def test_lanes_of_another_rule_come_back_from_a_checkpoint() -> None:
    config = config_of(AdafactorMlpConfig(step_mult=0.1))
    unroll = unroll_of(config, 1)
    theta = theta_of(config)
    weights = jnp.broadcast_to(jnp.asarray(theta), (2, 1, theta.size))
    first = window(unroll, weights, None, [3, 5])
    named = base.arrays_to_names(first.arrays)
    loaded = base.arrays_from_names(named, base.state_type(config))
    again = window(unroll, weights, loaded, [None, None])
    expected = window(unroll, weights, first.arrays, [None, None])
    np.testing.assert_array_equal(again.losses, expected.losses)


def test_only_what_runs_everywhere_is_for_every_launch() -> None:
    config = config_of(fakes.SMALL)
    assert actors_cannot(config) is None
    assert actors_cannot(config_of(fakes.SMALL, order=2)) is None
    analytic = fakes.analytic(estimator=config.phases[0].estimator)
    assert actors_cannot(analytic) == "estimator.kind 'bptt' needs --launch fused"
