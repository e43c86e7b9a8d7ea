"""The learner with a stream in memory and samples made by hand; no actor, no server."""

import dataclasses
import errno
import itertools
import json
import os

import numpy as np
import pytest

import learner.learner as learner_module
from learner.learner import LearnerError
from optimus.config import Estimator, config_hash
from optimus.meta import noise
from optimus.meta import update as meta_update
from optimus.meta.estimators import evolution
from optimus.meta.update import theta_from_arrays
from optimus.rundir import checkpoint
from optimus.rundir.checkpoint import CheckpointError
from optimus.wire import Sample, Session, Version, decode, encode, unpack
from tests.learner import ledger_audit as ledger
from tests.learner.bench import LANES, LAYOUT, THETA, WINDOW, WINDOWS, Bench, config

# ----------------------------------------------------------------------------------------- updates


def test_it_starts_with_the_initial_weights_and_a_checkpoint(bench):
    assert bench.learner.version == Version(epoch=1, step=0)
    np.testing.assert_array_equal(bench.learner.theta, THETA)
    saved = checkpoint.load(bench.run_dir / "checkpoints" / "0")
    np.testing.assert_array_equal(theta_from_arrays(saved.arrays, LAYOUT), THETA)


def test_each_batch_raises_the_version_and_moves_theta(bench):
    thetas = bench.updates(3)
    assert bench.learner.version == Version(epoch=1, step=3)
    assert len({THETA.tobytes(), *thetas}) == 4
    assert np.isfinite(bench.learner.theta).all()


def test_an_update_is_estimate_clip_and_adam(bench):
    """The first window: xi is the window's own noise."""
    sigma = bench.config.phases[0].estimator.sigma
    drawn, differences = [], []
    for data in bench.batch():
        sample = decode(Sample, data)
        drawn.append(noise.draw(3, sample.episode, 0, LAYOUT.size, sigma, "gaussian"))
        differences.append(evolution.mean_difference(sample.losses, sample.mask))
    gradient = evolution.estimate(np.stack(drawn), np.float32(differences), np.float32(sigma))
    state = meta_update.init(bench.config.phases[0].meta, THETA)
    expected, norm = meta_update.update(bench.config.phases[0].meta, state, gradient)

    bench.updates(1)
    np.testing.assert_array_equal(bench.learner.theta, expected.theta)
    (record,) = bench.records("update")
    assert record["gradient_norm"] == pytest.approx(norm, rel=1e-6)
    assert (record["step"], record["epoch"], record["evaluations"]) == (1, 1, 16)
    assert (record["loss_seconds"], record["staleness"], record["refused"]) == (2.0, 0, {})


def pathwise_samples(bench):
    """A batch as an actor of a pathwise estimator sends it, and its derivatives."""
    signs = bench.config.phases[0].estimator.signs
    samples, gradients = [], []
    for lane in range(LANES):
        random = np.random.default_rng([7, lane, bench.learner.version.step])
        gradients.append(random.normal(size=LAYOUT.size).astype(np.float32))
        losses = random.normal(size=(signs, WINDOW)).astype(np.float32)
        more = {"noise_checksum": noise.checksum(np.zeros(0, np.float32))} if signs == 1 else {}
        samples.append(
            bench.sample(lane, schema="pathwise/1", gradient=gradients[-1], losses=losses, **more)
        )
    return samples, np.stack(gradients)


