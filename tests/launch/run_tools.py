"""Starting the real command in a process of its own and looking at what it leaves."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from optimus.rundir import checkpoint, metrics

distributed = pytest.mark.skipif(
    importlib.util.find_spec("launchpad") is None,
    reason="Launchpad is not installed (it needs CPython 3.10): distributed runs cannot be tested",
)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "launch.cli.main", *arguments]


def optimus(*arguments: str, timeout: float = 180.0) -> subprocess.CompletedProcess[str]:
    """Runs `optimus ARGUMENTS` to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, check=False
    )


def start(*arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Starts `optimus ARGUMENTS` in a process group of its own, as a terminal would.

    It ends with the thread that started it, so that a killed test run leaves nothing behind.
    `prefix` goes before the command: what runs it on another host, say.
    """
    tied = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); "  # PR_SET_PDEATHSIG, SIGTERM
    tied += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", tied, *command(*arguments)[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_of(run_dir: Path) -> list[psutil.Process]:
    """Living processes that name the run directory on their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if str(run_dir) in words and alive and process.pid != os.getpid():
            found.append(process)
    return found


def node(run_dir: Path, role: str) -> psutil.Process:
    """The process of a role (not its supervisor)."""
    for process in processes_of(run_dir):
        words = process.cmdline()
        if (
            "launch.program.node" in words
            and "launch.program.supervisor" not in words
            and role in words
        ):
            return process
    raise AssertionError(f"no {role} among {[p.cmdline() for p in processes_of(run_dir)]}")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def events(run_dir: Path, file: str, event: str) -> list[dict]:
    path = run_dir / "metrics" / f"{file}.jsonl"
    return [r for r in metrics.read(path) if r["event"] == event] if path.exists() else []


def wait_for_updates(run_dir: Path, process: subprocess.Popen[str], count: int = 2) -> None:
    def reached() -> bool:
        assert process.poll() is None, f"ended early: {process.communicate()[0]}"
        return len(events(run_dir, "learner-0", "update")) >= count

    wait_until(reached, 120.0, f"{count} updates in {run_dir}")


def arrays(run_dir: Path) -> dict[str, np.ndarray]:
    """Weights and Adam moments of the newest checkpoint."""
    found, problems = checkpoint.load_latest(run_dir / "checkpoints")
    assert found is not None and not problems
    return {k: v for k, v in found.arrays.items() if k.startswith(("theta/", "adam/"))}


def assert_same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), f"{name} differs"


def finish(process: subprocess.Popen[str], run_dir: Path) -> None:
    """Makes sure a failed test leaves nothing behind."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    for left in processes_of(run_dir):
        left.kill()
