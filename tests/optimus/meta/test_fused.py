"""The fused trainer: its estimates by hand, resets, failures that move nothing, exact resume."""

import dataclasses
import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch import runners
from optimus.config import (
    ESTIMATORS,
    AnalyticTask,
    ClassicalTask,
    ConfigError,
    Estimator,
    Evaluation,
    Layout,
    MetaLoss,
    MetaOptimizer,
    Phase,
    PhysicsTask,
    from_dict,
    to_dict,
)
from optimus.meta import update as meta_update
from optimus.meta.fused import group
from optimus.meta.fused import lanes as lanes_lib
from optimus.meta.fused import program as programs
from optimus.meta.fused.trainer import Trainer
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.model.config import OptimizerConfig
from optimus.rundir.checkpoint import CheckpointError
from optimus.tasks.distribution import Assignment, Source
from optimus.tasks.draws import domain_key
from tests.one_phase import one_phase

TINY = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)


def config(kind="bptt", task=None, lanes=4, groups=1, **changes):
    window = 6 if kind == "full_es" else 2
    estimator = Estimator(kind=kind, truncation=window, horizon=6, sigma=0.05)
    values = dict(
        name="tiny",
        task=task or AnalyticTask(family="quadratic", dim=3),
        updates=8,
        optimizer=TINY,
        estimator=estimator,
        meta=MetaOptimizer(batch=lanes * groups, learning_rate=1e-3),
        layout=Layout(1, groups, lanes, 0),
        evaluation=Evaluation(tasks=4, steps=5),
        checkpoint_every=4,
    )
    return one_phase(**{**values, **changes})


def bits(trainer):
    return {name: array.tobytes() for name, array in trainer.arrays().items()}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_estimator_moves_the_weights(kind):
    trainer = Trainer(config(kind), devices=1)
    before = trainer.theta
    for _ in range(2):
        found = trainer.update()
        assert np.isfinite(float(found["meta_loss"])) and float(found["norm"]) > 0
    assert np.isfinite(trainer.theta).all() and np.abs(trainer.theta - before).max() > 1e-4
    signs, window = (1 if kind == "bptt" else 2), (6 if kind == "full_es" else 2)
    assert trainer.inner_steps == 2 * 4 * signs * window


@functools.cache
def window_alone(kind):
    """(theta, a lane) -> mean meta-loss of its next window, unrolled on its own; its gradient."""
    trainer = Trainer(config(kind), devices=1)
    value = trainer._compiled_for(3)[0].assignment.segments[0].value

    def run(theta, lane):
        data, x, state, mask, first = lane
        params = trainer.rule.layout.unflatten(theta)
        losses = []
        for _ in range(2):
            gradient = jax.lax.stop_gradient(jax.grad(value, argnums=1)(data, x))
            step, state = trainer.rule.update(params, state, x, gradient, mask)
            x = x + step
            losses.append(jnp.log(value(data, x)) - jnp.log(first))
        return jnp.mean(jnp.stack(losses))

    return jax.jit(run), jax.jit(jax.grad(run))


def one_lane(trainer, lane, sign=0):
    """What `window_alone` reads."""
    lanes = jax.tree_util.tree_map(lambda a: np.asarray(a)[0], trainer._lanes[3])
    data = {name: leaf[lane] for name, leaf in lanes.data[0].items()}
    state = jax.tree_util.tree_map(lambda a: a[lane, sign], lanes.state)
    return data, lanes.x[lane, sign], state, lanes.mask[lane], lanes.first[lane]


def test_back_propagation_is_that_of_each_task_alone():
    trainer = Trainer(config("bptt"), devices=1)
    total = np.zeros(trainer.rule.layout.size)
    for lane in range(4):
        found = window_alone("bptt")[1](trainer.theta, one_lane(trainer, lane))
        gradient = np.asarray(found, np.float64)
        total += gradient / max(1.0, np.linalg.norm(gradient)) / 4
    found = trainer.update()
    assert float(found["norm"]) == pytest.approx(np.linalg.norm(total), rel=1e-3)
    meta = trainer.config.phases[0].meta
    start = meta_update.init(meta, Trainer(config("bptt"), devices=1).theta)
    expected, _ = meta_update.update(meta, start, total.astype(np.float32))
    np.testing.assert_allclose(trainer._meta.mu, expected.mu, rtol=2e-2, atol=1e-5)