def test_a_pathwise_update_is_the_mean_of_clipped_derivatives(tmp_path):
    estimator = Estimator("bptt", truncation=WINDOW, horizon=WINDOW * WINDOWS, task_clip=0.5)
    bench = Bench(tmp_path, config(estimator=estimator), ledger=True)
    samples, gradients = pathwise_samples(bench)
    bench.send(samples)
    assert bench.learner.step(bench.stop)
    clipped = 0.5 * gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    state = meta_update.init(bench.config.phases[0].meta, THETA)
    want, norm = meta_update.update(bench.config.phases[0].meta, state, clipped.mean(axis=0))
    np.testing.assert_allclose(bench.learner.theta, want.theta, rtol=0, atol=1e-6)
    assert bench.records("update")[0]["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    entries = ledger.surviving(tmp_path)
    ledger.check(entries, bench.config)
    with pytest.raises(ledger.LedgerError, match="no replay of 'bptt'"):
        ledger.replay(bench.config, entries, THETA)


def test_a_pathwise_pair_corrects_the_difference_by_the_derivative(tmp_path):
    estimator = Estimator("nres_pathwise", truncation=WINDOW, horizon=WINDOW * WINDOWS)
    bench = Bench(tmp_path, config(estimator=estimator))
    sigma = estimator.sigma
    # One noise serves an episode, so the window's own is that of no window in particular.
    drawn = [
        noise.draw(3, decode(Sample, data).episode, None, LAYOUT.size, sigma, "gaussian")
        for data in bench.batch()
    ]
    samples, gradients = pathwise_samples(bench)
    sent = [decode(Sample, data) for data in samples]
    sent = [
        dataclasses.replace(sample, noise_checksum=noise.checksum(each))
        for sample, each in zip(sent, drawn)
    ]
    bench.send([encode(sample) for sample in sent])
    assert bench.learner.step(bench.stop)
    total = np.zeros(LAYOUT.size)
    for sample, eps, gradient in zip(sent, np.asarray(drawn, np.float64), gradients):
        gradient = gradient / max(1.0, np.linalg.norm(gradient))
        difference = float((sample.losses[0] - sample.losses[1]).mean())
        factor = difference / (2 * sigma**2) - eps @ gradient / sigma**2
        total += (factor * eps + gradient) / LANES
    state = meta_update.init(bench.config.phases[0].meta, THETA)
    want, _ = meta_update.update(bench.config.phases[0].meta, state, total.astype(np.float32))
    np.testing.assert_allclose(bench.learner.theta, want.theta, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("gradient", "reason"),
    [
        (np.zeros(3, np.float32), "malformed"),
        (np.full(LAYOUT.size, np.nan, np.float32), "nonfinite"),
    ],
)
def test_a_derivative_that_cannot_be_used_is_refused(tmp_path, gradient, reason):
    estimator = Estimator("bptt", truncation=WINDOW, horizon=WINDOW * WINDOWS)
    bench = Bench(tmp_path, config(estimator=estimator))
    sample = bench.sample(
        0, schema="pathwise/1", gradient=gradient, losses=np.zeros((1, WINDOW), np.float32)
    )
    assert bench.learner.intake.accept(sample, bench.learner.version) is None
    assert bench.learner.intake.refused[reason] == 1


def test_order_of_arrival_does_not_change_a_bit(tmp_path):
    results = set()
    for k, order in enumerate([(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)]):
        (tmp_path / str(k)).mkdir()
        bench = Bench(tmp_path / str(k))
        for _ in range(4):
            batch = bench.batch()
            bench.send(batch[lane] for lane in order)
            assert bench.learner.step(bench.stop)
        results.add(bench.learner.theta.tobytes())
    assert len(results) == 1


def test_the_meta_loss_in_the_metrics_is_the_mean_over_scored_steps(bench):
    losses = [np.float32([[k, np.nan], [k + 1, np.nan]]) for k in range(4)]
    mask = np.array([True, False])
    bench.send(
        bench.sample(lane, losses=losses[lane], mask=mask, failed=True, last=True)
        for lane in range(4)
    )
    assert bench.learner.step(bench.stop)
    (record,) = bench.records("update")
    assert record["meta_loss"] == pytest.approx(2.0)
    assert (record["failed"], record["empty"], record["accepted"]) == (4, 0, 4)


def test_a_batch_without_any_scored_step_changes_nothing_but_the_version(bench):
    mask = np.zeros(WINDOW, bool)
    bench.send(bench.sample(lane, mask=mask, failed=True, last=True) for lane in range(4))
    assert bench.learner.step(bench.stop)
    np.testing.assert_array_equal(bench.learner.theta, THETA)
    (record,) = bench.records("update")
    assert (record["meta_loss"], record["empty"]) == ("nan", 4)


def test_run_ends_at_the_configured_number_of_updates(tmp_path):
    bench = Bench(tmp_path, config(updates=1))
    bench.send(bench.batch())
    assert bench.learner.run(bench.stop) is True
    assert bench.learner.done
    assert [record["step"] for record in bench.records("finished")] == [1]
    assert checkpoint.steps(tmp_path / "checkpoints") == [0, 1]


def test_a_stop_in_the_middle_of_a_batch_ends_with_a_checkpoint(bench):
    bench.updates(3)
    bench.send(bench.batch()[:2])  # the stream stops the run when it is empty
    assert bench.learner.run(bench.stop) is False
    assert bench.learner.version.step == 3
    assert checkpoint.load_latest(bench.run_dir / "checkpoints")[0].step == 3
    (record,) = bench.records("stopped")
    assert (record["step"], record["open_episodes"]) == (3, 2)


def test_no_sample_for_too_long_ends_the_run_with_the_counts(bench, monkeypatch):
    monkeypatch.setattr(learner_module, "STALL_SECONDS", -1.0)
    with pytest.raises(LearnerError, match=r"no acceptable sample .* at step 0; refused so far: "):
        bench.learner.step(bench.stop)


# ------------------------------------------------------------------------------- refused samples


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"losses": np.full((2, WINDOW), np.nan, np.float32)}, "nonfinite: window 0"),
        ({"noise_checksum": 0}, "noise_mismatch: window 0"),
    ],
)
def test_a_synchronous_run_cannot_lose_a_sample_of_its_own(bench, changes, reason):
    bench.send([bench.sample(0), bench.sample(1, **changes), bench.sample(2), bench.sample(3)])
    with pytest.raises(LearnerError) as caught:
        bench.learner.step(bench.stop)
    assert f"cannot do without the sample it refused: {reason}" in str(caught.value)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(bench.learner.theta, THETA)


