"""Two hosts, a cable between them: who joins from the other one, and what a cut does.

The head's processes and the newcomers live in two network namespaces, where nothing but the cable
joins them. `http_proxy` is set to nowhere, as a site's proxy for web pages is for a cluster.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.launch import fault_tools as faults
from tests.launch import network_tools as network
from tests.launch import run_tools as tools

pytestmark = [tools.distributed, pytest.mark.story]

PORT = 20100
COORDINATOR = f"{network.HEAD}:{PORT}"
LAYOUT = faults.Layout(actors=1, groups=2, lanes=6, workers=2, per_process=2, restarts=1000)


@pytest.fixture(scope="module")
def hosts() -> Iterator[network.Hosts]:
    try:
        made = network.Hosts()
    except network.Unavailable as error:
        pytest.skip(f"no two hosts to cut apart: {error}")
    yield made
    made.close()


@pytest.fixture(scope="module")
def run(hosts: network.Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Run]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy"):
            patch.setenv(name, "http://192.0.2.1:3128")  # TEST-NET-1: nobody is there
        started = faults.Run(
            tmp_path_factory.mktemp("network"),
            faults.config(layout=LAYOUT),
            "--advertise",
            network.HEAD,
            "--port",
            str(PORT),
            prefix=hosts.head,
        )
        try:
            started.progress(4, 180.0)
            yield started
        finally:
            tools.finish(started.process, started.run_dir)


@pytest.fixture(scope="module")
def newcomers(hosts: network.Hosts, run: faults.Run) -> Iterator[list[subprocess.Popen[str]]]:
    """Two workers and an actor on the other host; each command names the coordinator only."""
    started = [
        tools.start("worker", "--coordinator", COORDINATOR, "--count", "2", prefix=hosts.other),
        tools.start("actor", "--coordinator", COORDINATOR, prefix=hosts.other),
    ]
    try:
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def present(run: faults.Run, workers: int, actors: int, seconds: float) -> None:
    def counted() -> bool:
        assert run.process.poll() is None, f"ended: {run.process.communicate()[0]}"
        last = run.events("coordinator-0", "alive")[-1]
        return (last["workers"], last["actors"]) == (workers, actors)

    tools.wait_until(counted, seconds, f"{workers} workers and {actors} actors")


def the_others_alone_carry_the_run(run: faults.Run) -> None:
    """With the head's own worker process and actor stopped, whatever is learned came by cable."""
    own: list[psutil.Process] = run.nodes("physics_worker") + run.nodes("actor")
    assert len(own) == 2
    for process in own:
        process.send_signal(signal.SIGSTOP)
    try:
        run.progress(8)  # 32 samples; the head's 12 lanes, and the stream's 8, are no explanation
    finally:
        for process in own:
            process.send_signal(signal.SIGCONT)


def test_workers_and_an_actor_join_from_another_host(
    run: faults.Run, newcomers: list[subprocess.Popen[str]]
) -> None:
    assert run.roster()["learner"] == [f"{network.HEAD}:{PORT + 1}"]
    present(run, workers=4, actors=2, seconds=90.0)
    the_others_alone_carry_the_run(run)


def test_a_cut_cable_costs_the_other_host_only_and_both_come_back(
    hosts: network.Hosts, run: faults.Run, newcomers: list[subprocess.Popen[str]]
) -> None:
    present(run, workers=4, actors=2, seconds=30.0)
    hosts.cut()
    try:
        run.progress(6)
        present(run, workers=2, actors=1, seconds=40.0)  # a time to live later
        run.progress(6)
    finally:
        hosts.restore()
    present(run, workers=4, actors=2, seconds=60.0)
    the_others_alone_carry_the_run(run)
    assert all(process.poll() is None for process in newcomers)


def test_one_leaves_by_ctrl_c_and_the_end_reaches_the_other_host(
    run: faults.Run, newcomers: list[subprocess.Popen[str]]
) -> None:
    """Runs last: a clean stop on both hosts, and every sample counted once."""
    workers, actor = newcomers
    os.killpg(actor.pid, signal.SIGINT)
    output, _ = actor.communicate(timeout=30)
    assert actor.returncode == 0 and output.splitlines()[-1] == "left", output
    run.progress(2)
    seconds, output = run.stop()
    assert seconds < 10.0, output
    output, _ = workers.communicate(timeout=30)
    assert workers.returncode == 0 and output.splitlines()[-1] == "the run is over", output
    assert f"at {network.OTHER}:" in output.splitlines()[0]
    counts = run.check_ledger()
    assert counts["updates"] >= 30 and counts["epochs"] == 1