def test_pes_credits_the_sum_of_the_noise_and_its_estimate_is_the_formula():
    trainer = Trainer(config("pes"), devices=1)
    trainer.update()
    lanes = jax.tree_util.tree_map(lambda a: np.asarray(a[0]), trainer._lanes[3])
    theta, sigma = trainer.theta, 0.05
    key = jax.random.fold_in(_train_key(trainer), 1)
    total = np.zeros(theta.size)
    credits = []
    for lane in range(4):
        noise_key = jax.random.split(jax.random.fold_in(key, lane), 2)[0]
        noise = np.asarray(
            group.draw(trainer.config.phases[0].estimator, noise_key, theta.size), np.float64
        )
        credit = noise if lanes.fresh[lane] else noise + lanes.credit[lane]
        credits.append(credit)
        losses = []
        for sign, way in enumerate((1.0, -1.0)):
            at = (theta + way * noise).astype(np.float32)
            losses.append(float(window_alone("pes")[0](at, one_lane(trainer, lane, sign))))
        total += credit * (losses[0] - losses[1]) / (2 * sigma**2) / 4
    going_on = ~lanes.fresh & (lanes.left > 2)
    assert going_on.any() and lanes.fresh.any()  # staggered: one episode was a window long
    found = trainer.update()
    assert float(found["norm"]) == pytest.approx(np.linalg.norm(total), rel=1e-2)
    after = np.asarray(trainer._lanes[3].credit[0])
    for lane in np.flatnonzero(going_on):
        np.testing.assert_allclose(after[lane], credits[lane], atol=1e-6)


def _train_key(trainer):
    return domain_key(trainer.config.seed, "train")


def test_nres_keeps_its_noise_for_an_episode():
    trainer = Trainer(config("nres"), devices=1)
    trainer.update()
    first = trainer._lanes[3]
    trainer.update()
    second = trainer._lanes[3]
    same = np.all(np.asarray(first.credit) == np.asarray(second.credit), axis=-1)
    np.testing.assert_array_equal(same, ~np.asarray(first.fresh | second.fresh))
    assert same.any() and not same.all()


def test_episodes_end_at_their_horizon_and_are_staggered():
    trainer = Trainer(config("bptt"), devices=1)
    assert np.asarray(trainer._lanes[3].left).tolist() == [[2, 4, 6, 2]]
    ended = []
    for _ in range(4):
        trainer.update()
        ended.append(trainer.counts["ended"])
        left = np.asarray(trainer._lanes[3].left)
        assert ((left > 0) & (left <= 6) & (left % 2 == 0)).all()
    assert ended == [2, 3, 4, 6]
    assert trainer.counts["failed"] == trainer.counts["skipped"] == 0


def test_random_horizons_are_multiples_of_the_window():
    estimator = Estimator(kind="bptt", truncation=5, horizon=100, shortest=20)
    keys = jax.random.split(jax.random.PRNGKey(0), 400)
    lengths = np.asarray(jax.vmap(functools.partial(lanes_lib.episode_length, estimator))(keys))
    assert (lengths.min(), lengths.max()) == (20, 100) and (lengths % 5 == 0).all()
    assert 0.35 < np.mean(lengths < 45) < 0.65  # log-uniform: half below the geometric mean


# ---------------------------------------------------------------------------------------- failures


@functools.cache
def diverging(kind):
    """A program and its first lanes, with tasks that become data["bad"], if that is not 0, once
    the start is left."""
    chosen = Trainer(config(kind), devices=1)._compiled_for(3)[0]
    segment, source = chosen.assignment.segments[0], chosen.assignment.sources[0]

    def sample(keys):
        data, start = source.sample(keys)
        return {**data, "origin": start, "bad": jnp.zeros(4)}, start

    def value(data, x):
        away = jnp.any(x != data["origin"]) & (data["bad"] != 0.0)
        return jnp.where(away, data["bad"], segment.value(data, x))

    assigned = Assignment((segment._replace(name="bad", value=value),), (Source(sample, 0, 4),))
    program = chosen._replace(assignment=assigned)
    return program, programs.first_lanes(program, domain_key(0, "a"))


def with_bad(lanes, bad):
    data = {**lanes.data[0], "bad": jnp.asarray([bad], jnp.float32)}
    return lanes._replace(data=(data,))


