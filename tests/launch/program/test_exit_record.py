"""What a node and its supervisor leave about how it ended, and what the launcher says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.program import exit_record

ROOT = Path(__file__).resolve().parents[3]
FAILS = "import sys, launch.program.exit_record as r; r.add_cause(sys.argv[1], 'Bad: why'); exit(3)"

IGNORES = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def _path(run_dir: Path, role: str = "actor", index: int = 0) -> str:
    return exit_record.path_of(str(run_dir), role, index)


def _supervised(run_dir: Path, code: str, *options: str, role: str = "actor") -> dict[str, object]:
    record = _path(run_dir, role)
    command = [sys.executable, "-m", "launch.program.supervisor", "--name", f"{role} 0"]
    command += ["--record", record, *options, "--", sys.executable, "-c", code, record]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    return exit_record.read(record)


def test_a_failure_is_written_down_with_its_cause(tmp_path: Path) -> None:
    began = time.time()
    found = _supervised(tmp_path, FAILS, "--restart", "on-failure", "--limit", "1")
    log = str(tmp_path / "logs/actor/0.log")
    assert began <= float(str(found.pop("time"))) <= time.time()
    assert found == {
        "role": "actor",
        "index": 0,
        "state": "ended",
        "code": 3,
        "cause": "Bad: why",
        "failed": True,
        "restarts": 1,
        "log": log,
    }
    sentence = exit_record.cause_of_failure(str(tmp_path), began)
    assert sentence == f"actor 0: Bad: why; abandoned after 1 restarts (log: {log})"
    assert exit_record.cause_of_failure(str(tmp_path), time.time()) is None  # of an earlier life


def test_a_cause_of_an_earlier_start_does_not_count(tmp_path: Path) -> None:
    _supervised(tmp_path, FAILS)
    found = _supervised(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert (found["code"], found["cause"]) == (-9, "")
    sentence = exit_record.cause_of_failure(str(tmp_path), 0.0)
    assert sentence and sentence.startswith(
        "actor 0: killed by signal 9 (SIGKILL), perhaps out of memory (log: "
    )


@pytest.mark.parametrize(("code", "options"), [("pass", ()), (FAILS, ("--optional",))])
def test_what_ends_well_or_may_fail_is_no_cause(
    tmp_path: Path, code: str, options: tuple[str, ...]
) -> None:
    found = _supervised(tmp_path, code, *options)
    assert found["state"] == "ended" and not found["failed"]
    assert exit_record.cause_of_failure(str(tmp_path), 0.0) is None


def test_the_first_failure_is_named_and_a_killed_supervisor_only_without_one(
    tmp_path: Path,
) -> None:
    exit_record.begin(_path(tmp_path, "learner"), 0)
    sentence = exit_record.cause_of_failure(str(tmp_path), 0.0)
    assert sentence and sentence.startswith("learner 0: its supervisor was killed (log: ")
    for index in (1, 0):
        exit_record.end(_path(tmp_path, "actor", index), 1, 0, failed=True)
        time.sleep(0.01)
    sentence = exit_record.cause_of_failure(str(tmp_path), 0.0)
    assert sentence and sentence.startswith("actor 1: exited with code 1 (log: ")


def test_a_record_is_whole_or_absent_and_a_full_disk_harms_nobody(tmp_path: Path) -> None:
    path = Path(_path(tmp_path))
    exit_record.begin(str(path), 0)
    assert json.loads(path.read_text())["state"] == "running"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    path.write_text('{"state": "run')
    assert exit_record.read(str(path)) == {}
    exit_record.end(os.path.join("/proc/nowhere", "0.exit.json"), 1, 0, failed=True)


def test_on_a_full_disk_a_record_is_written_over_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file finds no room; what the old one had is still there."""
    path = _path(tmp_path, "learner")
    exit_record.begin(path, 0)
    real = open

    def full(name: str, mode: str = "r", *arguments: object, **named: object) -> object:
        if "w" in mode:
            raise OSError(28, "No space left on device")
        return real(name, mode, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", full)
    exit_record.add_cause(path, "CheckpointError: cannot write")
    exit_record.end(path, 78, 0, failed=True)
    said = exit_record.cause_of_failure(str(tmp_path), 0.0)
    assert said and said.startswith("learner 0: CheckpointError: cannot write (log: ")
    assert [each.name for each in Path(path).parent.iterdir()] == ["0.exit.json"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "exited with code 3"),
        (-9, "killed by signal 9 (SIGKILL), perhaps out of memory"),
        (-11, "killed by signal 11 (SIGSEGV)"),
        (-15, "killed by signal 15 (SIGTERM)"),
        (-40, "killed by signal 40 (no name)"),
    ],
)
def test_signals_have_names(code: int, words: str) -> None:
    assert exit_record.ending(code) == words


def test_who_is_killed_because_the_run_ends_is_not_its_cause(tmp_path: Path) -> None:
    """It did not stop in time, after something else had failed."""
    record = _path(tmp_path)
    command = [sys.executable, "-m", "launch.program.supervisor", "--grace", "0"]
    command += ["--record", record, "--", sys.executable, "-c", IGNORES, str(tmp_path / "ready")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        process.terminate()
        assert process.wait(timeout=30) == 137
    assert (exit_record.read(record)["code"], exit_record.read(record)["failed"]) == (-9, False)


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"time": "x"}', '{"time": 9e9, "failed": true}', '{"time": 9e9, "state": 3}'],
)
def test_what_is_no_record_hides_no_cause(text: str, tmp_path: Path) -> None:
    exit_record.end(_path(tmp_path, "actor"), 1, 0, failed=True)
    Path(_path(tmp_path, "actor", 1)).write_text(text)
    sentence = exit_record.cause_of_failure(str(tmp_path), 0.0)
    assert sentence and sentence.startswith("actor 0: exited with code 1")
