"""The tail: the log of a function's mean gap, by hand, by autodiff, and when tasks fail."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.config import (
    AnalyticTask,
    ClassicalTask,
    ConfigError,
    Estimator,
    MetaLoss,
    MetaOptimizer,
    Phase,
    TrainConfig,
)
from optimus.meta.fused import lanes as lanes_lib
from optimus.meta.fused import program as programs
from optimus.meta.fused import tail
from optimus.meta.fused.trainer import Trainer
from optimus.meta.fused.unroll import unroll
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.tasks import distribution
from optimus.tasks.draws import domain_key
from tests.optimus.meta import test_fused as these

pytestmark = pytest.mark.slow

QUICK = AdafactorMlpConfig(hidden=4, step_mult=0.1)  # compiles sooner than Optimus
TWO = ClassicalTask(functions=("sphere", "rosenbrock"), sizes=(4,))


def with_tail(kind: str, share: float, task: ClassicalTask | None = None, **changes) -> TrainConfig:
    """The tiny configuration of the fused trainer's tests."""
    plain = these.config(kind, task=task, optimizer=QUICK)
    estimator = dataclasses.replace(plain.estimator, tail=share, **changes)
    return dataclasses.replace(plain, estimator=estimator)


def deal_of(lanes: int = 6) -> distribution.Deal:
    """Two functions with half the lanes each."""
    return distribution.deal(TWO, 4, lanes)


# ---------------------------------------------------------------------------------------- weights


def test_weights_are_the_derivative_of_the_log_of_the_mean() -> None:
    scores = jnp.asarray(np.random.default_rng(0).normal(0.0, 3.0, (6, 1, 4)), jnp.float32)

    def log_means(scores: jax.Array) -> jax.Array:
        """Sum over both groups of n log mean r; over steps."""
        halves = (jnp.log(jnp.mean(jnp.exp(half), axis=0)) for half in jnp.split(scores, 2))
        return 3 * sum(jnp.sum(half) for half in halves)

    found = tail.weights(scores, jnp.ones(6, bool), jnp.zeros(6, int), deal_of(), 1.0)
    np.testing.assert_allclose(found, jax.grad(log_means)(scores), rtol=1e-5)
    half = tail.weights(scores, jnp.ones(6, bool), jnp.zeros(6, int), deal_of(), 0.5)
    np.testing.assert_allclose(half, 0.5 + 0.5 * found, rtol=1e-6)


def test_to_first_order_signs_differ_by_what_the_log_of_the_mean_does() -> None:
    random = np.random.default_rng(1)
    middle, change = random.normal(0.0, 2.0, (3, 1)), 1e-2 * random.normal(size=(3, 1))
    both = np.stack([middle + change, middle - change], axis=1)
    dealt = distribution.deal(AnalyticTask(dim=2), 2, 3)
    weights = tail.weights(
        jnp.asarray(both, jnp.float32), jnp.ones(3, bool), jnp.zeros(3, int), dealt, 1.0
    )
    plus, minus = (3 * np.log(np.mean(np.exp(both[:, sign]), axis=0)) for sign in (0, 1))
    found = np.sum(np.asarray(weights)[:, 0] * (both[:, 0] - both[:, 1]), axis=0)
    np.testing.assert_allclose(found, plus - minus, atol=1e-4)
    assert abs(plus - minus) > 1e-3


def test_a_mean_is_over_those_as_far_as_oneself_and_well() -> None:
    scores = np.zeros((6, 1, 1), np.float32)
    scores[:, 0, 0] = np.log([1.0, 3.0, 100.0, 2.0, 2.0, np.nan])
    good = jnp.asarray([True] * 5 + [False])
    age = jnp.asarray([4, 4, 0, 1, 1, 1])
    found = np.asarray(tail.weights(jnp.asarray(scores), good, age, deal_of(), 1.0))[:, 0, 0]
    np.testing.assert_allclose(found, [0.5, 1.5, 1.0, 1.0, 1.0, 1.0], rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -200.0, 5.0])