def test_duplicates_are_counted_and_ignored(tmp_path):
    thetas = []
    for name, repeat in (("once", 1), ("twice", 2)):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name)
        for _ in range(3):
            bench.send(itertools.chain(*([data] * repeat for data in bench.batch())))
            assert bench.learner.step(bench.stop)
        thetas.append(bench.learner.theta.tobytes())
    assert thetas[0] == thetas[1]
    # The last duplicate of a batch is met after its update, when its version is no longer current.
    assert bench.records("update")[-1]["refused"] == {"duplicate": 11}


def test_an_asynchronous_run_goes_on_without_refused_samples(tmp_path):
    bench = Bench(tmp_path, config(synchronous=False))
    bad = [
        bench.sample(0, versions=[[7, 0]]),
        bench.sample(1, losses=np.full((2, WINDOW), np.inf, np.float32)),
        b"garbage",
    ]
    bench.send(itertools.chain(*itertools.zip_longest(bad, bench.batch(), fillvalue=b"more")))
    assert bench.learner.step(bench.stop)
    (record,) = bench.records("update")
    assert record["refused"] == {"foreign_epoch": 1, "nonfinite": 1, "malformed": 2}
    assert record["accepted"] == 4


def test_an_asynchronous_run_takes_stale_samples_up_to_the_bound(tmp_path):
    bench = Bench(tmp_path, config(synchronous=False))
    bench.updates(3)  # the next samples begin episodes: window 0
    ages = (0, 1, 2, 3, 1)
    bench.send(bench.sample(lane, versions=[[1, 3 - age]]) for lane, age in enumerate(ages))
    assert bench.learner.step(bench.stop)
    record = bench.records("update")[-1]
    assert (record["staleness"], record["refused"]) == (2, {"stale": 1})


# ---------------------------------------------------------------------------------- what it serves


def test_actors_get_the_newest_weights_once(bench):
    version, data = bench.learner.parameters(None)
    assert version == (1, 0)
    np.testing.assert_array_equal(unpack(data), THETA)
    assert bench.learner.parameters(version) is None
    bench.updates(1)
    newer, data = bench.learner.parameters(version)
    assert newer == (1, 1)
    assert unpack(data).tobytes() == bench.learner.theta.tobytes()
    # "Up to date" means equal: an actor of another epoch, or ahead of us, gets the weights too.
    assert bench.learner.parameters(Version(2, 1))[0] == newer
    assert bench.learner.parameters(Version(1, 5))[0] == newer


def test_the_session_says_who_and_where(bench):
    session = bench.session
    assert session.config_hash == config_hash(bench.config)
    assert session.version == [1, 0]
    identity = json.loads((bench.run_dir / "identity.json").read_text())
    assert session.run_id == identity["run_id"]


