"""`optimus doctor`: what it says here, and that nothing a check does can harm it."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from launch import doctor as doctors
from launch.doctor import doctor
from launch.doctor.checks import Check, Failed, Skipped

ROOT = pathlib.Path(__file__).resolve().parents[3]


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *checks: Check
) -> tuple[int, list[str]]:
    """Exit code and lines of a doctor that has only these checks."""
    monkeypatch.setattr(doctors, "CHECKS", checks)
    code = doctor(quick=True)
    return code, capsys.readouterr().out.splitlines()


def test_it_is_healthy_here_or_says_why() -> None:
    code = "import sys; from launch.doctor import doctor; sys.exit(doctor(quick=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert [line.split(":")[0][9:] for line in lines[:-1]] == [c.name for c in doctors.CHECKS]
    assert all(re.match(r"(ok|skipped|FAIL) +\S", line) for line in lines[:-1])
    faults = [line for line in lines if line.startswith("FAIL")]
    assert not faults and done.returncode == 0, "\n".join(faults)


@pytest.mark.slow
def test_a_real_run_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = run(monkeypatch, capsys, doctors.REAL_RUN)
    assert code == 0 and lines[0].startswith(("ok", "skipped")), lines


def test_a_check_that_hangs_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    code, lines = run(monkeypatch, capsys, Check("hang", signal.pause, "turn it off", 1.0))
    assert time.monotonic() - began < 20
    assert code == 1
    assert lines == ["FAIL     hang: no answer within 1 s; to do: turn it off", "failed: 1"]


def test_a_check_that_crashes_is_one_line_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crash, fine = Check("crash", os.abort, "mend it"), Check("fine", os.getcwd, "")
    code, lines = run(monkeypatch, capsys, crash, fine)
    assert code == 1 and len(lines) == 3
    assert lines[0].startswith("FAIL     crash: killed by SIGABRT; last words: ")
    assert lines[0].endswith("; to do: mend it")
    assert lines[1].startswith("ok       fine: ")
    assert not pathlib.Path(lines[1].split(": ")[1]).exists(), "its folder is gone"


def test_a_check_that_exits_or_raises_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = Check("leaves", sys.exit, "a"), Check("raises", os.wait, "b")
    code, lines = run(monkeypatch, capsys, *checks)
    assert (code, lines[-1]) == (1, "failed: 2")
    assert lines[0] == "FAIL     leaves: SystemExit: no message; to do: a"
    assert "ChildProcessError" in lines[1] and lines[1].endswith("; to do: b")


@pytest.mark.parametrize(
    ("error", "code", "start"),
    [
        (Skipped("not installed"), 0, "skipped  x: not inst"),
        (Failed("bad\nx"), 1, "FAIL     x: bad"),
    ],
)
def test_skipping_is_no_failure(
    error: Exception,
    code: int,
    start: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raises() -> str:
        raise error

    got, lines = run(monkeypatch, capsys, Check("x", raises, "", isolated=False))
    assert got == code and lines[0].startswith(start) and len(lines) == 2


def test_a_package_of_the_same_name_is_found_out(tmp_path: pathlib.Path) -> None:
    (tmp_path / "learner").mkdir()
    (tmp_path / "learner" / "__init__.py").write_text("")
    code = (
        "import sys; from launch import doctor as d; sys.path.insert(0, sys.argv[1]); "
        "d.CHECKS = d.CHECKS[1:2]; sys.exit(d.doctor(quick=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout.startswith(f"FAIL     packages: package 'learner' is {tmp_path}")


# What is "not installed" here, as on CPython 3.11 and newer.
MISSING = {"launchpad", "courier", "reverb", "tensorflow"}


def test_without_the_distributed_libraries_their_checks_are_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec

    def blocked(name: str, package: str | None = None) -> object:
        return None if name.partition(".")[0] in MISSING else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", blocked)
    checks: list[Callable[[], str]] = [
        c.run
        for c in doctors.CHECKS
        if c.run.__name__ in {"_op", "_courier", "_reverb", "_libpython"}
    ]
    for check in [*checks, doctors.REAL_RUN.run]:
        with pytest.raises(Skipped, match="not installed"):
            check()
    assert "[distributed]" in doctors.CHECKS[0].run()


def test_importing_it_is_cheap() -> None:
    code = "import sys; import launch.doctor; print(sys.modules.keys() & {'jax', 'numpy'})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
