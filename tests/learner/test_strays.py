"""Strays are skipped and counted; the update is as if they had not come."""

import dataclasses

import msgpack
import numpy as np
import pytest

from learner.service import Service
from optimus.config import Estimator
from optimus.meta import noise
from optimus.wire import (
    PROTOCOL,
    Answer,
    Call,
    Sample,
    Session,
    Version,
    codec,
    decode,
    encode,
    pack,
    unpack,
)
from tests.learner.bench import LANES, LAYOUT, WINDOW, WINDOWS, Bench, config


def changed(bench, **changes):
    """Lane 1's next sample with some fields replaced, whatever their types."""
    return pack({**unpack(bench.sample(1)), **changes})


# What arrives, and the reason under which it is counted.
STRAYS = {
    "nothing": (lambda bench: b"", "malformed"),
    "garbage": (lambda bench: b"\0" * 300, "malformed"),
    "half": (lambda bench: bench.sample(1)[:-20], "malformed"),
    "another format": (lambda bench: b"OPT0" + bench.sample(1)[4:], "malformed"),
    "another message": (
        lambda bench: encode(Session("a", "b", [], 0)),
        "malformed",
    ),
    "a field more": (lambda bench: changed(bench, more=1), "malformed"),
    "another schema": (lambda bench: changed(bench, schema="es/9"), "malformed"),
    "losses of another dtype": (
        lambda bench: changed(bench, losses=np.zeros((2, WINDOW))),
        "malformed",
    ),
    "losses of another shape": (
        lambda bench: changed(bench, losses=np.zeros((3, WINDOW), np.float32)),
        "malformed",
    ),
    "NaN seconds": (lambda bench: changed(bench, seconds=float("nan")), "malformed"),
    "infinite seconds": (lambda bench: changed(bench, seconds=float("inf")), "malformed"),
    "negative seconds": (lambda bench: changed(bench, seconds=-1.0), "malformed"),
    "negative evaluations": (lambda bench: changed(bench, evaluations=-4), "malformed"),
    "huge evaluations": (lambda bench: changed(bench, evaluations=2**70), "malformed"),
    "negative actor": (lambda bench: changed(bench, actor=-1), "malformed"),
    "window past the end": (
        lambda bench: changed(bench, window=WINDOWS, versions=[[1, 0]] * (WINDOWS + 1)),
        "malformed",
    ),
    "another run": (lambda bench: changed(bench, run_id="0123456789ab"), "foreign_run"),
    "another run's, of another shape": (
        lambda bench: changed(bench, run_id="x", losses=np.zeros(7)),
        "foreign_run",
    ),
    "a long run id": (lambda bench: changed(bench, run_id="x" * 1000), "foreign_run"),
    "a run id of a megabyte": (lambda bench: changed(bench, run_id="x" * 2**20), "malformed"),
    "an earlier epoch": (lambda bench: changed(bench, versions=[[0, 0]]), "foreign_epoch"),
    "a later epoch": (lambda bench: changed(bench, versions=[[9, 0]]), "foreign_epoch"),
    "a later step": (lambda bench: changed(bench, versions=[[1, 5]]), "stale"),
    "an unknown actor": (lambda bench: changed(bench, actor=7), "unknown_actor"),
    "an unknown life": (lambda bench: changed(bench, incarnation="b"), "unknown_actor"),
    "an unknown life with NaN losses": (
        lambda bench: changed(
            bench, incarnation="b", losses=np.full((2, WINDOW), np.nan, np.float32)
        ),
        "unknown_actor",
    ),
    "an episode nobody was given": (lambda bench: changed(bench, episode=2**63), "unknown_episode"),
    "the lane's next episode": (
        lambda bench: changed(bench, episode=bench.first + 1 + LANES),
        "unknown_episode",
    ),
    "a window too early": (
        lambda bench: changed(bench, window=1, versions=[[1, 0], [1, 0]]),
        "unknown_episode",
    ),
}


