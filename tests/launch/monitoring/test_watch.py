"""`optimus watch` on run directories written by the test."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Any

import pytest

from launch.monitoring.status import NotARun, Status, read_status
from launch.monitoring.watch import watch
from optimus.rundir.metrics import MetricsWriter

ROOT = pathlib.Path(__file__).resolve().parents[3]
NOW = 1_800_000_000.0
CONFIG = {
    "name": "smoke",
    "updates": 100,
    "task": {"kind": "physics", "split": "train"},
    "layout": {"actors": 2, "workers": 3, "groups": 2, "lanes": 4},
}


class Clock:
    """Time for `watch` and for the records: NOW, unless a test sets it."""

    def __init__(self) -> None:
        self.now = NOW
        self.waited: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    monotonic = staticmethod(time.monotonic)
    strftime = staticmethod(time.strftime)

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.on_sleep()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr("optimus.rundir.metrics.time", fake)
    monkeypatch.setattr("launch.monitoring.status.time", fake)
    monkeypatch.setattr("launch.monitoring.watch.time", fake)
    return fake


def write(run_dir: pathlib.Path, role: str, event: str, index: int = 0, **values: Any) -> None:
    """Adds a record; `time` (s since 1970) among the values replaces the clock's."""
    writer = MetricsWriter(run_dir, role, index)
    writer.write(event, **values)
    writer.close()


def update(step: int, **values: Any) -> dict[str, Any]:
    numbers = {"meta_loss": -0.01 * step, "evaluations": 80 * step, "seconds": 1.0, "waiting": 0.25}
    counts = {"staleness": step % 3, "failed": 2, "refused": {"stale": 4}}
    return {"epoch": 1, "step": step, "updates": 100, **numbers, **counts, **values}


