"""The intake: each refusal has its reason, and noise sums are right whatever came before."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.intake import REASONS, Intake, largest_sample
from optimus.config import AnalyticTask, Estimator, Layout, MetaOptimizer
from optimus.meta import noise
from optimus.meta.estimators import BY_NAME
from optimus.rundir import checkpoint
from optimus.wire import Sample, Version, encode, pack, unpack
from tests.one_phase import one_phase, with_phase

RUN, SIZE, WINDOW, WINDOWS = "0123456789ab", 50, 3, 6
NOW = Version(epoch=2, step=10)


def config(synchronous=False, kind="gaussian", estimator="pes"):
    return one_phase(
        name="test",
        task=AnalyticTask(dim=2),
        updates=100,
        seed=11,
        synchronous=synchronous,
        estimator=Estimator(estimator, noise=kind, truncation=WINDOW, horizon=WINDOW * WINDOWS),
        meta=MetaOptimizer(batch=4),
        layout=Layout(actors=1, groups=1, lanes=4, workers=0),
        max_staleness=3,
    )


def drawn(episode, window, kind="gaussian"):
    return noise.draw(11, episode, window, SIZE, 0.01, kind)


def regenerated(episode, window, kind="gaussian"):
    """The sum of an episode's noise, drawn from its seeds in order."""
    total = None
    for each in range(window + 1):
        total = BY_NAME["pes"].advance(total, drawn(episode, each, kind))
    return total


def sample(episode=7, window=0, kind="gaussian", **changes):
    random = np.random.default_rng([episode % 2**32, window])
    values = dict(
        run_id=RUN,
        actor=0,
        incarnation="a",
        episode=episode,
        window=window,
        versions=[[NOW.epoch, NOW.step]] * (window + 1),
        losses=random.normal(size=(2, WINDOW)).astype(np.float32),
        mask=np.ones(WINDOW, bool),
        last=window == WINDOWS - 1,
        failed=False,
        evaluations=6,
        seconds=0.25,
        noise_checksum=noise.checksum(drawn(episode, window, kind)),
    )
    return encode(Sample(**{**values, **changes}))


@pytest.fixture
def intake():
    return Intake(config(), RUN, SIZE)


# -------------------------------------------------------------------------------------- acceptance


@pytest.mark.parametrize("kind", noise.KINDS)
def test_an_accepted_sample_carries_sum_and_difference(kind):
    intake = Intake(config(kind=kind), RUN, SIZE)
    for window in range(WINDOWS):
        got = intake.accept(sample(window=window, kind=kind), NOW)
        assert got.accumulated.tobytes() == regenerated(7, window, kind).tobytes()
        losses = got.sample.losses.astype(np.float64)
        assert got.difference == pytest.approx((losses[0] - losses[1]).mean(), rel=1e-12)
    assert (intake.accepted, intake.redrawn, intake.failed, intake.empty) == (WINDOWS, 0, 0, 0)
    assert intake.refused == dict.fromkeys(REASONS, 0)
    assert intake.open_episodes() == {}  # the last window closes the episode


@pytest.mark.parametrize("seen", [range(WINDOWS), (0, 1, 4, 5), (5,)])
def test_one_perturbation_serves_a_whole_episode_under_nres(seen):
    noise_of_episode = drawn(7, None)
    intake = Intake(config(estimator="nres"), RUN, SIZE)
    for window in seen:
        made = sample(window=window, noise_checksum=noise.checksum(noise_of_episode))
        got = intake.accept(made, NOW)
        assert got.accumulated.tobytes() == noise_of_episode.tobytes()
    assert intake.accept(sample(episode=8), NOW) is None  # noise of a window, as under PES
    assert intake.refused["noise_mismatch"] == 1


def test_truncated_es_forgets_earlier_windows():
    intake = Intake(config(estimator="truncated_es"), RUN, SIZE)
    for window in (0, 1, 4):
        got = intake.accept(sample(window=window), NOW)
        assert got.accumulated.tobytes() == drawn(7, window).tobytes()