@pytest.mark.parametrize("case", STRAYS)
def test_a_stray_is_skipped_and_counted_and_changes_no_bit(tmp_path, case):
    make, reason = STRAYS[case]
    thetas = []
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name)
        strays = [make(bench)] * 3 if name == "with" else []
        first, *others = bench.batch()
        bench.send([*strays[:1], first, *strays[1:], *others])
        assert bench.learner.step(bench.stop)
        thetas.append(bench.learner.theta.tobytes())
    assert thetas[0] == thetas[1]
    (record,) = bench.records("update")
    assert record["refused"] == {reason: 3}
    assert (record["accepted"], record["evaluations"]) == (LANES, 4 * LANES)
    assert len(bench.learner.intake.last_refusal) < 500
    # What was refused left no trace: the run goes on.
    bench.updates(3)


@pytest.mark.parametrize("case", [case for case in STRAYS if "window" not in case])
def test_an_asynchronous_run_is_harmed_as_little(tmp_path, case):
    make, reason = STRAYS[case]
    if case == "the lane's next episode":
        return  # nobody knows which of the ids that were given out comes next
    bench = Bench(tmp_path, config(synchronous=False))
    bench.send([make(bench), *bench.batch()])
    assert bench.learner.step(bench.stop)
    assert bench.records("update")[0]["refused"] == {reason: 1}


def test_a_stray_in_every_place_of_a_batch_does_not_end_the_wait(bench):
    """A barrier that counted strays would be full before the lanes have come."""
    strays = [changed(bench, incarnation="b", episode=bench.first + k) for k in range(LANES)]
    bench.send([*strays, *bench.batch()])
    assert bench.learner.step(bench.stop) and bench.learner.version == Version(1, 1)
    assert bench.learner.intake.accepted == LANES


def test_a_replay_of_all_that_ever_came_is_counted_and_ignored(bench):
    sent = []
    for _ in range(4):
        batch = bench.batch()
        sent += batch
        bench.send([*sent[:-LANES], *batch])
        assert bench.learner.step(bench.stop)
    assert bench.records("update")[-1]["refused"] == {"duplicate": 4 + 8 + 12}
    assert bench.learner.intake.accepted == 4 * LANES


def test_strays_do_not_keep_a_run_from_saying_that_nothing_comes(bench, monkeypatch):
    monkeypatch.setattr("learner.learner.STALL_SECONDS", 0.0)
    bench.send([b"stray"] * 50)
    with pytest.raises(RuntimeError, match=r"no acceptable sample .*'malformed': [1-9]"):
        bench.learner.step(bench.stop)


def test_lanes_of_other_actors_are_not_theirs_to_send(tmp_path):
    layout = dataclasses.replace(config().phases[0].layout, actors=2, lanes=LANES // 2)
    bench = Bench(tmp_path, config(layout=layout))
    decode(Session, bench.learner.session(1, "other"))
    own = [bench.sample(k) for k in (0, 1)]
    stolen = [bench.sample(k) for k in (2, 3)]
    others = [bench.sample(k, actor=1, incarnation="other") for k in (2, 3)]
    bench.send([*stolen, *own, *others])
    assert bench.learner.step(bench.stop)
    assert bench.records("update")[0]["refused"] == {"unknown_episode": 2}


def test_a_lane_that_fails_begins_its_next_episode_at_once(bench):
    bench.send([bench.sample(0, failed=True, last=True), *bench.batch()[1:]])
    assert bench.learner.step(bench.stop)
    episode = bench.first + LANES
    fresh = decode(Sample, bench.sample(0))
    estimator = bench.config.phases[0].estimator
    drawn = noise.draw(3, episode, 0, LAYOUT.size, estimator.sigma, estimator.noise)
    fresh = dataclasses.replace(
        fresh, episode=episode, window=0, versions=[[1, 1]], noise_checksum=noise.checksum(drawn)
    )
    bench.send([bench.sample(0), encode(fresh), *bench.batch()[1:]])
    assert bench.learner.step(bench.stop)
    assert bench.records("update")[-1]["refused"] == {"unknown_episode": 1}


# ------------------------------------------------------------------------------ calls from outside


def call(method, *arguments, run_id, protocol=PROTOCOL):
    return decode(Answer, method(encode(Call(protocol, run_id, list(arguments)))))


def test_the_service_answers_its_own_run(bench):
    service, run_id = Service(bench.learner, 1), bench.learner.run_id
    session = call(service.session, 0, "a", run_id=run_id)
    assert decode(Session, session.value).run_id == run_id
    epoch, step, weights = call(service.parameters, [], run_id=run_id).value
    assert (epoch, step) == (1, 0) and unpack(weights).tobytes() == bench.learner.theta.tobytes()
    assert call(service.parameters, [1, 0], run_id=run_id).value == []
    assert call(service.reserve_episodes, 5, run_id=run_id).value == 7 * LANES
    assert not bench.learner.refused_calls


FOREIGN = [
    (dict(run_id="0123456789ab"), "foreign_run", "of run '0123456789ab', this is run"),
    (dict(run_id=""), "foreign_run", "of run '', this is run"),
    (dict(protocol=2), "protocol", "install the same version"),
    (dict(protocol=-1), "protocol", "install the same version"),
    (dict(protocol=2**80), "protocol", "install the same version"),
]


@pytest.mark.parametrize(("changes", "reason", "words"), FOREIGN)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("session", (0, "b")), ("parameters", ([],)), ("reserve_episodes", (5,))],
)
def test_another_runs_actor_gets_nothing(bench, name, arguments, changes, reason, words):
    """Not even an epoch: another life of actor 0 would begin one."""
    service = Service(bench.learner, 1)
    values = {"run_id": bench.learner.run_id, **changes}
    answer = call(getattr(service, name), *arguments, **values)
    assert answer.status == "refused" and answer.value is None and words in answer.message
    assert bench.learner.refused_calls == {reason: 1}
    assert bench.learner.version == Version(1, 0)
    bench.updates(1)
    assert bench.records("update")[0]["refused_calls"] == {reason: 1}


