"""Runs of several phases on served losses: one command, and a resumed one lands in its phase."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from launch import builders
from launch.runners import actors_cannot, distributed_missing, fused_cannot, inprocess
from optimus import rundir
from optimus.config import (
    Estimator,
    Evaluation,
    Layout,
    MetaOptimizer,
    Phase,
    ServedTask,
    TrainConfig,
    to_dict,
)
from optimus.meta.update import theta_from_arrays
from optimus.rundir import checkpoint
from optimus.rundir.metrics import read
from tests.launch import run_tools
from tests.learner import ledger_audit as ledger
from tests.workers import fakes

CONFIG = TrainConfig(
    name="staged",
    task=ServedTask(dim=4),
    updates=7,
    phases=(
        Phase(
            3,
            Estimator("bptt", truncation=2, horizon=6),
            MetaOptimizer(batch=4),
            Layout(actors=1, groups=2, lanes=2, workers=1),
        ),
        Phase(
            None,
            Estimator("pes", truncation=3, horizon=6, sigma=0.02),
            MetaOptimizer(batch=3, learning_rate=1e-3),
            Layout(actors=1, groups=1, lanes=3, workers=1),
        ),
    ),
    optimizer=fakes.SMALL,
    evaluation=Evaluation(tasks=2, steps=2),
    checkpoint_every=2,
    keep_checkpoints=20,
)


def run(config: TrainConfig, run_dir: Path) -> None:
    rundir.prepare(run_dir, config)
    assert inprocess.run(config, run_dir, threading.Event(), print)


def records(run_dir: Path, event: str) -> list[dict]:
    return [r for r in read(run_dir / "metrics" / "learner-0.jsonl") if r["event"] == event]


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path: Path, stop: int) -> None:
    """Stopped within either phase, or between them."""
    run(CONFIG, tmp_path / "whole")
    run(dataclasses.replace(CONFIG, updates=stop), tmp_path / "parts")
    run(CONFIG, tmp_path / "parts")
    whole, parts = (
        checkpoint.load(tmp_path / name / "checkpoints" / "7") for name in ("whole", "parts")
    )
    assert [r["phase"] for r in records(tmp_path / "whole", "update")] == [0, 0, 0, 1, 1, 1, 1]
    for name, array in whole.arrays.items():
        if name.startswith(("theta/", "adam/")):
            np.testing.assert_array_equal(array, parts.arrays[name], err_msg=name)


def test_a_phase_takes_over_the_weights_and_nothing_else(tmp_path: Path) -> None:
    run(CONFIG, tmp_path)
    between = checkpoint.load(tmp_path / "checkpoints" / "3")
    assert between.arrays["adam/count"] == 0 and not between.arrays["adam/mu"].any()
    assert between.manifest["open_episodes"] == {}
    before, after = records(tmp_path, "update")[2:4]
    assert (before["phase"], after["phase"]) == (0, 1)
    assert after["evaluations"] - before["evaluations"] == 3 * (2 * 3 + 1)
    assert checkpoint.load(tmp_path / "checkpoints" / "7").arrays["adam/count"] == 4
    assert records(tmp_path, "epoch")[0]["cause"] == "phase 1 begins"


def test_the_ledger_replays_across_phases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIMUS_LEDGER", "1")
    nres = dataclasses.replace(
        CONFIG.phases[0], estimator=Estimator("nres", truncation=2, horizon=6)
    )
    config = dataclasses.replace(CONFIG, phases=(nres, CONFIG.phases[1]))
    run(config, tmp_path)
    entries = ledger.surviving(tmp_path)
    ledger.check(entries, config)
    replayed = ledger.replay(config, entries, builders.initial_theta(config))
    layout = builders.parameter_layout(config)
    newest = checkpoint.load(tmp_path / "checkpoints" / "7")
    np.testing.assert_array_equal(replayed, theta_from_arrays(newest.arrays, layout))


def test_processes_are_started_once() -> None:
    assert actors_cannot(CONFIG) is None
    assert "is no loss in JAX" in str(fused_cannot(CONFIG))
    first, last = CONFIG.phases
    more = dataclasses.replace(last, layout=dataclasses.replace(last.layout, workers=2))
    assert actors_cannot(dataclasses.replace(CONFIG, phases=(first, more))) == (
        "phases.1.layout.workers: got 2, want 1 as in phases.0: processes are started once"
    )


@pytest.mark.story
@pytest.mark.skipif(distributed_missing() is not None, reason=str(distributed_missing()))
def test_a_killed_program_goes_on_in_the_phase_it_was_in(tmp_path: Path) -> None:
    """Killed in the second phase; the run directory is that of a run in process all the same."""
    config = dataclasses.replace(
        CONFIG, updates=20, task=ServedTask(dim=4, sleep=0.05), checkpoint_every=5
    )
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    run_dir = tmp_path / "run"
    arguments = ("train", str(tmp_path / "config.json"), "--launch", "local_mp")
    command = run_tools.command(*arguments, "--run-dir", str(run_dir))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while checkpoint.latest_step(run_dir / "checkpoints") not in (5, 10):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)  # the parents of all nodes die with it
    process.wait(30)
    done = run_tools.optimus(*arguments, "--run-dir", str(run_dir))
    assert done.returncode == 0, done.stderr
    updates = records(run_dir, "update")
    assert {r["phase"] for r in updates if r["step"] > 3} == {1}
    assert {r["phase"] for r in updates if r["step"] <= 3} == {0}
    starts = records(run_dir, "learner_started")
    assert len(starts) == 2 and starts[1]["resumed"] and starts[1]["version"][1] >= 5
    run(dataclasses.replace(config, updates=5, task=CONFIG.task), tmp_path / "alone")
    one, other = (
        [r["meta_loss"] for r in records(tmp_path / name, "update")[:5]]
        for name in ("run", "alone")
    )
    assert one == pytest.approx(other, abs=1e-3)  # the same tasks and noise; other rounding