def test_whatever_the_scores_weights_are_finite(value: float) -> None:
    scores = jnp.full((6, 2, 3), value, jnp.float32).at[0].set(5.0).at[1].set(-60.0)
    for good in (jnp.ones(6, bool), jnp.zeros(6, bool)):
        found = np.asarray(tail.weights(scores, good, jnp.zeros(6, int), deal_of(), 1.0))
        assert np.isfinite(found).all() and (found >= 0).all() and (found <= 3.0001).all()


# --------------------------------------------------------------------------------------- estimates


def test_back_propagation_is_autodiff_of_the_log_of_the_mean() -> None:
    trainer = Trainer(with_tail("bptt", 1.0, task_clip=0.0), devices=1)
    program = trainer._program(3)
    lanes = jax.tree_util.tree_map(lambda a: a[0], trainer._lanes[3])
    theta = jnp.asarray(trainer.theta)
    slots = program.deal.slots

    @jax.jit
    def log_mean(theta: jax.Array) -> jax.Array:
        state = jax.tree_util.tree_map(lambda a: a[:, 0], lanes.state)
        values, *_ = unroll(
            trainer.rule, slots, theta, lanes.data, lanes.x[:, 0], state, lanes.mask, 2, 1
        )
        return 4 * jnp.mean(jnp.log(jnp.mean(values / lanes.first[:, None], axis=0)))

    weights = jnp.broadcast_to(theta, (4, 1, theta.size))
    gradient = jax.jit(functools.partial(programs._window, program))(weights, lanes)[0]
    expected = jax.grad(log_mean)(theta)
    scale = float(jnp.abs(expected).max())
    np.testing.assert_allclose(jnp.sum(gradient, axis=(0, 1)), expected, atol=1e-4 * scale)
    found = trainer.update()
    assert float(found["norm"]) == pytest.approx(float(jnp.linalg.norm(expected)) / 4, rel=1e-3)


def test_a_function_with_one_task_has_no_tail() -> None:
    """Its mean is itself; with two tasks each, the estimate is another. The tail alone decides in
    which windows episodes end, so the first update is compared, at the lanes of both."""
    task = dataclasses.replace(TWO, functions=("ackley", "rosenbrock", "sphere", "zakharov"))
    for chosen, same in ((task, True), (TWO, False)):
        on, off = (
            Trainer(with_tail("nres_pathwise", share, chosen, difference_clip=1.0), devices=1)
            for share in (1.0, 0.0)
        )
        on._lanes[4] = off._lanes[4]._replace(age=jnp.zeros((1, 4), jnp.int32))
        norms = [float(trainer.update()["norm"]) for trainer in (on, off)]
        assert np.isfinite(norms).all() and min(norms) > 0.0
        assert (norms[0] == pytest.approx(norms[1], rel=1e-4)) == same


def test_without_a_tail_nothing_of_it_is_in_a_run() -> None:
    on, off = (Trainer(with_tail("bptt", share), devices=1) for share in (1.0, 0.0))
    assert off._lanes[3].age is None
    assert len(on.arrays()) == len(off.arrays()) + 1


def test_tasks_that_fail_are_in_no_mean() -> None:
    """With half of the tasks lost, the estimate is that of the others as a group of their own."""
    program, lanes = these.diverging("nres_pathwise")
    estimator = dataclasses.replace(program.phase.estimator, tail=1.0)
    program = program._replace(phase=dataclasses.replace(program.phase, estimator=estimator))
    theta = jnp.asarray(Trainer(these.config("nres_pathwise"), devices=1).theta)
    run = jax.jit(functools.partial(programs._group, program))
    bad = these.with_bad(lanes, [0.0, np.nan, 0.0, 1e31])
    totals = {}
    for name, age in (("failed", [0, 0, 0, 0]), ("apart", [0, 1, 0, 2])):
        group = jax.tree_util.tree_map(lambda a: jnp.asarray(a)[0], bad)
        group = group._replace(age=jnp.asarray(age, jnp.int32))
        keys = jax.random.split(jax.random.PRNGKey(1), 4)
        total, after, scored, events = run(theta, group, keys)
        totals[name] = np.asarray(total)
        assert (int(events[0]), int(events[3])) == (2, 2) and np.isfinite(float(scored))
        assert np.asarray(after.age)[[1, 3]].tolist() == [0, 0]
    assert np.isfinite(totals["failed"]).all() and np.abs(totals["failed"]).max() > 0.0
    np.testing.assert_allclose(totals["failed"], totals["apart"], rtol=1e-5, atol=1e-6)


