"""Supervision by the distance to the minimiser: where minima are, and that following them leaves
local ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.config import (
    AnalyticTask,
    ClassicalTask,
    ConfigError,
    Estimator,
    Evaluation,
    Layout,
    MetaLoss,
    MetaOptimizer,
    Phase,
)
from optimus.meta.estimators import pathwise
from optimus.meta.fused import group
from optimus.meta.fused.trainer import Trainer
from optimus.meta.fused.unroll import unroll
from optimus.model import optimizer, trajectory_features
from optimus.model.config import PLUS
from optimus.problems import groups
from optimus.tasks import distribution
from tests.one_phase import one_phase

pytestmark = pytest.mark.slow

TINY = dataclasses.replace(PLUS, dim=8, heads=2, encoders=1)


def test_the_minimiser_of_every_task_is_where_its_loss_is_least() -> None:
    task = ClassicalTask(
        sizes=(10,), generated=0.3, shift=0.5, rotate=0.5, x_scale=2.0, f_scale=10.0
    )
    assigned = distribution.assign(task, 10, 120)

    @jax.jit
    def compute(keys: jax.Array) -> tuple[jax.Array, ...]:
        data, start, mask = distribution.sample(assigned, keys)
        at = distribution.minimisers(assigned.segments, data)
        assert at.shape == start.shape == mask.shape
        there = distribution.values_and_gradients(assigned.segments, data, at)
        return *there, *distribution.values_and_gradients(assigned.segments, data, start), mask

    found = compute(jax.random.split(jax.random.PRNGKey(0), 120))
    values, gradients, first, slopes, mask = (np.asarray(each) for each in found)
    # float32: Trid and Perm cancel large terms.
    assert np.all(np.abs(values) <= 1e-4 * np.maximum(first, 1.0)), dict(
        zip(assigned.names, values)
    )
    norms, before = (np.linalg.norm(np.where(mask, g, 0.0), axis=1) for g in (gradients, slopes))
    smooth = np.asarray(
        [name != "ackley" for name in assigned.names]
    )  # its minimum is a cone's tip
    assert np.all(norms[smooth] <= 1e-3 * np.maximum(before[smooth], 1.0))


def test_a_family_without_a_known_minimiser_is_refused_by_name() -> None:
    assigned = distribution.assign(AnalyticTask(family="quadratic"), 10, 2)
    data, *_ = distribution.sample(assigned, jax.random.split(jax.random.PRNGKey(0), 2))
    with pytest.raises(ValueError, match="minimiser of 'quadratic' is not known"):
        distribution.minimisers(assigned.segments, data)


def test_the_guide_is_for_back_propagation_on_tasks_with_known_minima() -> None:
    with pytest.raises(ConfigError, match=r"estimator\.guide: got 1\.0 with 'nres'"):
        Estimator(kind="nres", guide=1.0)
    with pytest.raises(ConfigError, match=r"estimator\.guide"):
        Estimator(kind="bptt", guide=-1.0)
    with pytest.raises(ConfigError, match=r"estimator\.guide"):
        one_phase(
            name="x",
            updates=1,
            task=AnalyticTask(),
            estimator=Estimator(kind="bptt", guide=1.0),
            layout=Layout(1, 1, 20, 0),
        )


def test_tasks_without_a_known_minimiser_are_not_guided() -> None:
    task = ClassicalTask(sizes=(10,), generated=0.1, networks=0.1)
    estimator = Estimator(kind="bptt", truncation=2, horizon=4, guide=10.0)
    phase = Phase(1, estimator, MetaOptimizer(batch=40), Layout(1, 1, 40, 0))
    assigned = distribution.assign(task, 10, 40)
    no_rule: Any = None
    program, supervision = group.compiled_for(no_rule, phase, MetaLoss(), assigned, 1)
    found: dict[str, set[float]] = {}
    weights = np.asarray(group._weights(program, supervision.weight))
    for name, weight in zip(program.assignment.names, weights):
        found.setdefault(name, set()).add(float(weight))
    assert set(found) == {*groups.FUNCTION_NAMES, "generated", "network"}
    assert found.pop("network") == {0.0}
    assert all(weights == {10.0} for weights in found.values())


def test_its_derivative_points_at_the_minimiser_and_fades_out_near_it() -> None:
    slope = jax.grad(lambda d: pathwise.log_distance(d**2, 1e-4))
    assert float(slope(2.0)) == pytest.approx(0.5, rel=1e-5)
    assert float(slope(1e-6)) * 1e-6 < 1e-3
    assert float(slope(0.0)) == 0.0


def _distance_before_and_after(guide: float) -> tuple[float, float]:
    """Mean distance to the minimum after ten steps on Rastrigin's function, whose slopes point
    into twenty local minima per coordinate; before and after sixty updates."""
    estimator = Estimator(kind="bptt", truncation=10, horizon=10, guide=guide)
    config = one_phase(
        name="x",
        updates=60,
        task=ClassicalTask(functions=("rastrigin",), sizes=(4,)),
        optimizer=TINY,
        estimator=estimator,
        meta=MetaOptimizer(batch=32, learning_rate=1e-2),
        layout=Layout(1, 1, 32, 0),
        evaluation=Evaluation(tasks=2, steps=2),
    )
    trainer = Trainer(config)
    assigned = distribution.assign(config.task, 4, 32)
    data, x, mask = distribution.sample(assigned, jax.random.split(jax.random.PRNGKey(1), 32))
    state = jax.vmap(trainer.rule.init_state)(x)
    goal = distribution.minimisers(assigned.segments, data)

    @jax.jit
    def distance(theta: jax.Array) -> jax.Array:
        *_, end, _ = unroll(trainer.rule, assigned.segments, theta, data, x, state, mask, 10)
        return jnp.mean(jnp.linalg.norm(end - goal, axis=1))

    before = distance(jnp.asarray(trainer.theta))
    for _ in range(config.updates):
        trainer.update()
    return float(before), float(distance(jnp.asarray(trainer.theta)))


def test_it_leads_out_of_local_minima_where_the_loss_itself_does_not() -> None:
    before, alone = _distance_before_and_after(guide=0.0)
    same, guided = _distance_before_and_after(guide=1e6)
    assert same == before
    assert guided < 0.9 * before < 0.95 * before < alone, (before, alone, guided)


def test_place_tells_where_a_point_is_whatever_the_others_are() -> None:
    config = dataclasses.replace(TINY, place=True)
    assert set(trajectory_features.PLACE_NAMES) <= set(optimizer.feature_names(config))
    x = jnp.asarray([0.0, 1.0, -30.0, 0.0])
    channels = trajectory_features.place(x)
    np.testing.assert_allclose(channels[1], np.tanh([0.0, 1 / 3, -10.0, 0.0]), rtol=1e-6)
    params = optimizer.init_params(config, jax.random.PRNGKey(0))
    gradient = jnp.ones(4)
    steps = [
        optimizer.update(config, params, optimizer.init_state(config, at), at, gradient)[0]
        for at in (x, x + 1.0, x.at[1].set(jnp.nan))
    ]
    assert not np.allclose(steps[0], steps[1])  # a shift shows
    assert np.all(np.isnan(steps[2]))