def test_the_schedule_of_a_synchronous_run_is_reserved_beforehand(bench):
    """One id for each lane and update is never given to anybody else."""
    assert bench.session.first_episode == 0
    assert bench.learner.reserve_episodes(5) == 7 * LANES  # 6 updates and the one in flight
    assert bench.learner.reserve_episodes(1) == 7 * LANES + 5


def test_another_life_of_an_actor_begins_an_epoch(bench):
    """A synchronous update needs every lane, and the old life's are lost."""
    bench.updates(1)
    late, first = bench.batch(), bench.session.first_episode
    bench.send(late[:2])
    session = decode(Session, bench.learner.session(0, "a"))  # the same life asks again
    assert session.version == [1, 1]
    session = decode(Session, bench.learner.session(0, "b"))
    assert session.version == [2, 1] and session.first_episode > first
    bench.join("b")
    assert bench.learner.parameters(Version(1, 1))[0] == (2, 1)
    bench.send(late[2:])
    assert not bench.learner.step(bench.stop)  # of the old epoch: refused, and not missed
    assert bench.learner.intake.refused["foreign_epoch"] == 4
    bench.stop.clear()
    bench.updates(1)
    assert bench.learner.version == (2, 2)
    assert bench.records("epoch")[0]["cause"] == "actor 0 came back"


def test_an_asynchronous_learner_lets_actors_come_and_go(tmp_path):
    bench = Bench(tmp_path, config(synchronous=False))
    assert decode(Session, bench.learner.session(0, "b")).version == [1, 0]


def test_losses_that_all_fail_end_the_run(bench, monkeypatch):
    monkeypatch.setattr(learner_module, "_EMPTY_BATCHES", 2)
    mask = np.zeros(WINDOW, bool)
    with pytest.raises(LearnerError, match="2 batches in a row had no scored step"):
        for _ in range(2):
            bench.send(bench.sample(k, mask=mask) for k in range(4))
            bench.learner.step(bench.stop)


def test_the_ledger_replays_to_the_same_bits(tmp_path):
    first = Bench(tmp_path, ledger=True)
    first.updates(3)  # of which the third comes after the last checkpoint
    second = resumed(first, ledger=True)
    second.updates(4)
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    entries = ledger.surviving(tmp_path)
    assert (len(lines), [e.step for e in entries]) == (7, [1, 2, 3, 4, 5, 6])
    assert [e.epoch for e in entries] == [1, 1, 2, 2, 2, 2]
    replayed = ledger.replay(first.config, entries, THETA)
    assert replayed.tobytes() == second.learner.theta.tobytes()
    twice = [*entries[:5], ledger.Entry(2, 6, entries[4].samples)]
    for wrong, words in ((entries[1:], "update 2 follows 0"), (twice, "counted before")):
        with pytest.raises(ledger.LedgerError, match=words):
            ledger.check(wrong, first.config)
    ledger.check(entries[:2], first.config)


# ------------------------------------------------------------------------------------------- resume


def resumed(bench, **arguments):
    found, problems = checkpoint.load_latest(bench.run_dir / "checkpoints")
    assert problems == []
    return Bench(bench.run_dir, bench.config, resume=found, **arguments)


def test_resuming_equals_never_having_stopped(tmp_path):
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = Bench(tmp_path / "whole")
    expected = whole.updates(6)

    first = Bench(tmp_path / "broken")
    assert first.updates(4) == expected[:4]
    second = resumed(first, first_episode=0, began=0)  # as the in-process runner goes on
    second.learner.intake.load_state(first.learner.intake.state())
    assert second.learner.theta.tobytes() == expected[3]
    assert second.learner.version == Version(epoch=2, step=4)
    assert second.updates(2) == expected[4:]  # Adam's moments came back too
    assert second.learner.done
    assert second.records("update")[-1]["evaluations"] == 6 * 16


def test_a_new_life_is_a_new_epoch_with_new_ids(bench):
    old = bench.sample(0)
    bench.updates(2)
    after = resumed(bench)
    assert after.session.version == [2, 2]
    assert after.session.run_id == bench.session.run_id
    assert after.session.first_episode == 7 * LANES
    assert after.learner.intake.accept(old, after.learner.version) is None
    assert after.learner.intake.refused["foreign_epoch"] == 1


