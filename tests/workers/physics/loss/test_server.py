"""The physics worker's answers to good, bad and unlucky requests."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from optimus.config import PhysicsTask
from optimus.rundir import metrics
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import MAX_REQUEST_BYTES, LossReply, LossRequest, decode, encode, pack
from workers.physics.loss.server import PhysicsLossServer
from workers.physics.loss.windows import MotionWindow, PhysicsWindows, load_window

TASK = PhysicsTask(seconds=0.25, dt=1 / 120)


@pytest.fixture(scope="module")
def windows() -> PhysicsWindows:
    return PhysicsWindows(TASK, seed=3)


@pytest.fixture(scope="module")
def server() -> PhysicsLossServer:
    return PhysicsLossServer(TASK)


def ask(server: PhysicsLossServer, windows: PhysicsWindows, **changes: object) -> LossReply:
    window, start = windows.draw(5)
    values = {
        "request_id": 7,
        "budget": 10.0,
        "loss": windows.loss,
        "options_hash": windows.options_hash,
        "episode": 5,
        "window": encode(window),
        "x": start.astype(np.float64),
    }
    return decode(LossReply, server.evaluate(encode(LossRequest(**{**values, **changes}))))


def test_an_evaluation_is_the_loss_itself(
    server: PhysicsLossServer, windows: PhysicsWindows
) -> None:
    window, start = windows.draw(5)
    x = np.random.default_rng(0).normal(0, 0.1, windows.dim)
    reply = ask(server, windows, x=x)
    value, gradient = load_window(TASK, window).value_and_grad(x)
    assert reply.status == "ok" and reply.request_id == 7 and reply.seconds > 0
    assert reply.loss == value
    np.testing.assert_array_equal(reply.gradient, gradient)
    assert windows.dim == 210 and start.dtype == np.float32 and not start.any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options_hash": "other"}, "this worker's are"),
        ({"loss": "synthetic"}, "this worker's are physics"),
        ({"window": pack({"clip": "walk"})}, "not a MotionWindow: fields ['clip'], want"),
        ({"window": encode(MotionWindow("moonwalk", 0.0, 0.25))}, "moonwalk"),
        ({"window": encode(MotionWindow("walk", 1e6, 0.25))}, "walk"),
        ({"window": encode(MotionWindow("walk", 0.0, 1.0))}, "window of 1.0 s"),
        ({"x": np.zeros(7)}, "(210,)"),
        ({"x": np.full(210, np.nan)}, "finite"),
        ({"x": np.zeros(210, np.float32)}, "float64"),
    ],
)
def test_bad_requests_get_one_clear_line(
    changes: dict, words: str, server: PhysicsLossServer, windows: PhysicsWindows
) -> None:
    reply = ask(server, windows, **changes)
    assert reply.status == "error" and words in reply.message
    assert len(reply.message.splitlines()) == 1
    assert ask(server, windows).status == "ok"  # the worker goes on


def test_garbage_is_answered(server: PhysicsLossServer) -> None:
    reply = decode(LossReply, server.evaluate(b"\x00garbage"))
    assert reply.status == "error" and reply.message.startswith("malformed request")


def test_an_oversized_request_is_refused_unread_and_counted(
    windows: PhysicsWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unread(*_: object) -> None:
        raise AssertionError("an oversized request was decoded")

    server = PhysicsLossServer(TASK)
    with monkeypatch.context() as patch:
        patch.setattr("msgpack.unpackb", unread)
        data = server.evaluate(bytes(MAX_REQUEST_BYTES + 100))
    reply = decode(LossReply, data)
    assert reply.status == "error" and reply.request_id == -1
    assert reply.message == "malformed request: message of 16777316 bytes; the limit is 16777216"
    assert server.statuses == {"error": 1}
    assert ask(server, windows).status == "ok"  # the worker goes on


def test_a_diverging_simulation_is_a_status(
    server: PhysicsLossServer, windows: PhysicsWindows
) -> None:
    reply = ask(server, windows, x=np.full(210, 1e200))
    assert reply.status == "nonfinite" and reply.gradient.size == 0


def test_spent_budget_and_second_caller(server: PhysicsLossServer, windows: PhysicsWindows) -> None:
    assert ask(server, windows, budget=-1.0).status == "expired"
    with server._busy:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ask(server, windows)))
        thread.start()
        thread.join(timeout=5)
        assert answers and answers[0].status == "busy"  # at once: a handler never waits
    assert server.ping() == "ok"


def test_what_was_answered_is_counted(tmp_path: Path, windows: PhysicsWindows) -> None:
    writer = MetricsWriter(tmp_path, "physics_worker")
    server = PhysicsLossServer(TASK, metrics=writer)
    ask(server, windows)
    ask(server, windows, x=np.zeros(7))
    server.report()
    writer.close()
    last = list(metrics.read(tmp_path / "metrics" / "physics_worker-0.jsonl"))[-1]
    assert last["evaluations"] == 1 and last["statuses"] == {"ok": 1, "error": 1}


def test_training_and_validation_windows_never_share_a_clip() -> None:
    clips = {}
    for split in ("train", "validation", "test"):
        source = PhysicsWindows(PhysicsTask(split=split, dt=1 / 120), seed=0)
        clips[split] = {source.draw(episode)[0].clip for episode in range(200)}
    assert len(clips["train"]) >= 5
    assert not clips["train"] & (clips["validation"] | clips["test"])
    assert not clips["validation"] & clips["test"]


def test_a_window_is_decided_by_seed_and_episode_alone(windows: PhysicsWindows) -> None:
    again = PhysicsWindows(TASK, seed=3)
    assert [windows.draw(k)[0] for k in range(20)] == [again.draw(k)[0] for k in range(20)]
    other = PhysicsWindows(TASK, seed=4)
    assert [windows.draw(k)[0] for k in range(20)] != [other.draw(k)[0] for k in range(20)]