# ----------------------------------------------------------------------------------------- episodes


def test_episodes_of_a_function_end_together() -> None:
    config = with_tail("bptt", 1.0, TWO, shortest=2, horizon=12)
    program = Trainer(config, devices=1)._program(4)
    estimator, dealt = config.estimator, program.deal

    def begun(seed: int) -> lanes_lib.Lanes:
        keys = jax.random.split(jax.random.PRNGKey(seed), 4)
        return lanes_lib.start(program.rule, dealt, estimator, keys)

    lengths = np.stack([begun(seed).left for seed in range(6)])
    assert (lengths[:, 0] == lengths[:, 1]).all() and (lengths[:, 2] == lengths[:, 3]).all()
    assert len(np.unique(lengths)) > 1
    old = begun(0)._replace(left=jnp.asarray([6, 6, 0, 0]), age=jnp.asarray([3, 3, 6, 6]))
    new = begun(1)
    # One of the first two failed; the last two have ended.
    after = lanes_lib.replace(dealt, jnp.asarray([False, True, True, True]), new, old)
    assert np.asarray(after.left).tolist() == [6, 6, *np.asarray(new.left)[2:].tolist()]
    assert np.asarray(after.age).tolist() == [3, 0, 0, 0]
    both = lanes_lib.replace(dealt, jnp.asarray([True, True, False, False]), new, old)
    assert np.asarray(both.left).tolist() == [*np.asarray(new.left)[:2].tolist(), 0, 0]
    first = programs.first_lanes(program, domain_key(0, "a"))
    assert np.asarray(first.left[0]).tolist() in ([2, 2, 4, 4], [2, 2, 2, 2])


def test_a_phase_with_a_tail_resumes_to_the_bit() -> None:
    plain = these.config("bptt", task=TWO, optimizer=QUICK)
    estimator = dataclasses.replace(plain.estimator, tail=0.5)
    phases = tuple(
        Phase(updates, each, MetaOptimizer(batch=4), plain.layout)
        for updates, each in ((1, plain.estimator), (4, estimator))
    )
    config = dataclasses.replace(plain, updates=5, phases=phases)
    whole, first = Trainer(config, devices=1), Trainer(config, devices=1)
    for _ in range(5):
        whole.update()
    for _ in range(3):
        first.update()
    second = Trainer(config, devices=1)
    second.load(first.arrays())
    for _ in range(2):
        second.update()
    assert these.bits(second) == these.bits(whole)
    assert whole.counts["ended"] > 0


# ------------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_tail_is_a_share(share: float) -> None:
    with pytest.raises(ConfigError, match=r"estimator\.tail: got .*, want a share in \[0, 1\]"):
        Estimator(tail=share)


@pytest.mark.parametrize("kind", ["ratio", "raw"])
def test_a_tail_needs_a_logarithm_to_take_the_place_of(kind: str) -> None:
    plain = dataclasses.replace(with_tail("pes", 1.0), optimizer=these.TINY)
    assert plain.fused_only == "estimator.tail"
    with pytest.raises(ConfigError, match=rf"estimator\.tail: .* meta_loss\.kind '{kind}'"):
        dataclasses.replace(plain, meta_loss=MetaLoss(kind))
