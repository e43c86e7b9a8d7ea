"""One real program, hurt in every way in turn; at its end the ledger must agree to the last bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimus.rundir import checkpoint
from tests.launch import fault_tools as faults
from tests.launch import run_tools as tools

pytestmark = tools.distributed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Run]:
    started = faults.Run(tmp_path_factory.mktemp("faults"), faults.config())
    try:
        started.progress(6, 180.0)
        yield started
    finally:
        tools.finish(started.process, started.run_dir)


def script(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=faults.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("role", ["physics_worker", "actor", "coordinator", "stream", "learner"])
def test_a_killed_role_comes_back_and_the_run_goes_on(run: faults.Run, role: str) -> None:
    run.kill(role)
    run.progress()
    if role == "learner":
        epochs = [e["version"][0] for e in run.events("learner-0", "learner_started")]
        assert epochs == [1, 2]


def test_a_hung_worker_process_is_gone_round_and_comes_back(run: faults.Run) -> None:
    victim = run.nodes("physics_worker")[1]
    victim.send_signal(signal.SIGSTOP)  # two of four workers: as if their host had vanished
    try:
        run.progress(6)
    finally:
        victim.send_signal(signal.SIGCONT)
    run.progress()


def test_a_hung_learner_holds_everybody_up_and_loses_nothing(run: faults.Run) -> None:
    victim = run.nodes("learner")[0]
    victim.send_signal(signal.SIGSTOP)
    time.sleep(3.0)
    victim.send_signal(signal.SIGCONT)
    run.progress()


def test_a_damaged_newest_checkpoint_is_passed_over(run: faults.Run) -> None:
    folder = run.run_dir / "checkpoints"
    victim = run.nodes("learner")[0]
    victim.send_signal(signal.SIGSTOP)  # so that no newer one is written meanwhile
    newest = checkpoint.latest_step(folder)
    state = folder / str(newest) / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-7])
    run.kill("learner")
    run.progress()
    step = run.events("learner-0", "learner_started")[-1]["version"][1]
    assert newest is not None and step < newest


def test_garbage_and_strangers_are_refused_and_counted(run: faults.Run) -> None:
    where = run.roster()
    out = script(
        """
        import os, sys
        from launch.adapters import courier
        from optimus.wire import Heartbeat, LossReply, View, decode, encode
        from optimus.wire.membership import PROTOCOL
        coordinator, worker, learner = sys.argv[1:]
        call = courier.Caller(coordinator, 10.0)
        print(decode(View, bytes(call("heartbeat", b"garbage"))).refused)
        stranger = Heartbeat(PROTOCOL, "another config", [])
        print(courier.RemoteCoordinator(coordinator).heartbeat(stranger).refused)
        print(decode(View, bytes(call("beat", encode(Heartbeat(1, "", []))))).refused)
        data = bytes(courier.Caller(worker, 10.0)("evaluate", os.urandom(1000)))
        print(decode(LossReply, data).message)
        sys.stdout.flush()
        os._exit(0)
        """,
        where["coordinator"][0],
        where["physics_worker"][0],
        where["learner"][0],
    )
    lines = out.splitlines()
    assert lines[0].startswith("malformed: ") and "another config, this run's is" in lines[1]
    assert "install the same version" in lines[2] and lines[3].startswith("malformed request")
    tools.wait_until(
        lambda: run.events("coordinator-0", "alive")[-1]["refused"] >= 3, 20.0, "refusals counted"
    )
    run.progress()


def test_a_worker_joins_by_one_command_and_leaves(run: faults.Run) -> None:
    process = tools.start("worker", "--coordinator", run.roster()["coordinator"][0])

    def workers(count: int) -> bool:
        return run.events("coordinator-0", "alive")[-1]["workers"] == count

    try:
        tools.wait_until(lambda: workers(5), 90.0, "a fifth worker")
        run.progress()
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0 and output.splitlines()[-1] == "left", output
        tools.wait_until(lambda: workers(4), 30.0, "four workers again")
        run.progress()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_at_the_end_every_sample_counted_once(run: faults.Run) -> None:
    """Runs last: the clean stop, the episodes given up, and the replayed ledger."""
    run.progress(3)
    given_up = run.events("actor-0", "given_up") + run.events("actor-1", "given_up")
    assert given_up and all(event["episode"] % 41 == 40 for event in given_up)
    assert "is poisoned" in given_up[0]["cause"]
    assert run.events("learner-0", "update")[-1]["failed"] > 0  # NaN losses are expected answers
    seconds, output = run.stop()
    assert seconds < 10.0, output
    counts = run.check_ledger()
    assert counts["updates"] >= 30 and counts["epochs"] == 3
    updates = run.events("learner-0", "update")
    assert len(updates) >= counts["updates"]


def test_a_role_that_keeps_failing_ends_the_run_with_its_cause(tmp_path: Path) -> None:
    layout = faults.Layout(actors=1, groups=1, lanes=2, workers=1, restarts=1)
    run = faults.Run(tmp_path, faults.config(layout=layout))
    try:
        run.progress(2, 180.0)
        run.kill("physics_worker")
        run.progress(1)
        run.nodes("physics_worker")[0].kill()
        output, _ = run.process.communicate(timeout=40)
        assert run.process.returncode == 1
        last = output.strip().splitlines()[-1]
        killed = "killed by signal 9 (SIGKILL), perhaps out of memory after 1 restarts (log: "
        assert f"physics_worker 0: {killed}" in last, output
        assert not tools.processes_of(run.run_dir)
    finally:
        tools.finish(run.process, run.run_dir)


@pytest.mark.story
def test_a_killed_supervisor_ends_the_run_and_is_named(tmp_path: Path) -> None:
    layout = faults.Layout(actors=1, groups=1, lanes=2, workers=1)
    run = faults.Run(tmp_path, faults.config(layout=layout))
    try:
        run.progress(1, 180.0)
        supervisor = run.nodes("actor")[0].parent()
        assert supervisor is not None and "launch.program.supervisor" in supervisor.cmdline()
        supervisor.kill()
        output, _ = run.process.communicate(timeout=40)
        assert run.process.returncode == 1
        last = output.strip().splitlines()[-1]
        log = run.run_dir / "logs/actor/0.log"
        assert f"actor 0: its supervisor was killed (log: {log})" in last, output
        assert not tools.processes_of(run.run_dir)
    finally:
        tools.finish(run.process, run.run_dir)


@pytest.mark.story
def test_a_synchronous_run_survives_too(tmp_path: Path) -> None:
    """Each update needs every lane: a killed actor begins a new epoch, a killed stream a resend."""
    layout = faults.Layout(actors=1, groups=2, lanes=2, workers=2, restarts=5)
    configuration = faults.config(
        synchronous=True, layout=layout, task=faults.ServedTask(dim=6), max_staleness=None
    )
    run = faults.Run(tmp_path, configuration)
    try:
        run.progress(3, 180.0)
        for role in ("actor", "stream", "physics_worker", "learner"):
            run.kill(role)
            run.progress()
        assert [e["cause"] for e in run.events("learner-0", "epoch")][:1] == ["actor 0 came back"]
        run.stop()
        assert run.check_ledger()["updates"] >= 3
    finally:
        tools.finish(run.process, run.run_dir)
