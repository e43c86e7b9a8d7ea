"""A real local_mp run, its processes and its signals."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.launch import run_tools as tools

pytestmark = tools.distributed

LONG = (
    "train",
    "physics-small",
    "--launch",
    "local_mp",
    "--set",
    "updates=10000",
    "--set",
    "optimizer.dim=8",
    "--set",
    "optimizer.heads=2",
    "--set",
    "optimizer.encoders=1",
    "--set",
    "meta.batch=4",
    "--set",
    "layout.lanes=2",
    "--set",
    "checkpoint_every=5",
    "--set",
    "evaluation.tasks=2",
    "--set",
    "evaluation.steps=2",
)


def test_interrupt_stops_everything_and_the_run_resumes(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = tools.start(*LONG, "--run-dir", str(run_dir))
    try:
        tools.wait_for_updates(run_dir, process)
        # Coordinator, stream, learner, 2 workers, actor, each with a thin parent, and the launcher.
        assert len(tools.processes_of(run_dir)) == 13
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        output, _ = process.communicate(timeout=30)
        assert time.monotonic() - began < 10.0
        assert process.returncode == 0, output
        assert "this resumes: optimus train" in output
        assert not tools.processes_of(run_dir)
    finally:
        tools.finish(process, run_dir)

    stopped = tools.events(run_dir, "learner-0", "stopped")[-1]
    saved = tools.checkpoint.load_latest(run_dir / "checkpoints")[0]
    assert saved is not None and saved.step == stopped["step"] >= 2  # a final checkpoint
    result = tools.optimus(
        *LONG,
        "--run-dir",
        str(run_dir),
        "--set",
        f"updates={saved.step + 2}",
        "--set",
        "evaluation.steps=3",
    )
    # `evaluation` belongs to the run's identity, so that attempt is refused ...
    assert result.returncode == 1 and "another configuration" in result.stderr
    result = tools.optimus(*LONG, "--run-dir", str(run_dir), "--set", f"updates={saved.step + 2}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"resuming from update {saved.step}" in result.stdout
    updates = tools.events(run_dir, "learner-0", "update")
    assert [u["step"] for u in updates] == list(range(1, saved.step + 3))  # none twice, none lost
    assert updates[-1]["epoch"] == 2
    manifest = tools.checkpoint.load(run_dir / "checkpoints" / str(saved.step + 2)).manifest
    fresh = [int(episode) for episode in manifest["open_episodes"]]
    assert min(fresh) > max(int(e) for e in saved.manifest["open_episodes"])  # ids never reused
    assert not tools.processes_of(run_dir)


@pytest.mark.parametrize(
    "role", [pytest.param("physics_worker", marks=pytest.mark.story), "learner"]
)
def test_a_killed_node_without_restarts_ends_the_run(role: str, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = tools.start(*LONG, "--run-dir", str(run_dir), "--set", "layout.restarts=0")
    try:
        tools.wait_for_updates(run_dir, process)
        began = time.monotonic()
        tools.node(run_dir, role).send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=30)
        assert time.monotonic() - began < 10.0
        assert process.returncode == 1, output
        last = output.strip().splitlines()[-1]
        assert re.search(rf"{role} \d: killed by signal 9 \(SIGKILL\), .* \(log: ", last), last
        assert not tools.processes_of(run_dir)
        assert tools.events(run_dir, "launcher-0", "ended")[-1]["state"] == "failed"
    finally:
        tools.finish(process, run_dir)


def test_killing_the_launcher_leaves_no_process(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = tools.start(*LONG, "--run-dir", str(run_dir))
    try:
        tools.wait_for_updates(run_dir, process)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        tools.wait_until(lambda: not tools.processes_of(run_dir), 10.0, "all processes gone")
    finally:
        tools.finish(process, run_dir)


@pytest.mark.story
def test_a_run_dir_is_run_once_at_a_time(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = tools.start(*LONG, "--run-dir", str(run_dir))
    try:
        tools.wait_for_updates(run_dir, process, 1)
        second = tools.optimus(*LONG, "--run-dir", str(run_dir))
        assert second.returncode == 1
        assert "being run by another process" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        tools.finish(process, run_dir)


def test_asynchronous_actors_are_bounded_in_staleness(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    result = tools.optimus(
        "train",
        "smoke",
        "--launch",
        "local_mp",
        "--run-dir",
        str(run_dir),
        "--set",
        "synchronous=false",
        "--set",
        "updates=40",
        "--set",
        "layout.actors=2",
        "--set",
        "layout.groups=2",
        "--set",
        "layout.lanes=3",
        "--set",
        "meta.batch=5",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    updates = tools.events(run_dir, "learner-0", "update")
    assert [u["step"] for u in updates] == list(range(1, 41))
    bound = max(1, 4 * 12 // (2 * 5))
    assert max(u["staleness"] for u in updates) <= bound
    last = updates[-1]
    assert last["accepted"] >= 40 * 5  # every accepted sample is in exactly one batch
    assert set(last["refused"]) <= {"stale"}
    assert not tools.processes_of(run_dir)