def test_masked_steps_may_be_anything(intake):
    losses = np.float32([[1.0, np.nan, np.inf], [0.5, 1.0, np.inf]])
    mask = np.array([True, False, False])
    got = intake.accept(sample(losses=losses, mask=mask, failed=True, last=True), NOW)
    assert got.difference == 0.5
    assert (intake.failed, intake.empty, intake.open_episodes()) == (1, 0, {})


def test_a_window_without_scored_steps_is_counted(intake):
    got = intake.accept(sample(mask=np.zeros(WINDOW, bool), failed=True, last=True), NOW)
    assert got.difference == 0.0
    assert (intake.accepted, intake.failed, intake.empty) == (1, 1, 1)


# ---------------------------------------------------------------------------------------- refusals

# What arrives (bytes, or changes to a good sample), the reason, and what the line says.
REFUSALS = {
    "garbage": (b"OPT1\x93", "malformed", "malformed message"),
    "larger than any sample": (bytes(2053), "malformed", "2053 bytes; the limit is 2048"),
    "deep versions": (
        pack({"versions": 0})[:-1] + b"\x91" * 100 + b"\x00",
        "malformed",
        "more than 64 deep",
    ),
    "another message": (pack({"a": 1}), "malformed", "not a Sample"),
    "another schema": ({"schema": "es/2"}, "malformed", "schema 'es/2'"),
    "another window length": (
        {"losses": np.zeros((2, 4), np.float32)},
        "malformed",
        "losses float32(2, 4)",
    ),
    "window past the horizon": ({"window": WINDOWS}, "malformed", "out of range"),
    "versions of another window": (
        {"window": 1, "versions": [[2, 10]]},
        "malformed",
        "1 versions for window 1",
    ),
    "version of another type": ({"versions": [[2, "10"]]}, "malformed", "version [2, '10']"),
    "another run": (
        {"run_id": "ba9876543210"},
        "foreign_run",
        "window 0 of episode 7: run ba9876543210",
    ),
    "another epoch": (
        {"versions": [[1, 10]]},
        "foreign_epoch",
        "window 0 of episode 7: versions [[1, 10]]",
    ),
    "begun in another epoch": (
        {"window": 2, "versions": [[1, 9], [2, 9], [2, 10]]},
        "foreign_epoch",
        "window 2",
    ),
    "of another phase, so of an earlier epoch": (
        {"schema": "pathwise/1", "versions": [[1, 10]], "gradient": np.zeros(SIZE, np.float32)},
        "foreign_epoch",
        "versions [[1, 10]]",
    ),
    "of another phase in this epoch": ({"schema": "pathwise/1"}, "malformed", "want 'es/1'"),
    "too old": ({"versions": [[2, 6]]}, "stale", "window 0 of episode 7: 4 updates old"),
    "from the future": ({"versions": [[2, 11]]}, "stale", "-1 updates old"),
    "NaN": (
        {"losses": np.float32([[1, np.nan, 1], [1, 1, 1]])},
        "nonfinite",
        "window 0 of episode 7",
    ),
    "infinite on both sides": (
        {"losses": np.full((2, WINDOW), np.inf, np.float32)},
        "nonfinite",
        "window 0",
    ),
    "other noise": ({"noise_checksum": 1}, "noise_mismatch", "another JAX version"),
    "noise of another window": (
        {"window": 1, "noise_checksum": 17},
        "noise_mismatch",
        "window 1 of episode 7",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_counted_under_its_reason(intake, case):
    arriving, reason, message = REFUSALS[case]
    data = sample(**arriving) if isinstance(arriving, dict) else arriving
    assert intake.accept(data, NOW) is None
    assert intake.refused == {**dict.fromkeys(REASONS, 0), reason: 1}
    assert intake.last_refusal.startswith(f"{reason}: ") and message in intake.last_refusal
    assert (intake.accepted, intake.open_episodes()) == (0, {})
    # What was refused leaves no trace: the sample that should have come is taken.
    assert intake.accept(sample(), NOW).accumulated.tobytes() == regenerated(7, 0).tobytes()


@pytest.mark.parametrize("horizon", [WINDOW, 1500])
@pytest.mark.parametrize("kind", ["pes", "bptt"])
def test_no_sample_of_the_run_is_too_large(kind, horizon):
    estimator = Estimator(kind, truncation=WINDOW, horizon=horizon)
    gradient = np.zeros(SIZE if kind == "bptt" else 0, np.float32)
    big = 2**64 - 1
    versions = [[big, big]] * (horizon // WINDOW)
    largest = len(sample(0, len(versions) - 1, versions=versions, gradient=gradient))
    whole = with_phase(config(), estimator=estimator)
    assert largest <= largest_sample(whole, SIZE) < 3 * largest + 2048


def test_every_reason_is_tested():
    """Those that need to know who may send what: `test_strays.py`."""
    others = {"duplicate", "unknown_actor", "unknown_episode"}
    assert {reason for _, reason, _ in REFUSALS.values()} | others == set(REASONS)


def test_a_phase_begins_with_no_episode_open(intake):
    """Which window was accepted last stays known, and so does what was counted."""
    assert intake.accept(sample(window=0), NOW)
    estimator = Estimator("bptt", truncation=3, horizon=6)
    intake.enter(dataclasses.replace(config().phases[0], estimator=estimator))
    assert intake.open_episodes() == {} and (intake.abandoned, intake.accepted) == (1, 1)
    assert intake.accept(sample(window=1, versions=[[1, 10]] * 2), NOW) is None
    assert intake.refused["foreign_epoch"] == 1 and intake.missed == 0
    assert intake.accept(sample(episode=8), NOW) is None
    assert "schema 'es/1', want 'pathwise/1'" in intake.last_refusal


def test_a_window_is_taken_once(intake):
    first, second = sample(window=0), sample(window=1)
    assert intake.accept(first, NOW) and intake.accept(second, NOW)
    for data in (second, first):
        assert intake.accept(data, NOW) is None
    assert intake.refused["duplicate"] == 2
    assert intake.last_refusal == "duplicate: window 0 of episode 7"


def test_a_finished_episode_stays_known(intake):
    assert intake.accept(sample(last=True, failed=True), NOW)
    assert intake.accept(sample(last=True, failed=True), NOW) is None
    assert intake.refused["duplicate"] == 1


@pytest.mark.parametrize("age", range(5))
def test_the_staleness_bound_is_of_the_newest_window(intake, age):
    data = sample(window=1, versions=[[2, 0], [2, 10 - age]])
    got = intake.accept(data, NOW)
    assert (got is not None) == (age <= 3)
    assert got is None or got.staleness == age


@pytest.mark.parametrize("step", [9, 11])
def test_a_synchronous_run_takes_the_newest_version_only(step):
    intake = Intake(config(synchronous=True), RUN, SIZE)
    assert intake.accept(sample(versions=[[2, step]]), NOW) is None
    assert intake.refused["stale"] == 1
    assert intake.accept(sample(), NOW).staleness == 0


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_change_of_a_sample_raises(data):
    """Whatever arrives is accepted or refused with a reason; the learner lives on."""
    tree = unpack(sample(window=1))
    junk = (
        st.none()
        | st.booleans()
        | st.integers(-1, 2**65)
        | st.floats()
        | st.text(max_size=2)
        | st.lists(st.lists(st.integers(0, 11) | st.text(max_size=1), max_size=3), max_size=3)
        | st.sampled_from([np.zeros((2, WINDOW)), np.zeros(0, bool), np.full((2, 3), np.inf)])
    )
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(tree)), junk, max_size=2))
    message = bytearray(pack({**tree, **changes}))
    if data.draw(st.booleans()):
        message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    intake = Intake(config(), RUN, SIZE)
    accepted = intake.accept(bytes(message), NOW)
    assert intake.refused.total() == (accepted is None)
    assert intake.accepted == (accepted is not None)


