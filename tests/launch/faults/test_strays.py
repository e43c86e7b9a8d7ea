"""A synchronous program among strangers: the updates go on, and everything refused is counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from launch.monitoring.status import read_status
from tests.launch import fault_tools as faults
from tests.launch import run_tools as tools

pytestmark = [tools.distributed, pytest.mark.story]

STRANGER = """
    import os, sys
    import numpy as np, reverb
    from launch.adapters import courier, reverb as stream
    from optimus.wire import PROTOCOL, CodecError, Heartbeat, Refused, Sample, encode
    coordinator, learner, samples = sys.argv[1:]
    sample = Sample("another run", 0, "b", 0, 0, [[1, 0]], np.zeros((2, 2), np.float32),
                    np.ones(2, bool), False, False, 4, 0.5, 0)
    writer = stream.StreamWriter(samples)
    for _ in range(3):
        assert writer.put(encode(sample), timeout=20.0)  # the last item of an earlier run
        assert writer.put(b"garbage", timeout=20.0)
    client = reverb.Client(samples)
    for stray in (np.zeros(3), [np.zeros(3), np.zeros((2, 2))], np.zeros((4, 2052), np.uint8)):
        client.insert(stray, {stream.TABLE: 1.0})
    theirs = courier.RemoteLearner(learner, "another run")
    others = courier.RemoteCoordinator(coordinator, run_id="another run")
    for call, arguments in ((theirs.session, (0, "b")), (theirs.parameters, (None,)),
                            (theirs.reserve_episodes, (5,)), (others.finish, (1,))):
        try:
            call(*arguments)
            raise SystemExit(f"{call} was answered")
        except Refused as error:
            print(error)
    for address, method, arguments in (
        (coordinator, "finish", ()), (coordinator, "run", ()), (learner, "run", ()),
        (learner, "session", (0, "b")), (learner, "parameters", (None,)), (learner, "save", ()),
        (coordinator, "heartbeat", (b"",)), (coordinator, "heartbeat", (5, None)),
    ):
        try:
            courier.Caller(address, 5.0)(method, *arguments)
        except courier.CallError as error:
            print(error)
    sys.stdout.flush()
    os._exit(0)
"""


def test_strays_neither_end_nor_stop_a_synchronous_run(tmp_path: Path) -> None:
    layout = faults.Layout(actors=2, groups=1, lanes=2, workers=2, restarts=5)
    configuration = faults.config(
        synchronous=True, layout=layout, task=faults.ServedTask(dim=6), max_staleness=None
    )
    run = faults.Run(tmp_path, configuration)
    try:
        run.progress(3, 180.0)
        where = run.roster()
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(STRANGER)]
            + [where[role][0] for role in ("coordinator", "learner", "stream")],
            cwd=faults.ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("of run 'another run', this is run") == 4, done.stdout
        run.progress(10)
        update = run.events("learner-0", "update")[-1]
        assert update["epoch"] == 1  # nobody made it begin another
        assert update["refused"]["foreign_run"] == 3 and update["refused"]["malformed"] == 6
        assert update["refused_calls"] == {"foreign_run": 3, "malformed": 2}

        def counted() -> bool:
            reasons = run.events("coordinator-0", "alive")[-1].get("reasons", {})
            return reasons == {"foreign_run": 1, "malformed": 3}

        tools.wait_until(counted, 30.0, "the coordinator's refusals counted")
        status = read_status(run.run_dir)
        assert status.refused["foreign_run"] == 3
        assert status.refused_calls == {"foreign_run": 4, "malformed": 5}
        for role in ("actor", "learner"):
            log = (run.run_dir / "logs" / role / "0.log").read_text()
            assert "Traceback" not in log, log
        run.stop()
        assert run.check_ledger()["updates"] >= 13
    finally:
        tools.finish(run.process, run.run_dir)


@pytest.mark.parametrize("role", ["coordinator", "stream", "learner", "physics_worker"])
def test_a_killed_thin_parent_is_named(tmp_path: Path, role: str) -> None:
    """An actor's, and more: `test_faults.py`."""
    layout = faults.Layout(actors=1, groups=1, lanes=2, workers=1)
    run = faults.Run(tmp_path, faults.config(layout=layout))
    try:
        run.progress(1, 180.0)
        supervisor = run.nodes(role)[0].parent()
        assert supervisor is not None
        os.kill(supervisor.pid, signal.SIGKILL)
        output, _ = run.process.communicate(timeout=40)
        last = output.strip().splitlines()[-1]
        log = run.run_dir / "logs" / role / "0.log"
        assert last == f"optimus: {role} 0: its supervisor was killed (log: {log})", output
        assert run.process.returncode == 1 and not tools.processes_of(run.run_dir)
    finally:
        tools.finish(run.process, run.run_dir)
