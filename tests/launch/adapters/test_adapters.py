"""Courier and Reverb behind our Protocols: real servers in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from tests.launch import run_tools as tools

pytestmark = tools.distributed


def run(code: str) -> str:
    """Runs a script in a fresh interpreter (Launchpad's engines want one each)."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


SERVER = """
    import os, threading, time, numpy as np
    from launch.adapters import courier as ours
    from launch.program import addresses
    import courier
    port = next(p for p in range(20000 + os.getpid() % 9000, 32000) if addresses.is_free(p))
    address = f"localhost:{port}"
    server = courier.Server(port=port)
"""


def test_arrays_are_refused_before_they_hang() -> None:
    out = run(
        SERVER
        + """
    server.Bind("echo", lambda value: value)
    server.Start()
    call = ours.Caller(address, 5.0)
    assert call("echo", b"bytes") == b"bytes"
    for bad in (np.zeros(3), np.float32(1), [np.zeros(1)], {"a": 1}):
        try:
            call("echo", bad)
        except TypeError as error:
            print(error)
    os._exit(0)
    """.replace("os._exit(0)", "import sys; sys.stdout.flush(); os._exit(0)")
    )
    assert out.count("Courier would hang on an array") == 4


def test_a_call_to_a_dead_server_ends_in_time() -> None:
    run(
        SERVER
        + """
    began = time.monotonic()
    for wait_for_ready in (True, False):
        try:
            ours.Caller(address, 1.0, wait_for_ready)("ping")
            raise SystemExit("answered")
        except ours.CallError as error:
            assert "ping" in str(error) and address in str(error)
    assert time.monotonic() - began < 8.0
    os._exit(0)
    """
    )


def test_an_actor_whose_learner_has_ended_stops_at_once() -> None:
    """It once waited out a call queued for the dead server, in the client's destructor, past the
    ten seconds that Launchpad gives: the whole local_mt program was killed at its very end."""
    run(
        SERVER
        + """
    server.Bind("parameters", lambda data: ours.encode(ours.Answer("ok", [])))
    server.Start()
    stop = threading.Event()
    learner = ours.RemoteLearner(address, "run", stop)
    assert learner.parameters(None) is None
    server.Stop()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    try:
        learner.parameters(None)
        raise SystemExit("answered")
    except ours.Stopped:
        pass
    del learner
    assert time.monotonic() - began < 5.0, time.monotonic() - began
    os._exit(0)
    """
    )


def test_who_is_told_to_stop_does_not_wait_for_a_hung_server() -> None:
    """The client's destructor waits for its calls: actors of a hung learner were killed for it."""
    run(
        SERVER
        + """
    server.Bind("parameters", lambda have: time.sleep(8.0))
    server.Start()
    stop = threading.Event()
    learner = ours.RemoteLearner(address, "run", stop)
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    try:
        learner.parameters(None)
        raise SystemExit("answered")
    except ours.Stopped:
        pass
    del learner
    assert time.monotonic() - began < 4.0, time.monotonic() - began
    os._exit(0)
    """
    )


def test_a_client_may_be_dropped_by_the_callback_of_its_own_call() -> None:
    """It once joined its own thread then, and the actor died: "Resource deadlock avoided"."""
    out = run(
        SERVER
        + """
    server.Bind("evaluate", lambda request: request)
    server.Start()
    answers = []
    for _ in range(10):
        arrived = threading.Event()
        link = ours.CourierLink(address, 5.0)

        def done(outcome, value, link=link, arrived=arrived):
            arrived.set()
            time.sleep(0.05)  # so that this frame is the last that knows the link
            answers.append(outcome)

        link.start(b"x", done)
        del link, done
        assert arrived.wait(5.0)
    time.sleep(0.5)
    import sys; print(answers); sys.stdout.flush(); os._exit(0)
    """
    )
    assert out.count("'ok'") == 10


def test_the_pool_goes_round_a_dead_a_refusing_and_a_raising_worker() -> None:
    run(
        SERVER
        + """
    from launch.pool import Rules, WorkerPool
    from optimus.wire import LossReply, LossRequest, LossUnavailable, NoWorkers, decode, encode
    busy = [0]
    def evaluate(data):
        request = decode(LossRequest, data)
        busy[0] += 1
        if busy[0] == 1:
            return encode(LossReply(request.request_id, "busy"))
        if request.window == b"bad":
            return encode(LossReply(request.request_id, "error", message="no such clip"))
        if request.window == b"worse":
            raise RuntimeError("worse than bad")
        if request.window == b"torn":
            return b"OPT1 torn"
        x = request.x
        return encode(LossReply(request.request_id, "ok", float(x.sum()), 2 * x, 0.1))
    server.Bind("evaluate", evaluate)
    server.Start()
    pool = WorkerPool(ours.connector(5.0), Rules(), ["localhost:1", address])
    x = np.arange(4.0)
    futures = [pool.submit(LossRequest(k, 20.0, "sum", "h", 0, b"", x + k)) for k in range(30)]
    for k, future in enumerate(futures):
        reply = future.result(timeout=30)
        assert reply.request_id == k and reply.loss == (x + k).sum()
        np.testing.assert_array_equal(reply.gradient, 2 * (x + k))
    assert pool.counts()["unreachable"] >= 1 and pool.counts()["busy"] >= 1, pool.counts()
    pool.set_workers([address])
    for window, words in ((b"bad", "no such clip"), (b"worse", "RuntimeError: worse than bad"),
                          (b"torn", "malformed reply")):
        try:
            pool.submit(LossRequest(99, 5.0, "sum", "h", 0, window, x)).result(timeout=30)
            raise SystemExit("no error")
        except LossUnavailable as error:
            assert words in str(error) and address in str(error), error
    assert pool.counts()["given_up"] == 3 and pool.counts()["open"] == 0
    pool.close()
    lonely = WorkerPool(ours.connector(5.0), Rules(patience=1.0), ["localhost:1"])
    try:
        lonely.submit(LossRequest(1, 5.0, "sum", "h", 0, b"", x)).result(timeout=30)
        raise SystemExit("answered")
    except NoWorkers as error:
        assert "no loss worker has answered" in str(error)
    lonely.close()
    os._exit(0)
    """
    )


def test_the_stream_blocks_when_full_and_keeps_order() -> None:
    run(
        SERVER
        + """
    from launch.adapters import reverb as stream
    stop = threading.Event()
    threading.Thread(target=stream.serve, args=(port, 4, stop), daemon=True).start()
    writer = stream.StreamWriter(address)
    sent = 0
    while writer.put(b"%d" % sent, timeout=0.5):
        sent += 1
        assert sent < 50
    assert sent == 4  # the fifth waits: nothing is dropped, memory is bounded
    import reverb
    assert reverb.Client(address).server_info(timeout=2)[stream.TABLE].current_size == 4
    reader = stream.StreamReader(address, capacity=2)
    assert [reader.get(5.0) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert writer.put(b"", timeout=5.0)
    assert reader.get(0.1) is None
    big = bytes(range(256)) * 8
    assert writer.put(big, timeout=5.0) and reader.get(5.0) == big
    try:
        writer.put(big + b"x", timeout=1.0)
        raise SystemExit("accepted")
    except ValueError as error:
        assert "2048" in str(error)
    os._exit(0)
    """
    )


def test_an_actor_leaves_the_learner_of_another_run() -> None:
    """Left over from a run that had the same port: it must neither send nor wait."""
    run(
        SERVER
        + """
    from optimus.wire import Entrance, Version, served
    class Learner(Entrance):
        @served
        def parameters(self, have: list[int]) -> list:
            return [1, 2, b"weights"]
    entrance = Learner("ours")
    server.Bind("parameters", entrance.parameters)
    server.Bind("session", lambda actor, incarnation: b"of protocol 2")
    server.Bind("reserve_episodes", lambda data: 7)
    server.Start()
    began = time.monotonic()
    assert ours.RemoteLearner(address, "ours").parameters(None) == (Version(1, 2), b"weights")
    for method, arguments, words in (
        ("parameters", (Version(1, 2),), "refuses this process: parameters: of run 'theirs', this"),
        ("reserve_episodes", (5,), "is no head of this version"),
    ):
        try:
            getattr(ours.RemoteLearner(address, "theirs"), method)(*arguments)
            raise SystemExit("answered")
        except ours.Refused as error:
            assert words in str(error) and address in str(error), error
            assert error.final and len(str(error).splitlines()) == 1
    assert entrance.refused == {"foreign_run": 1}
    try:
        ours.Caller(address, 5.0)("session", b"x")
        raise SystemExit("answered")
    except ours.CallError as error:
        assert len(str(error).splitlines()) == 1, error
    assert time.monotonic() - began < 10.0
    os._exit(0)
    """
    )


def test_stray_items_of_every_kind_are_handed_over_as_no_sample() -> None:
    """Between them every sample comes, in order: a reader that began anew would lose those that it
    had in its hands, and a synchronous run waits for each."""
    run(
        SERVER
        + """
    from launch.adapters import reverb as stream
    import reverb
    stop = threading.Event()
    threading.Thread(target=stream.serve, args=(port, 50, stop), daemon=True).start()
    writer = stream.StreamWriter(address)
    reader = stream.StreamReader(address, capacity=2)
    client = reverb.Client(address)
    frame = stream._frame(b"stray", 2048)
    long = np.frombuffer((2**31).to_bytes(4, "little"), np.uint8)
    strays = [
        np.float32(1.0), np.zeros(0, np.uint8), frame.astype(np.float32), frame[:-1],
        np.stack([frame, frame]), np.zeros((3, 4, 5)), [frame, frame], {"a": frame, "b": frame},
        np.array(["text"]), np.zeros(2**24, np.uint8), [np.zeros(3), np.zeros((2, 2))],
        np.concatenate([long, frame[4:]]),
    ]
    expected = []
    def sent(k):
        assert writer.put(b"%d" % k, timeout=10.0)
        expected.append(b"%d" % k)
    sent(0)
    for k, stray in enumerate(strays):
        client.insert(stray, {stream.TABLE: 1.0})
        expected.append(b"")
        sent(k + 1)
    with client.trajectory_writer(num_keep_alive_refs=3) as odd:  # items of several steps
        for _ in range(3):
            odd.append({"sample": frame})
        odd.create_item(stream.TABLE, 1.0, {"sample": odd.history["sample"][-3:]})
        odd.append({"sample": frame, "more": np.zeros(2)})
        odd.create_item(stream.TABLE, 1.0, {
            "sample": odd.history["sample"][-3:], "more": odd.history["more"][-1:]})
        odd.flush()
    expected += [b"", b""]
    sent(99)
    got = [reader.get(10.0) for _ in expected]
    assert got == expected, [g if g is None else g[:20] for g in got]
    assert reader.reconnected == 0 and reader.get(0.1) is None
    os._exit(0)
    """
    )