@pytest.mark.parametrize(
    ("kind", "bad"),
    [("bptt", np.nan), ("bptt", np.inf), ("nres_pathwise", 2e30), ("pes", np.nan)],
)
def test_tasks_that_diverge_move_nothing_and_are_counted(kind, bad):
    trainer = Trainer(config(kind), devices=1)
    program, lanes = diverging(kind)
    lanes = with_bad(lanes, [bad] * 4)
    state, after, counts, found = programs.meta_step(
        program,
        trainer._compiled_for(3)[1],
        trainer.config.phases[0].meta,
        trainer._meta,
        lanes,
        programs.no_counts(),
        domain_key(0, "b"),
    )
    np.testing.assert_array_equal(state.theta, trainer.theta)
    assert int(counts.failed) == 4 and int(counts.skipped) == 0
    assert float(found["norm"]) == 0.0 and np.asarray(after.fresh).all()
    assert np.isfinite(np.asarray(after.x)).all()


def test_a_task_that_diverges_leaves_the_others_what_they_are():
    trainer = Trainer(config("bptt"), devices=1)
    program, lanes = diverging("bptt")
    run = jax.jit(functools.partial(group.update_of_group, program, trainer._compiled_for(3)[1]))
    results = []
    for bad in ([0.0] * 4, [0.0, np.nan, 0.0, np.nan]):
        one = jax.tree_util.tree_map(lambda a: np.asarray(a)[0], with_bad(lanes, bad))
        keys = jax.random.split(jax.random.PRNGKey(1), 4)
        total, _, _, events = run(jnp.asarray(trainer.theta), one, keys)
        results.append((np.asarray(total), np.asarray(events)))
    assert (results[0][1][0], results[1][1][0], results[1][1][3]) == (0, 2, 2)  # failed, good
    assert np.isfinite(results[1][0]).all() and np.abs(results[1][0]).max() > 0
    assert not np.allclose(results[0][0], results[1][0])


# ------------------------------------------------------------------------------------ whole trainer

CLASSICAL = ClassicalTask(
    functions=("sphere", "rosenbrock"), generated=0.25, sizes=(4, 6), shift=0.5
)


def two_phases():
    layout = Layout(1, 1, 4, 0)
    phases = (
        Phase(3, Estimator(kind="bptt", truncation=2, horizon=4), MetaOptimizer(batch=4), layout),
        Phase(
            None,
            Estimator(kind="pes", truncation=2, horizon=8, shortest=4),
            MetaOptimizer(batch=4, cosine=5, warmup=2, clip="value"),
            layout,
            dataclasses.replace(CLASSICAL, sizes=(6,), shift=0.25),
        ),
    )
    return config(task=CLASSICAL, phases=phases, meta_loss=MetaLoss("log_ratio", 1e-12))


@pytest.mark.parametrize("stop", [pytest.param(2, marks=pytest.mark.slow), 5])
def test_a_resumed_run_is_the_run_that_never_stopped(stop):
    whole = Trainer(two_phases(), devices=1)
    for _ in range(7):
        whole.update()
    first = Trainer(two_phases(), devices=1)
    for _ in range(stop):
        first.update()
    second = Trainer(two_phases(), devices=1)
    second.load(first.arrays())
    assert second.step == stop
    for _ in range(7 - stop):
        second.update()
    assert bits(second) == bits(whole)
    assert whole.phase == 1 and whole.step == 7
    assert set(whole._lanes) == {6} and set(whole.validate()["sizes"]) == {"4", "6"}


@pytest.mark.parametrize("phases", [False, True])
def test_the_average_of_the_weights_is_what_is_kept(phases):
    """And training goes on from the weights themselves: it is the run without an average."""
    base = two_phases() if phases else config("bptt")
    averaging = dataclasses.replace(base, weight_average=0.5)
    plain, averaged = Trainer(base, devices=1), Trainer(averaging, devices=1)
    want = plain.theta.astype(np.float64)
    for step in range(1, 8):
        plain.update(), averaged.update()
        kept = min(0.5, step / (step + 9))
        want = kept * want + (1 - kept) * plain.theta
        assert np.array_equal(averaged.arrays()["adam/theta"], plain.theta)
        np.testing.assert_allclose(averaged.theta, want, rtol=1e-5, atol=1e-7)
    assert np.abs(averaged.theta - plain.theta).max() > 1e-4
    kept = [array for name, array in averaged.arrays().items() if name.startswith("theta/")]
    assert np.array_equal(np.concatenate([array.ravel() for array in kept]), averaged.theta)
    assert averaged.validate()["gap"] != plain.validate()["gap"]

    resumed = Trainer(averaging, devices=1)
    resumed.load(averaged.arrays())
    assert bits(resumed) == bits(averaged)
    resumed.update(), averaged.update()
    assert bits(resumed) == bits(averaged)


