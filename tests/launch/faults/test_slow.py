"""A learner that cannot keep up, and a user who cannot wait."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from optimus.config import ServedTask
from tests.launch import fault_tools as faults
from tests.launch import run_tools as tools

pytestmark = [tools.distributed, pytest.mark.story]

# Nobody sleeps: actors make samples as fast as they can. 12 lanes, episodes of 5 windows.
LAYOUT = faults.Layout(actors=2, groups=2, lanes=3, workers=2, per_process=2, restarts=1000)
CONFIG = faults.config(task=ServedTask(dim=6), layout=LAYOUT)
BATCH = CONFIG.phases[0].meta.batch
# Samples between actor and update: the stream holds 2 batches, its reader one, the learner gathers
# one; Reverb's reader and writers have two or three each in their hands; each group has a window.
MOST_IN_FLIGHT = 4 * BATCH + 3 * (1 + LAYOUT.actors) + LAYOUT.total_lanes
# Of one sample: two signs, and the start's.
MOST_EVALUATIONS = 2 * CONFIG.phases[0].estimator.truncation + 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Run]:
    started = faults.Run(tmp_path_factory.mktemp("slow"), CONFIG)
    try:
        started.progress(6, 180.0)
        tools.wait_until(lambda: all(made(started)), 90.0, "work of every actor")
        yield started
    finally:
        tools.finish(started.process, started.run_dir)


def made(run: faults.Run) -> list[int]:
    """Evaluations of finished windows, by actor, as last reported (every 2 s)."""
    last = [run.events(f"actor-{k}", "alive")[-1:] for k in range(LAYOUT.actors)]
    return [records[0]["evaluations"] if records else 0 for records in last]


def wait_until_all_wait(run: faults.Run) -> None:
    """With the learner stopped: until no actor has finished a window from one report to the next
    but one."""
    began = time.time()

    def still() -> bool:
        last = [run.events(f"actor-{k}", "alive")[-3:] for k in range(LAYOUT.actors)]
        return all(
            len(records) == 3
            and records[0]["time"] > began
            and records[0]["evaluations"] == records[-1]["evaluations"]
            for records in last
        )

    tools.wait_until(still, 30.0, "back-pressure: actors that wait for the learner")


def in_flight(run: faults.Run) -> tuple[int, int]:
    """(evaluations made that are in no update yet, evaluations of refused samples at most)."""
    last: dict[str, Any] = run.events("learner-0", "update")[-1]
    refused = sum(last["refused"].values())
    return sum(made(run)) - last["evaluations"], MOST_EVALUATIONS * refused


def megabytes(run: faults.Run) -> dict[str, float]:
    """Resident memory of the roles that samples pass through."""
    return {
        f"{role} {process.pid}": process.memory_info().rss / 2**20
        for role in ("actor", "stream", "learner")
        for process in run.nodes(role)
    }


def test_a_slow_learner_holds_actors_back_and_loses_nothing(run: faults.Run) -> None:
    """Stopped, then at a tenth of its speed, then free: what was made is learned, refused and
    counted, or among the few in flight; nothing piles up."""
    (learner,) = run.nodes("learner")
    before: dict[str, float] = {}
    try:
        learner.send_signal(signal.SIGSTOP)
        wait_until_all_wait(run)
        pending, refused = in_flight(run)
        assert 0 < pending <= refused + MOST_EVALUATIONS * MOST_IN_FLIGHT
        before, updates = megabytes(run), run.updates()
        for _ in range(60):
            learner.send_signal(signal.SIGCONT)
            time.sleep(0.015)
            learner.send_signal(signal.SIGSTOP)
            time.sleep(0.135)
        assert run.updates() > updates, "it was to be slow, not dead"
        wait_until_all_wait(run)
        pending, refused = in_flight(run)
        assert 0 < pending <= refused + MOST_EVALUATIONS * MOST_IN_FLIGHT
    finally:
        learner.send_signal(signal.SIGCONT)
    run.progress(20)
    after = megabytes(run)
    assert after.keys() == before.keys(), "nobody was started again"
    assert all(after[name] < before[name] + 24.0 for name in before), (before, after)
    assert run.events("learner-0", "update")[-1]["accepted"] >= 30 * BATCH
    assert not any(run.events(f"actor-{k}", "given_up") for k in range(LAYOUT.actors))


def test_a_second_ctrl_c_ends_at_once_what_would_not_stop(run: faults.Run) -> None:
    """Runs last. The hung learner and a worker that hangs on to a hung coordinator."""
    stranger = tools.start("worker", "--coordinator", run.roster()["coordinator"][0])
    try:
        tools.wait_until(
            lambda: run.events("coordinator-0", "alive")[-1]["workers"] == 3, 60.0, "a newcomer"
        )
        for role in ("learner", "coordinator"):
            run.nodes(role)[0].send_signal(signal.SIGSTOP)
        children = psutil.Process(run.process.pid).children(recursive=True)
        for process in (stranger, run.process):
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        tools.wait_until(lambda: not run.nodes("actor"), 7.0, "those gone that can stop")
        assert run.process.poll() is None and stranger.poll() is None, "it asks before it kills"
        began = time.monotonic()
        for process in (stranger, run.process):
            os.killpg(process.pid, signal.SIGINT)
        output, _ = stranger.communicate(timeout=10)
        assert stranger.returncode == 1, output
        assert output.splitlines()[-1] == "optimus: interrupted", output
        run.process.communicate(timeout=10)
        assert run.process.returncode != 0
        tools.wait_until(lambda: not any(map(alive, children)), 5.0, "no process of the run left")
        assert time.monotonic() - began < 5.0  # one Ctrl-C alone takes the 8 s of grace
        assert not tools.processes_of(run.run_dir)
        found, problems = tools.checkpoint.load_latest(run.run_dir / "checkpoints")
        assert found is not None and not problems and found.step >= CONFIG.checkpoint_every
    finally:
        if stranger.poll() is None:
            stranger.kill()
        stranger.communicate()


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