def write_run(run_dir: pathlib.Path, steps: int = 40, ago: float = 0.0) -> pathlib.Path:
    """A run that made an update a second until `ago` seconds before NOW."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.json").write_text(json.dumps(CONFIG))
    begin = NOW - ago - steps
    write(run_dir, "launcher", "started", time=begin, launch="local_mp", pid=1)
    write(run_dir, "learner", "learner_started", time=begin, version=[1, 0], resumed=False)
    learner = MetricsWriter(run_dir, "learner")
    for step in range(1, steps + 1):
        learner.write("update", time=begin + step, uptime=step, **update(step))
        if step % 10 == 0:
            checkpoint = run_dir / "checkpoints" / str(step)
            checkpoint.mkdir(parents=True)
            (checkpoint / "manifest.json").write_text("{}")
            learner.write("checkpoint", time=begin + step, step=step)
    learner.close()
    for role, count in (("actor", 2), ("physics_worker", 3)):
        for index in range(count):
            statuses = {"ok": 5, "busy": index}
            write(run_dir, role, "alive", index, time=NOW - ago - 2, statuses=statuses)
    return run_dir


def test_a_running_run(tmp_path: pathlib.Path) -> None:
    status = read_status(write_run(tmp_path / "run"), now=NOW)
    assert (status.name, status.task, status.launch) == ("smoke", "physics train", "local_mp")
    assert (status.state, status.step, status.updates) == ("running", 40, 100)
    assert status.updates_per_second == pytest.approx(1.0)
    assert status.eta_seconds == pytest.approx(60.0)
    assert status.evaluations == 3200
    assert status.evaluations_per_second == pytest.approx(80.0)
    assert status.meta_loss == pytest.approx(-0.4) and len(status.meta_loss_tail) == 40
    assert (status.checkpoint_step, status.checkpoint_age) == (40, 0.0)
    assert (status.staleness_max, status.failed, status.refused) == (2, 2, {"stale": 4})
    assert status.waiting_share == pytest.approx(0.25)
    assert status.replies == {"ok": 15, "busy": 3}
    assert not status.stale


def test_who_is_alive(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    (run_dir / "metrics" / "actor-1.jsonl").unlink()  # never reported
    write(run_dir, "physics_worker", "alive", time=NOW - 11)
    assert read_status(run_dir, now=NOW).roles == {
        "actor": {"alive": 1, "total": 2},
        "physics_worker": {"alive": 2, "total": 3},
    }


def test_a_finished_run_has_nobody_alive_and_is_never_stale(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    write(run_dir, "launcher", "ended", state="finished", cause="")
    status = read_status(run_dir, now=NOW + 1e6)
    assert (status.state, status.stale, status.eta_seconds) == ("finished", False, None)
    assert status.roles["actor"] == {"alive": 0, "total": 2}
    assert watch(run_dir) == 0  # ends by itself


def test_a_failed_run_says_why(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = write_run(tmp_path)
    write(run_dir, "launcher", "ended", state="failed", cause="actor 0: [bad] x")
    assert watch(run_dir, once=True) == 0
    assert "failed (local_mp): actor 0: [bad] x" in capsys.readouterr().out


def test_without_a_launcher_the_learner_decides(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    (run_dir / "metrics" / "launcher-0.jsonl").unlink()
    assert read_status(run_dir, now=NOW).state == "running"
    write(run_dir, "learner", "stopped", step=40)
    assert read_status(run_dir, now=NOW).state == "stopped"


def test_a_resumed_run_runs_again(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path, ago=10_000)
    write(run_dir, "launcher", "ended", state="stopped", cause="")
    write(run_dir, "launcher", "started", time=NOW - 5, launch="local_mt", pid=2)
    status = read_status(run_dir, now=NOW, max_age=60)
    assert (status.state, status.step, status.launch) == ("running", 40, "local_mt")
    assert status.evaluations_per_second is None, "the pause is no part of a rate"
    assert not status.stale, "the age counts from the new start"
    assert read_status(run_dir, now=NOW + 100, max_age=60).stale


def test_an_old_checkpoint_of_a_running_run(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    run_dir = write_run(tmp_path)
    clock.now = NOW + 200
    write(run_dir, "actor", "alive")
    assert read_status(run_dir).state == "running"
    assert watch(run_dir, once=True, max_age=100) == 3
    assert "TOO OLD, limit 100 s" in capsys.readouterr().out
    assert watch(run_dir, as_json=True) == 3
    assert watch(run_dir, as_json=True, max_age=1000) == 0


def test_a_dead_run_is_lost_and_ends_the_watch(tmp_path: pathlib.Path, clock: Clock) -> None:
    run_dir = write_run(tmp_path)
    clock.now = NOW + 31
    assert (read_status(run_dir).state, read_status(run_dir).stale) == ("lost", False)

    def later() -> None:
        clock.now += 50

    clock.on_sleep = later
    assert watch(run_dir, max_age=120) == 3 and len(clock.waited) == 2


def test_without_a_checkpoint_the_age_counts_from_the_start(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path, steps=9)
    status = read_status(run_dir, now=NOW, max_age=8)
    assert (status.checkpoint_step, status.checkpoint_age, status.stale) == (None, None, True)


def test_a_checkpoint_without_its_event_is_dated_by_its_file(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    newest = run_dir / "checkpoints" / "50"
    newest.mkdir()
    (newest / "manifest.json").write_text("{}")
    os.utime(newest / "manifest.json", (NOW - 7, NOW - 7))
    with open(run_dir / "metrics" / "learner-0.jsonl", "w"):
        pass
    status = read_status(run_dir, now=NOW)
    assert (status.checkpoint_step, status.checkpoint_age, status.step) == (50, 7.0, 50)


def test_rates_sink_when_nothing_new_comes(tmp_path: pathlib.Path) -> None:
    status = read_status(write_run(tmp_path), now=NOW + 361)
    assert status.updates_per_second == pytest.approx(39 / 400)


def test_half_written_and_damaged_lines(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    with open(run_dir / "metrics" / "learner-0.jsonl", "ab") as file:
        file.write(b'[1]\n{"event": "update"}\n{"event": "update", "time": "x", "step": 1}\n\xff\n')
        file.write(json.dumps({"event": "update", "time": NOW, "step": "4"}).encode() + b"\n")
        file.write(b'{"event": "update", "time": 18000000')
    (run_dir / "config.json").write_text('{"name": "smo')
    (run_dir / "metrics" / "actor-0.jsonl").write_text("")
    status = read_status(run_dir, now=NOW)
    assert (status.step, status.updates, status.task) == (40, 100, "unknown task")


def test_a_loss_that_is_not_finite(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = write_run(tmp_path)
    write(run_dir, "learner", "update", **update(41, meta_loss=float("nan")))
    status = read_status(run_dir, now=NOW)
    assert status.meta_loss is None and len(status.meta_loss_tail) == 40
    watch(run_dir, once=True)


def test_a_large_file_takes_bounded_time(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path)
    line = json.dumps({"event": "update", "time": NOW, **update(41)}) + "\n"
    with open(run_dir / "metrics" / "learner-0.jsonl", "a") as file:
        for _ in range(20):
            file.write(line * 10_000)
    began = time.monotonic()
    assert read_status(run_dir, now=NOW).step == 41
    assert time.monotonic() - began < 1.0


def test_a_run_that_never_started(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    status = read_status(tmp_path, now=NOW)
    assert (status.state, status.step, status.checkpoint_age) == ("never started", 0, None)
    assert watch(tmp_path) == 0


@pytest.mark.parametrize("name", ["empty", "missing", "file"])
def test_no_run_directory_is_one_line(
    tmp_path: pathlib.Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotARun):
        read_status(tmp_path / name)
    with pytest.raises(NotARun) as caught:
        watch(tmp_path / name, as_json=True)
    assert caught.value.exit_code == 2
    assert name in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert capsys.readouterr().out == ""


def test_json_keys(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch(write_run(tmp_path), as_json=True)
    values = json.loads(capsys.readouterr().out)
    assert list(values) == [field.name for field in dataclasses.fields(Status)]
    assert values["roles"]["actor"]["total"] == 2


def test_the_view_fits_80_columns(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_dir = write_run(tmp_path, steps=90)
    assert watch(run_dir, once=True, max_age=1e12) == 0
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    for text in ("smoke: physics train", "90/100 (90 %)", "-0.9", "█", "7200", "4 stale", "3 busy"):
        assert text in output


def test_without_a_terminal_a_line_now_and_then(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    run_dir = write_run(tmp_path)

    def finish() -> None:
        if len(clock.waited) == 2:
            write(run_dir, "launcher", "ended", state="finished", cause="")

    clock.on_sleep = finish
    assert watch(run_dir) == 0
    lines = capsys.readouterr().out.splitlines()
    assert clock.waited == [10.0, 10.0] and len(lines) == 3
    assert "state running (local_mp)" in lines[0] and "state finished" in lines[2]
    assert "update 40/100 (40 %), 1/s, 60 s left" in lines[0] and "\x1b" not in "".join(lines)


def test_ctrl_c_is_a_normal_end(tmp_path: pathlib.Path, clock: Clock) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.on_sleep = interrupt
    assert watch(write_run(tmp_path)) == 0


# A fresh interpreter that refuses what is not in the base install, and JAX.
SCRIPT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"jax", "tensorflow", "launchpad", "courier", "reverb"}:
            raise ModuleNotFoundError(f"blocked by the test: {name}", name=name)
sys.meta_path.insert(0, Blocker())
from pathlib import Path
from launch.monitoring.watch import watch
sys.exit(watch(Path(sys.argv[1]), once="once" in sys.argv))
"""