def test_a_checkpoint_without_the_weights_beside_their_average_is_refused():
    averaging = Trainer(config("bptt", weight_average=0.5), devices=1)
    with pytest.raises(CheckpointError, match="has no array 'adam/theta'"):
        averaging.load(Trainer(config("bptt"), devices=1).arrays())


def test_phases_that_differ_in_numbers_alone_are_compiled_once():
    """And are different all the same: what Adam and the guide weigh comes in as numbers."""
    base = config("bptt", ClassicalTask(functions=("sphere",), sizes=(4,)))

    def phase(updates, rate, guide, radius):
        estimator = dataclasses.replace(base.phases[0].estimator, guide=guide, guide_radius=radius)
        meta = dataclasses.replace(
            base.phases[0].meta, learning_rate=rate, warmup=2, cosine=updates or 2
        )
        return Phase(updates, estimator, meta, base.phases[0].layout)

    programs._estimate.clear_cache()
    thetas = []
    for second in (
        phase(None, 1e-3, 5.0, 1e-4),
        phase(None, 2e-3, 5.0, 1e-4),
        phase(None, 1e-3, 50.0, 1e-4),
        phase(None, 1e-3, 5.0, 1.0),
    ):
        phases = (phase(1, 1e-3, 5.0, 1e-4), second)
        trainer = Trainer(dataclasses.replace(base, phases=phases, updates=3), devices=1)
        for _ in range(3):
            trainer.update()
        thetas.append(trainer.theta)
    assert programs._estimate._cache_size() == 1
    for k, one in enumerate(thetas):
        assert all(np.abs(one - other).max() > 1e-6 for other in thetas[:k])


def test_phases_survive_json():
    made = two_phases()
    assert from_dict(to_dict(made)) == made
    assert runners.default(made) == "fused"


@pytest.mark.parametrize(
    "other", [{"functions": ("sphere",)}, {"hold_out": ("valley",)}, {"networks": 0.5}]
)
def test_a_phase_has_no_other_functions_than_the_run(other):
    made = two_phases()
    strange = dataclasses.replace(made.phases[1], task=dataclasses.replace(CLASSICAL, **other))
    with pytest.raises(ConfigError, match=r"^phases\.1\.task: got other functions"):
        dataclasses.replace(made, phases=(made.phases[0], strange))


def test_validation_is_the_same_every_time_and_by_member():
    trainer = Trainer(config(task=CLASSICAL), devices=1)
    first, second = trainer.validate(), trainer.validate()
    assert first == second
    assert set(first["members"]) == {"sphere", "rosenbrock", "generated"}
    assert set(first["sizes"]) == {"4", "6"} and -12 <= first["gap"] <= 0


def test_adafactor_mlp_is_trained_by_the_same_program():
    made = config("nres", task=CLASSICAL, optimizer=AdafactorMlpConfig(step_mult=0.1))
    again = from_dict(to_dict(made))
    assert again == made and to_dict(made)["optimizer"]["kind"] == "adafactor_mlp"
    trainer = Trainer(again, devices=1)
    before = trainer.theta
    assert before.size == 197
    trainer.update()
    assert np.abs(trainer.theta - before).max() > 1e-5


def test_what_cannot_be_trained_here_is_refused():
    with pytest.raises(ConfigError, match="'physics' is no loss in JAX"):
        Trainer(config(task=PhysicsTask(), layout=Layout(1, 1, 4, 1)))


DEVICES = """
import jax, numpy as np
from tests.optimus.meta import test_fused as these
from optimus.meta.fused import program as programs
from optimus.meta.fused.trainer import Trainer
assert jax.device_count() == 2
chosen = these.config("nres", groups=2, lanes=2, weight_average=0.5)
both, one = (Trainer(chosen, devices=d) for d in (2, 1))
for _ in range(3):
    both.update(), one.update()
assert programs._estimate._cache_size() == 2  # each compiled once: an update leaves all in place
assert len(both._lanes[3].x.sharding.device_set) == 2, both._lanes[3].x.sharding
np.testing.assert_allclose(both.theta, one.theta, atol=2e-6)
print("agreed")
"""


def test_two_devices_agree_with_one():
    flags = f"--xla_force_host_platform_device_count=2 {os.environ['XLA_FLAGS']}"
    environment = dict(os.environ, XLA_FLAGS=flags)
    done = subprocess.run(
        [sys.executable, "-c", DEVICES],
        env={**environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0 and "agreed" in done.stdout, done.stderr[-2000:]
