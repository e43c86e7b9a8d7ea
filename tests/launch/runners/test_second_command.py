"""A run directory that another process runs: every second command leaves each byte of it alone."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.cli.train import Train
from launch.fleet.on_host import actions
from launch.fleet.on_host.state import Problem
from launch.runners import distributed_missing, train
from launch.sweeps import Arm, Cell
from launch.sweeps import run as sweep_run
from optimus import rundir
from optimus.config import ServedTask, TrainConfig, override, to_dict
from optimus.rundir import RunDirError, checkpoint
from tests.launch import fault_tools, run_tools
from tests.launch.run_dirs import config, make


def contents(run_dir: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but the lock: when it was written and what it holds."""
    files = (path for path in sorted(run_dir.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(run_dir)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
        if path.name != ".lock"
    }


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    run_dir = make(tmp_path / "run")
    with rundir.owned(run_dir):
        yield run_dir


def test_a_run_whose_lock_was_removed_is_still_held(running: Path) -> None:
    for change in (Path.unlink, lambda path: path.write_text("")):
        change(running / ".lock")
        with pytest.raises(RunDirError, match="is being run by another"), rundir.owned(running):
            raise AssertionError


SECOND = {
    "shorter": ["updates=5"],
    "longer": ["updates=100000"],
    "other values that may change": ["keep_checkpoints=1", "checkpoint_every=1", "evaluator=true"],
    "the same": [],
    "another": ["seed=9"],
}


@pytest.mark.parametrize("changes", SECOND.values(), ids=SECOND)
def test_a_second_train_is_refused_and_writes_nothing(running: Path, changes: list[str]) -> None:
    before, said = contents(running), []
    with pytest.raises(RunDirError, match="is being run by another process") as caught:
        train.train(override(config(), changes), running, "inprocess", said.append)
    assert "\n" not in str(caught.value) and str(running) in str(caught.value)
    assert contents(running) == before and said == []


def test_a_second_train_of_another_launch_or_through_a_link(running: Path) -> None:
    before, link = contents(running), running.with_name("link")
    link.symlink_to(running)
    with pytest.raises((RunDirError, ValueError)):
        train.train(config(), running, "fused", print)
    with pytest.raises(RunDirError, match="is being run"):
        command = Train(str(running / "config.json"), run_dir=link, launch="inprocess")
        command.run(print)
    assert contents(running) == before


def test_a_sweep_over_a_running_cell_writes_nothing_there(running: Path) -> None:
    (running / "checkpoints" / "LATEST").unlink()
    for step in checkpoint.steps(running / "checkpoints"):  # that of a fused run, not begun
        os.rename(running / "checkpoints" / str(step), running / f"was-{step}")
    before = contents(running)
    cell = Cell(Arm("base"), 0, config(), running)
    with pytest.raises(RunDirError, match="is being run"):
        sweep_run.run([cell], running.parent, print, [cell])
    assert contents(running) == before


def test_a_finished_run_keeps_its_configuration_when_fewer_updates_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was mistyped, most likely: what was configured is what a resumed run goes on to."""
    run_dir = make(tmp_path / "run")
    before = (run_dir / "config.json").read_bytes()
    monkeypatch.setattr(train, "summarise", lambda *_: None)
    said: list[str] = []
    train.train(override(config(), ["updates=5"]), run_dir, "inprocess", said.append)
    assert said == ["this run is finished at update 10"]
    assert (run_dir / "config.json").read_bytes() == before


@run_tools.distributed
@pytest.mark.skipif(distributed_missing() is not None, reason=str(distributed_missing()))
@pytest.mark.story
def test_restarted_nodes_run_what_the_program_was_started_with(tmp_path: Path) -> None:
    """Whatever becomes of `config.json` while it runs."""
    chosen: TrainConfig = fault_tools.config(task=ServedTask(dim=6, sleep=0.03))
    run = fault_tools.Run(tmp_path, chosen)
    try:
        run.progress(3)
        for text in (json.dumps(to_dict(dataclasses.replace(chosen, updates=5))), "{"):
            (run.run_dir / "config.json").write_text(text)
            for role in ("learner", "actor", "physics_worker"):
                run.kill(role)
            run.progress(8)
        assert run.updates() > 5
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(40) == 0
    finally:
        run_tools.finish(run.process, run.run_dir)


def test_a_second_fleet_start_with_other_values_is_refused_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """supervisord starts a head that died anew, from request.json."""
    states = {"head": "RUNNING pid 7, uptime 0:01:02"}
    monkeypatch.setattr(actions, "supervisor_pid", lambda _: 7)
    monkeypatch.setattr(actions, "programs", lambda _: states)
    monkeypatch.setattr(actions, "control", lambda *_: "")
    monkeypatch.setattr(actions, "_wait_for_head", lambda *_: ("", ""))
    run = {"run": "r", "id": "0" * 12, "role": "head", "address": "h", "port": 20100}
    run |= {"workers": 0, "per_process": 1, "worker_port": 21000, "coordinator": "h:20100"}
    asked = {"run": run, "config": to_dict(config())}
    actions.start(tmp_path, asked)
    before = (tmp_path / "runs" / "r" / "request.json").read_bytes()
    actions.start(tmp_path, asked)
    other = asked | {"config": to_dict(override(config(), ["updates=5"]))}
    with pytest.raises(Problem, match="'r' runs here with other values; stop it first"):
        actions.start(tmp_path, other)
    assert (tmp_path / "runs" / "r" / "request.json").read_bytes() == before
    states["head"] = "EXITED Jan 01 00:00 AM"
    actions.start(tmp_path, other)
    assert (tmp_path / "runs" / "r" / "request.json").read_bytes() != before
