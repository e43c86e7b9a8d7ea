"""`optimus fleet` from deploying to stopping, on two hosts that share nothing."""

from __future__ import annotations

import socket

import pytest

from optimus.rundir import checkpoint
from tests.launch import run_tools as tools
from tests.launch.fleet.deployment import Fleet


@pytest.mark.timeout(900)
def test_a_run_from_deploy_to_stop(fleet: Fleet) -> None:
    """deploy, start, status, logs, scale, collect, stop; the other stories are in test_stories."""
    fleet.need("h1", "w1")
    fleet.quiet()
    assert fleet.deploy().count("already") == 2  # twice is safe
    fleet.run("start", str(fleet.config))
    fleet.progress(3)
    text = fleet.run("status")
    assert "h1: 'fleet': head, " in text and "w1: 'fleet': 2 workers; 1 of 1 processes up" in text
    assert "running, update " in text
    text = fleet.run("logs", "--lines", "3")
    assert "-- h1: logs/head.log" in text and "-- w1: logs/worker-0.log" in text
    fleet.run("scale", "1")
    tools.wait_until(lambda: fleet.workers() == 2, 60.0, "one worker beside the head's own")
    folder = fleet.hosts.folder / "one"
    assert f"collected into {folder}" in fleet.run("collect", "--run-dir", str(folder))
    assert (folder / "logs/w1/worker-0.log").is_file() and (folder / "metrics").is_dir()
    fleet.run("stop", "--run-dir", str(folder))
    found, problems = checkpoint.load_latest(folder / "checkpoints")
    assert found is not None and found.step >= 3 and not problems
    assert not any(host.processes() for host in fleet.hosts.all.values())


def test_a_port_probe_sees_what_listens() -> None:
    from launch.fleet.on_host.state import is_free

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