# ------------------------------------------------------------------------------------------ sums


def test_sums_are_the_same_after_eviction():
    """A cache of one episode, three episodes in turn: nearly every sum is drawn again."""
    intake = Intake(config(), RUN, SIZE, max_open=1)
    for window in range(4):
        for episode in (3, 2**40, 2**64 - 1):
            got = intake.accept(sample(episode, window), NOW)
            assert got.accumulated.tobytes() == regenerated(episode, window).tobytes()
            assert len(intake.open_episodes()) == 1
    assert intake.redrawn == 9


def test_sums_are_the_same_after_skipped_windows(intake):
    for window in (0, 2, 5):
        got = intake.accept(sample(window=window), NOW)
        assert got.accumulated.tobytes() == regenerated(7, window).tobytes()
    assert intake.redrawn == 0  # went on from the cached sum


def test_sums_are_the_same_for_an_episode_met_in_its_middle(intake):
    got = intake.accept(sample(window=4), NOW)
    assert got.accumulated.tobytes() == regenerated(7, 4).tobytes()
    assert intake.redrawn == 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, WINDOWS - 1)), max_size=15),
    st.integers(1, 3),
)
def test_sums_are_the_same_in_any_order_and_cache(arrivals, max_open):
    intake = Intake(config(), RUN, SIZE, max_open=max_open)
    newest = {}
    for episode, window in arrivals:
        got = intake.accept(sample(episode, window), NOW)
        assert (got is None) == (window <= newest.get(episode, -1))
        if got is not None:
            newest[episode] = window
            assert got.accumulated.tobytes() == regenerated(episode, window).tobytes()
        assert len(intake.open_episodes()) <= max_open