def test_works_without_jax_and_the_distributed_libraries(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path, ago=NOW - time.time())
    command = [sys.executable, "-c", SCRIPT, str(run_dir), "once"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "40/100" in done.stdout


@pytest.mark.parametrize("term", ["dumb", "xterm"])
@pytest.mark.parametrize("columns", [20, 40, 100])
def test_the_view_fits_the_terminal(tmp_path: pathlib.Path, term: str, columns: int) -> None:
    run_dir = write_run(tmp_path, ago=NOW - time.time())
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    command = [sys.executable, "-c", SCRIPT, str(run_dir), "once"]
    done = subprocess.run(
        command, cwd=ROOT, stdin=terminal, stdout=terminal, env={**environment, "TERM": term}
    )
    os.close(terminal)
    output = b""
    with contextlib.suppress(OSError):  # the other side is closed
        while chunk := os.read(main, 65536):
            output += chunk
    os.close(main)
    text = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", output.decode())
    assert done.returncode == 0 and max(map(len, text.splitlines())) == columns


def test_a_terminal_gets_a_live_view(tmp_path: pathlib.Path) -> None:
    run_dir = write_run(tmp_path, ago=NOW - time.time())
    main, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-c", SCRIPT, str(run_dir)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=terminal, env=environment)
    os.close(terminal)
    output = b""
    while b"40/100" not in output:
        output += os.read(main, 65536)
    write(run_dir, "launcher", "ended", state="finished", cause="")
    try:
        while chunk := os.read(main, 65536):
            output += chunk
    except OSError:  # the other side is closed
        pass
    os.close(main)
    assert process.wait(timeout=30) == 0
    assert b"finished" in output and b"\x1b[" in output
