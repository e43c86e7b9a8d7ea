"""A disk that refuses, seen from the command: one clear line, and how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch import Log
from launch.runners import fused
from launch.runners import train as trains
from optimus.meta.fused.trainer import Trainer
from optimus.rundir import checkpoint
from optimus.rundir.checkpoint import CheckpointError
from tests.launch import run_tools as tools
from tests.workers import fakes


def test_a_full_log_raises_nothing() -> None:
    with open("/dev/full", "w") as file:
        log = Log(file.fileno())
        print("lost", file=log, flush=True)
        assert log.fileno() == file.fileno() and not log.isatty()


def test_what_ends_a_run_is_followed_by_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = fakes.analytic(updates=3)
    said: list[str] = []

    def fails(*_: object) -> bool:
        raise CheckpointError("cannot write checkpoint: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trains, "_run", fails)
        with pytest.raises(CheckpointError):
            trains.train(config, tmp_path, "inprocess", said.append)
        assert not any("resumes" in line for line in said)  # there is nothing to resume
        checkpoint.save(tmp_path / "checkpoints", 0, {}, {})
        patch.setattr(trains.rundir, "check_checkpoint", lambda *_: None)
        patch.setattr("learner.identity.check", lambda *_: None)
        with pytest.raises(CheckpointError):
            trains.train(config, tmp_path, "inprocess", said.append)
    where = f"optimus train {tmp_path}/config.json --run-dir {tmp_path}"
    assert said[-1] == f"failed; once its cause is mended, this resumes: {where}"


def test_lines_that_nobody_takes_end_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(line: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trains, "_run", lambda *_: False)
    trains.train(fakes.analytic(updates=3), tmp_path, "inprocess", full)


def test_output_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            tools.command("configs"), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    said = "optimus: cannot write this: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


class Session(fused._Session):
    """Whose saves fail or not, as told."""

    full = False

    def save(self) -> None:
        if self.full:
            raise CheckpointError("cannot write")


def test_a_fused_run_goes_on_trying(tmp_path: Path) -> None:
    said: list[str] = []
    events: list[str] = []

    class Metrics:
        def write(self, event: str, **_: object) -> None:
            events.append(event)

    trainer: Trainer = type("Trainer", (), {"step": 7})()
    session = Session(fakes.analytic(), tmp_path, trainer, Metrics(), said.append)  # type: ignore[arg-type]
    for full in (True, True, False, True):
        session.full = full
        session._save_if_possible()
    assert said == ["cannot write; the next one will be tried all the same"] * 2
    assert events == ["checkpoint_failed"] * 3
    tmp_path.rmdir()
    with pytest.raises(CheckpointError, match="was deleted while the run was going on"):
        session._save_if_possible()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def fill(folder: Path) -> None:
    with open(folder / "filler", "wb", buffering=0) as file:
        for size in (2**16, 2**9):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass


@tools.distributed
@pytest.mark.story
@pytest.mark.parametrize("launch", ["local_mp", "local_mt", "inprocess", "fused"])
def test_a_run_outlives_a_full_disk_and_ends_with_one_line(
    tiny: Path, launch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ledger and evaluator on. Ctrl-C, when it is full again: the cause, and how to go on."""
    monkeypatch.setenv("OPTIMUS_LEDGER", "1")
    run_dir = tiny / "run"
    words = ["train", "smoke", "--launch", launch, "--run-dir", str(run_dir), "--no-isolate"]
    words += ["--set", "updates=1000000", "--set", "checkpoint_every=20"]
    words += ["--set", "keep_checkpoints=2"]
    words += ["--set", "evaluator=true"] if launch != "fused" else []
    process = tools.start(*words)

    def newest() -> int:
        return tools.events(run_dir, "learner-0", "update")[-1]["step"]

    try:
        tools.wait_for_updates(run_dir, process, 1)
        tools.wait_until(lambda: (run_dir / "checkpoints" / "20").is_dir(), 60.0, "a checkpoint")
        fill(tiny)
        before = newest()
        for _ in range(3):
            time.sleep(1.0)
            fill(tiny)
        assert process.poll() is None, process.communicate()[0]
        (tiny / "filler").unlink()
        tools.wait_until(lambda: newest() > before + 5, 60.0, "more updates")
        fill(tiny)
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=40)
        *_, hint, last = output.strip().splitlines()
        assert process.returncode == 1 and "Traceback" not in output, output
        assert hint.startswith("failed; once its cause is mended, this resumes: optimus train")
        assert "cannot write checkpoint" in last and "No space left on device" in last
        assert checkpoint.load_latest(run_dir / "checkpoints")[0] is not None
    finally:
        tools.finish(process, run_dir)