ODD = [
    *(None, True, -1, 0, 2**31, 2**63, 2**64 - 1, 2**70, 10**4000, 0.5, float("nan")),
    *("", "7", "é\u202e", "x" * 10**6, b"", b"\xff" * 9, [], [1], [[]], {}, {"a": [1]}),
    *([1, "0"], [1, 0, 0], [True, 0], [None, None], [2**70, 2**70]),
]


@pytest.mark.parametrize("name", Service.exposed)
def test_no_argument_raises(bench, name):
    service, run_id = Service(bench.learner, 1), bench.learner.run_id
    method, nested = getattr(service, name), []
    for _ in range(400):
        nested = [nested]
    for arguments in (
        (),
        *((odd,) for odd in ODD),
        *((0, odd) for odd in ODD),
        *((odd, "c") for odd in ODD),
        (0, "a", 1),
    ):
        answer = call(method, *arguments, run_id=run_id)
        assert answer.status in ("ok", "refused") and len(answer.message) <= 500
        assert "\n" not in answer.message
    for odd in ODD:  # not even a message
        answer = decode(Answer, method(odd))
        assert (answer.status, answer.message[: len(name)]) == ("refused", name)
    for raw in ((), (b"", b""), (codec.MAGIC,), (codec.MAGIC + b"\x93",), (bytes(2**24 + 1),)):
        assert decode(Answer, method(*raw)).status == "refused"
    deep = codec.MAGIC + msgpack.packb({**vars(Call(PROTOCOL, run_id, [])), "arguments": nested})
    assert "more than 64 deep" in decode(Answer, method(deep)).message
    assert decode(Answer, method(deep)).status == "refused"  # and counted
    assert decode(Answer, method(b"", more=1)).status == "refused"
    assert bench.learner.refused_calls["malformed"] > 50
    bench.join("z")
    bench.updates(1)


def test_what_fails_here_is_told_to_the_caller(bench, monkeypatch):
    """Ids that cannot be written down are not given out; the actor tries again."""
    service, run_id = Service(bench.learner, 1), bench.learner.run_id

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("learner.identity.write_atomically", full)
        answer = call(service.reserve_episodes, 5, run_id=run_id)
    assert answer.status == "failed" and "No space left on device" in answer.message
    assert call(service.reserve_episodes, 5, run_id=run_id).value == 7 * LANES
    assert not bench.learner.refused_calls


def test_pathwise_strays_are_refused_too(tmp_path):
    estimator = Estimator("bptt", truncation=WINDOW, horizon=WINDOW * WINDOWS)
    bench = Bench(tmp_path, config(estimator=estimator))
    one = np.zeros((1, WINDOW), np.float32)
    stray = bench.sample(0, losses=one)  # of another estimator
    assert bench.learner.intake.accept(stray, bench.learner.version) is None
    assert bench.learner.intake.refused["malformed"] == 1
