"""One configuration, three runners, the same bits; resuming; what a user sees."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.launch import run_tools as tools

TEN = ("--set", "updates=10", "--set", "evaluation.tasks=4")
SMOKE = ("train", "smoke", *TEN)
PHYSICS = (
    "train",
    "physics-small",
    *TEN,
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
    "estimator.horizon=20",
    "--set",
    "evaluation.steps=5",
)


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished in-process runs to compare with."""
    folder = tmp_path_factory.mktemp("in_process")
    for name, arguments in (("smoke", SMOKE), ("physics", PHYSICS)):
        result = tools.optimus(*arguments, "--launch", "inprocess", "--run-dir", str(folder / name))
        assert result.returncode == 0, result.stderr
    return {"smoke": folder / "smoke", "physics": folder / "physics"}


@tools.distributed
@pytest.mark.parametrize(
    ("task", "launch"),
    [
        ("smoke", "local_mt"),
        pytest.param("smoke", "local_mp", marks=pytest.mark.slow),
        ("physics", "local_mt"),
        ("physics", "local_mp"),
    ],
)
def test_runners_agree_bit_for_bit(
    task: str, launch: str, in_process: dict[str, Path], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    arguments = SMOKE if task == "smoke" else PHYSICS
    result = tools.optimus(*arguments, "--launch", launch, "--run-dir", str(run_dir))
    assert result.returncode == 0, result.stdout + result.stderr
    tools.assert_same_bits(tools.arrays(run_dir), tools.arrays(in_process[task]))
    assert not tools.processes_of(run_dir), "a process was left behind"
    # The evaluation runs in process after any launch type: the same numbers.
    ours, reference = (
        json.loads((d / "eval.jsonl").read_text()) for d in (run_dir, in_process[task])
    )
    of_one = ("time", "sha256")  # a checkpoint written in process holds its lanes too
    assert {k: ours[k] for k in ours if k not in of_one} == {
        k: reference[k] for k in reference if k not in of_one
    }


def test_parameters_moved(in_process: dict[str, Path]) -> None:
    first = tools.checkpoint.load(in_process["smoke"] / "checkpoints" / "0").arrays
    last = tools.arrays(in_process["smoke"])
    moved = [name for name in last if not (first[name] == last[name]).all()]
    assert len(moved) >= 0.9 * len(last)


@pytest.mark.parametrize("task", ["smoke", pytest.param("physics", marks=pytest.mark.slow)])
def test_resuming_in_process_equals_never_having_stopped(
    task: str, in_process: dict[str, Path], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    arguments = [*(SMOKE if task == "smoke" else PHYSICS), "--launch", "inprocess"]
    arguments += ["--run-dir", str(run_dir)]
    for updates in (3, 7, 10):  # the last --set wins
        result = tools.optimus(*arguments, "--set", f"updates={updates}")
        assert result.returncode == 0, result.stderr
    tools.assert_same_bits(tools.arrays(run_dir), tools.arrays(in_process[task]))
    manifest = tools.checkpoint.load(run_dir / "checkpoints" / "10").manifest
    assert manifest["epoch"] == 3  # one learner epoch per start


def test_interrupting_in_process_loses_nothing(in_process: dict[str, Path], tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = [*SMOKE, "--launch", "inprocess", "--run-dir", str(run_dir)]
    process = tools.start(*arguments, "--set", "updates=100000")
    try:
        tools.wait_for_updates(run_dir, process, 1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0 and "this resumes" in output, output
        reached = tools.events(run_dir, "learner-0", "stopped")[-1]["step"]
        whole = tmp_path / "whole"
        more = ("--set", f"updates={reached + 3}")
        assert tools.optimus(*arguments, *more).returncode == 0
        uninterrupted = tools.optimus(
            *SMOKE, "--launch", "inprocess", "--run-dir", str(whole), *more
        )
        assert uninterrupted.returncode == 0
        tools.assert_same_bits(tools.arrays(run_dir), tools.arrays(whole))
    finally:
        tools.finish(process, run_dir)


def test_a_finished_run_prints_its_result(in_process: dict[str, Path]) -> None:
    run_dir = in_process["smoke"]
    before = (run_dir / "eval.jsonl").read_text()
    result = tools.optimus(*SMOKE, "--launch", "inprocess", "--run-dir", str(run_dir))
    assert result.returncode == 0
    assert "this run is finished at update 10" in result.stdout
    assert "95 % bootstrap" in result.stdout and str(run_dir) in result.stdout
    assert (run_dir / "eval.jsonl").read_text() == before  # evaluated once


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = [*SMOKE, "--launch", "inprocess", "--run-dir", str(run_dir)]
    arguments += ["--set", "checkpoint_every=2"]
    assert tools.optimus(*arguments, "--set", "updates=6").returncode == 0
    state = run_dir / "checkpoints" / "6" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-7])
    result = tools.optimus(*arguments, "--set", "updates=8")
    assert result.returncode == 0, result.stderr
    assert "checkpoints/6 is damaged" in result.stdout and "using step 4 instead" in result.stdout
    assert "resuming from update 4" in result.stdout
