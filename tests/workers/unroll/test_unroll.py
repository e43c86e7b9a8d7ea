"""Unrolling a window: what is scored, what a failure masks, how many evaluations it costs."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.meta import loss as meta_loss
from optimus.model import optimizer as opt
from optimus.model.config import PLUS, OptimizerConfig
from optimus.rundir import checkpoint
from optimus.tasks import analytic
from optimus.wire import LossRequest, LossUnavailable, NoWorkers
from tests.workers import fakes
from workers import unroll as unrolls
from workers.scheduling import drive
from workers.unroll import base, pooled

PLUS_FORM = dataclasses.replace(PLUS, dim=8, encoders=1, heads=2)


def run(
    unroll: Any,
    weights: Any,
    arrays: base.LaneArrays | None,
    fresh: Sequence[int | None],
    steps: int,
) -> base.Window:
    return drive([unroll.window(weights, arrays, fresh, steps)], threading.Event())[0]


@pytest.fixture(scope="module")
def theta() -> np.ndarray:
    params = opt.init_params(fakes.SMALL, jax.random.PRNGKey(1))
    return unrolls.parameter_layout(fakes.analytic()).flatten(params)


def weights_of(theta: np.ndarray, lanes: int, signs: int = 2) -> jax.Array:
    """Different weights for each trajectory."""
    scale = 1 + 0.1 * np.arange(lanes * signs, dtype=np.float32).reshape(lanes, signs, 1)
    return jnp.asarray(theta * scale)


def test_pooled_unroll_is_algorithm_1_scored_after_each_update(theta: np.ndarray) -> None:
    pool, source = fakes.Pool(), fakes.Source()
    unroll = unrolls.PooledUnroll(fakes.served(), source, pool)
    weights = weights_of(theta, 2)
    first = run(unroll, weights, None, [3, 9], 2)
    second = run(unroll, weights, first.arrays, [None, None], 2)
    got = np.concatenate([first.losses, second.losses], axis=2)

    layout = unrolls.parameter_layout(fakes.served())
    for lane, episode in enumerate((3, 9)):
        shift = source.draw(episode)[0].shift
        for sign in range(2):
            params = layout.unflatten(weights[lane, sign])
            x = jnp.zeros(4)
            state = opt.init_state(fakes.SMALL, x)
            start = float(jnp.sum((x - shift) ** 2))
            for step in range(4):
                move, state = opt.update(fakes.SMALL, params, state, x, 2 * (x - shift))
                x = x + move
                expected = meta_loss.log_gap(float(jnp.sum((x - shift) ** 2)), start)
                assert got[lane, sign, step] == pytest.approx(expected, abs=2e-5)
    # A start shared by both signs, then one evaluation per trajectory and step.
    assert list(first.evaluations) == [1 + 2 * 2] * 2 and list(second.evaluations) == [4, 4]
    assert len(pool.requests) == 2 * 5 + 2 * 4
    assert len({r.request_id for r in pool.requests}) == len(pool.requests)
    assert all(r.x.dtype == np.float64 and r.budget > 0 for r in pool.requests)
    np.testing.assert_allclose(first.seconds, 0.25 * first.evaluations)


def test_analytic_unroll_is_algorithm_1(theta: np.ndarray) -> None:
    config = fakes.analytic()
    weights = weights_of(theta, 2)
    window = run(unrolls.AnalyticUnroll(config, seed=5), weights, None, [7, 8], 3)
    layout = unrolls.parameter_layout(config)
    family = analytic.family("quadratic")
    for lane, episode in enumerate((7, 8)):
        data, start = analytic.make("quadratic", 4, analytic.task_key(5, episode))
        for sign in range(2):
            x, state = start, opt.init_state(fakes.SMALL, start)
            for step in range(3):
                gradient = jax.grad(family.value, argnums=1)(data, x)
                params = layout.unflatten(weights[lane, sign])
                move, state = opt.update(fakes.SMALL, params, state, x, gradient)
                x = x + move
                expected = meta_loss.log_gap(family.value(data, x), family.value(data, start))
                assert window.losses[lane, sign, step] == pytest.approx(float(expected), abs=1e-4)
    assert window.mask.all() and not window.failed.any()


def test_a_fresh_lane_does_not_disturb_its_neighbour(theta: np.ndarray) -> None:
    for unroll in (
        unrolls.AnalyticUnroll(fakes.analytic(), seed=5),
        unrolls.PooledUnroll(fakes.served(), fakes.Source(), fakes.Pool()),
    ):
        weights = weights_of(theta, 2)
        first = run(unroll, weights, None, [3, 4], 2)
        apart = run(unroll, weights, first.arrays, [None, None], 2)
        mixed = run(unroll, weights, first.arrays, [None, 4], 2)
        np.testing.assert_array_equal(mixed.losses[0], apart.losses[0])
        np.testing.assert_array_equal(mixed.losses[1], first.losses[1])  # the same episode again
        assert list(mixed.evaluations) == [4, 5]


def test_a_diverged_trajectory_is_scored_at_the_cap_and_masks_the_rest(theta: np.ndarray) -> None:
    def fail(request: LossRequest) -> str | None:
        # Lane 1 (shift 5), minus trajectory, second step: requests 1-2 are starts, 3-6 step one.
        return "nonfinite" if request.request_id == 10 else None

    pool = fakes.Pool(fail)
    unroll = unrolls.PooledUnroll(fakes.served(), fakes.Source(), pool)
    window = run(unroll, weights_of(theta, 2), None, [3, 4], 4)
    assert list(window.failed) == [False, True]
    np.testing.assert_array_equal(window.mask, [[True] * 4, [True, True, False, False]])
    assert window.losses[1, 1, 1] == meta_loss.CAP
    assert window.losses[1, 0, 1] < meta_loss.CAP  # the other sign keeps its real score
    assert list(window.evaluations) == [9, 5]  # no evaluation is spent on a failed lane
    again = run(unroll, weights_of(theta, 2), window.arrays, [None, 6], 2)
    assert not again.failed.any() and np.isfinite(again.losses).all()


def test_a_start_that_fails_scores_nothing(theta: np.ndarray) -> None:
    pool = fakes.Pool(lambda request: "nonfinite" if request.request_id == 1 else None)
    unroll = unrolls.PooledUnroll(fakes.served(), fakes.Source(), pool)
    window = run(unroll, weights_of(theta, 2), None, [3, 4], 2)
    assert list(window.failed) == [True, False]
    assert not window.mask[0].any() and window.mask[1].all()


def test_weights_that_explode_never_reach_the_pool(theta: np.ndarray) -> None:
    pool = fakes.Pool()
    unroll = unrolls.PooledUnroll(fakes.served(), fakes.Source(), pool)
    bad = np.asarray(weights_of(theta, 2)).copy()
    bad[0, 1] = np.nan
    window = run(unroll, jnp.asarray(bad), None, [3, 4], 3)
    assert list(window.failed) == [True, False]
    assert window.losses[0, 1, 0] == meta_loss.CAP and list(window.mask[0]) == [True, False, False]
    assert all(np.isfinite(request.x).all() for request in pool.requests)
    analytic = unrolls.AnalyticUnroll(fakes.analytic(), seed=5)
    window = run(analytic, jnp.asarray(bad), None, [3, 4], 3)
    assert list(window.failed) == [True, False]
    assert window.losses[0, 1, 0] == meta_loss.CAP and list(window.mask[0]) == [True, False, False]
    assert np.isfinite(np.asarray(window.arrays.x)).all()  # the state before the failure is kept


def test_a_request_that_is_given_up_ends_its_lane_unscored(theta: np.ndarray) -> None:
    """From the step on that nothing is known of, for both signs; the other lane goes on."""
    seen: list[int] = []

    def fail(request: LossRequest) -> LossUnavailable | None:
        seen.append(request.request_id)
        return LossUnavailable("poison") if len(seen) in (1, 9) else None

    pool = fakes.Pool(fail)
    unroll = unrolls.PooledUnroll(fakes.served(), fakes.Source(), pool)
    window = run(unroll, weights_of(theta, 3), None, [3, 4, 5], 2)
    assert window.unavailable == {0: "poison", 1: "poison"}  # at its start; at its second step
    assert window.mask.tolist() == [[False, False], [True, False], [True, True]]
    assert window.failed.tolist() == [True, True, False]
    assert np.isfinite(window.losses).all()


def test_no_worker_at_all_is_an_error_not_a_hang(theta: np.ndarray) -> None:
    pool = fakes.Pool(lambda request: NoWorkers("nobody has answered"))
    unroll = unrolls.PooledUnroll(fakes.served(), fakes.Source(), pool)
    with pytest.raises(NoWorkers, match="nobody has answered"):
        run(unroll, weights_of(theta, 1), None, [3], 2)


@pytest.mark.parametrize(
    "unroll, optimizer",
    [
        (unrolls.PooledUnroll(fakes.served(), fakes.Source(), fakes.Pool()), fakes.SMALL),
        (unrolls.AnalyticUnroll(fakes.analytic(optimizer=PLUS_FORM), seed=5), PLUS_FORM),
    ],
    ids=["paper", "plus"],
)
def test_lanes_come_back_from_a_checkpoint(
    tmp_path: Path, unroll: unrolls.Unroll, optimizer: OptimizerConfig
) -> None:
    """A second window after saving and loading is the second window without."""
    layout = unrolls.parameter_layout(fakes.analytic(optimizer=optimizer))
    params = opt.init_params(optimizer, jax.random.PRNGKey(1))
    weights = weights_of(layout.flatten(params), 2)
    first = run(unroll, weights, None, [3, 9], 2)
    expected = run(unroll, weights, first.arrays, [None, 4], 2)
    named = base.arrays_to_names(first.arrays)
    assert all(array.size for array in named.values())
    checkpoint.save(tmp_path, 1, named, {})
    loaded = base.arrays_from_names(checkpoint.load(tmp_path / "1").arrays)
    shapes = [np.shape(leaf) for leaf in jax.tree_util.tree_leaves(loaded)]
    assert shapes == [np.shape(leaf) for leaf in jax.tree_util.tree_leaves(first.arrays)]
    found = run(unroll, weights, loaded, [None, 4], 2)
    np.testing.assert_array_equal(found.losses, expected.losses)


def test_large_problems_go_lane_by_lane_with_the_same_result(theta: np.ndarray) -> None:
    config = fakes.served()
    layout = unrolls.parameter_layout(config)
    weights = weights_of(theta, 2)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 2, 6)), jnp.float32)
    state = base.batched_state(config, x)

    def propose(vector: Any, x: Any, gradient: Any, state: Any) -> Any:
        return base.propose(config, layout, vector, x, gradient, state)

    small = pooled._over_lanes(propose, 6)(weights, x, 2 * x, state)
    large = pooled._over_lanes(propose, 500)(weights, x, 2 * x, state)
    for one, other in zip(jax.tree_util.tree_leaves(small), jax.tree_util.tree_leaves(large)):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)