def test_memory_of_accepted_windows_is_bounded():
    intake = Intake(config(), RUN, SIZE, max_open=2)
    for episode in range(150):
        intake.accept(sample(episode, last=True), NOW)
    assert len(intake.state()["accepted"]) == 128
    assert intake.accept(sample(149, last=True), NOW) is None  # the newest are still known


# ----------------------------------------------------------------------------------------- resume


def test_state_survives_a_checkpoint(tmp_path, intake):
    for episode, window in ((7, 0), (2**64 - 1, 0), (7, 1), (9, 0)):
        intake.accept(sample(episode, window), NOW)
    intake.accept(sample(12, last=True), NOW)
    path = checkpoint.save(tmp_path, 1, intake.state(), {})

    resumed = Intake(config(), RUN, SIZE)
    resumed.load_state(checkpoint.load(path).arrays)
    assert resumed.open_episodes() == intake.open_episodes() == {7: 1, 2**64 - 1: 0, 9: 0}
    for episode, window in ((7, 1), (9, 0), (12, 0)):  # known before, known after
        assert resumed.accept(sample(episode, window), NOW) is None
    assert resumed.refused["duplicate"] == 3
    for episode, window in ((7, 2), (2**64 - 1, 1), (9, 1)):
        got, other = (each.accept(sample(episode, window), NOW) for each in (resumed, intake))
        assert got.accumulated.tobytes() == other.accumulated.tobytes()
        assert got.accumulated.tobytes() == regenerated(episode, window).tobytes()
    assert resumed.redrawn == 0
    for name, array in intake.state().items():
        np.testing.assert_array_equal(resumed.state()[name], array)


def test_an_empty_state_survives_too(tmp_path, intake):
    path = checkpoint.save(tmp_path, 1, intake.state(), {})
    resumed = Intake(config(), RUN, SIZE)
    resumed.load_state(checkpoint.load(path).arrays)
    assert resumed.open_episodes() == {}
    assert resumed.accept(sample(), NOW)