def test_a_continued_schedule_stays_reserved_when_updates_are_raised(bench):
    """In process a resumed run goes on with its old ids, past what was reserved at first."""
    bench.updates(2)
    bench.config = config(updates=20)
    after = resumed(bench, first_episode=bench.session.first_episode)
    assert after.session.first_episode == bench.session.first_episode == 0
    assert after.learner.reserve_episodes(1) == 21 * LANES


def test_a_run_past_its_number_of_updates_can_be_opened(bench):
    bench.updates(4)
    bench.config = config(updates=1)
    after = resumed(bench)
    assert after.learner.run(after.stop) is True
    assert after.learner.version.step == 4


def test_the_manifest_says_what_the_checkpoint_is_of(bench):
    bench.updates(2)
    found, _ = checkpoint.load_latest(bench.run_dir / "checkpoints")
    expected = {
        "step": 2,
        "epoch": 1,
        "run_id": bench.session.run_id,
        "evaluations": 32,
        "config_hash": config_hash(bench.config),
        "first_episode": 0,
        "open_episodes": {str(lane): 1 for lane in range(LANES)},
    }
    assert expected.items() <= found.manifest.items()
    newest, metrics = bench.records("update")[-1], found.manifest["metrics"]
    for name in ("meta_loss", "gradient_norm", "staleness", "accepted", "failed", "refused"):
        assert metrics[name] == newest[name], name
    assert {"theta/network/m/l/w", "theta/decays/rms", "adam/count"} <= found.arrays.keys()
    assert found.arrays["theta/network/m/l/w"].shape == (4, 5)


def test_arrays_of_others_are_saved_along(tmp_path):
    lanes = {"actors/0/x": np.arange(3.0)}
    Bench(tmp_path, extra_arrays=lambda: lanes)
    saved = checkpoint.load(tmp_path / "checkpoints" / "0")
    np.testing.assert_array_equal(saved.arrays["actors/0/x"], np.arange(3.0))


def test_a_checkpoint_of_another_architecture_is_refused(bench):
    found = checkpoint.load(bench.run_dir / "checkpoints" / "0")
    found.arrays["theta/network/m/l/w"] = np.zeros((4, 6), np.float32)
    message = r"another architecture: theta/network/m/l/w has shape \(4, 6\), want \(4, 5\)"
    with pytest.raises(CheckpointError, match=message):
        Bench(bench.run_dir, bench.config, resume=found)
    del found.arrays["theta/network/m/l/w"]
    with pytest.raises(CheckpointError, match="theta/network/m/l/w has no such array"):
        Bench(bench.run_dir, bench.config, resume=found)


def test_a_checkpoint_without_adam_is_refused(bench):
    start = checkpoint.load(bench.run_dir / "checkpoints" / "0")
    found = dataclasses.replace(start, step=1)  # at a phase's start Adam is at zero anyway
    del found.arrays["adam/nu"]
    with pytest.raises(CheckpointError, match="no array 'adam/nu'"):
        Bench(bench.run_dir, bench.config, resume=found)


# --------------------------------------------------------------------------------------- full disk


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_counted_and_the_run_goes_on(bench, monkeypatch):
    """The previous checkpoint stands; when there is room again, the next one is written."""
    bench.updates(3)  # the fourth update writes a checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        bench.updates(1)
    assert checkpoint.load_latest(bench.run_dir / "checkpoints")[0].step == 2
    (record,) = bench.records("checkpoint_failed")
    assert record["step"] == 4 and "No space left" in record["cause"]
    bench.updates(2)
    assert checkpoint.load_latest(bench.run_dir / "checkpoints")[0].step == 6
    assert bench.records("update")[-1]["failed_saves"] == 1


def test_a_disk_that_is_full_at_the_end_ends_the_run_with_one_line(bench, monkeypatch):
    bench.updates(3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(CheckpointError) as caught:
            bench.learner.run(bench.stop)
    assert "No space left" in str(caught.value) and "\n" not in str(caught.value)
    assert checkpoint.load_latest(bench.run_dir / "checkpoints")[0].step == 2


def test_a_damaged_last_checkpoint_is_written_again_at_the_end(bench):
    """The folder is there, but nobody could load it: the end of a run must not trust its name."""
    bench.updates(2)
    after = resumed(bench)
    folder = after.run_dir / "checkpoints" / "3"
    folder.mkdir()  # what a fallback passed over
    after.updates(1)
    assert after.learner.run(after.stop) is False
    assert checkpoint.load(folder).step == 3
