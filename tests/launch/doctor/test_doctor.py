"""`optimus doctor`: what it says here, and that nothing a check does can harm it."""

from __future__ import annotations

import dataclasses
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
from launch.doctor import checks, doctor
from launch.doctor.checks import Check, Failed, Skipped
from workers.physics import build, native
from workers.physics.assets import assets_folder
from workers.physics.native import binding, library_path

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
        c.run for c in doctors.CHECKS if c.run.__name__ in {"_op", "_courier", "_reverb"}
    ]
    for check in [*checks, doctors.REAL_RUN.run]:
        with pytest.raises(Skipped, match="not installed"):
            check()
    assert re.search(r"\[distributed\]|needs CPython 3.10", doctors.CHECKS[0].run())


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """A plain install of a wheel without the simulator: no extra, no compiler, empty cache."""
    find = importlib.util.find_spec

    def blocked(name: str, package: str | None = None) -> object:
        return None if name.partition(".")[0] in MISSING else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", blocked)
    monkeypatch.setattr(native, "BESIDE", tmp_path / "lib")
    monkeypatch.setattr(binding, "library", binding.library.__wrapped__)  # other tests loaded it
    monkeypatch.setattr(build.sysconfig, "get_path", lambda key: str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("OPTIMUS_CACHE", str(tmp_path / "cache"))
    here = [
        dataclasses.replace(check, isolated=False)
        for check in (*doctors.CHECKS, doctors.REAL_RUN)
        if check.name not in ("libraries", "network", "ports")
    ]
    monkeypatch.setattr(doctors, "CHECKS", tuple(here))
    return tmp_path


def commands(lines: list[str]) -> list[str]:
    """Every command that begins with this interpreter, as far as the next bracket or the end."""
    found = re.findall(rf"{re.escape(sys.executable)} [^();,]*", "\n".join(lines))
    return [command.strip() for command in found]


def test_a_plain_install_is_healthy(
    plain: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is optional and not there fails nothing; its command is printed once."""
    code = doctor(quick=True)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert code == 0 and lines[-1] == "nothing failed" and "FAIL" not in out
    assert not re.search(r"\bmake\b|--op|--force", out), "nothing here is broken"
    (simulator,) = [line for line in lines if " simulator:" in line]
    assert simulator.startswith(
        "skipped  simulator: not built; for physics losses first get the C++"
    )
    assert f"then run: {sys.executable} -m workers.physics.build" in simulator
    found = commands(lines)
    assert found and len(found) == len(set(found)), found


def test_a_simulator_that_does_not_load_is_a_fault_with_its_command_once(
    plain: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library_path().parent.mkdir(parents=True)
    library_path().write_text("not a library")
    assert doctor(quick=True) == 1
    lines = capsys.readouterr().out.splitlines()
    (fault,) = [line for line in lines if line.startswith("FAIL")]
    assert fault.startswith(f"FAIL     simulator: {library_path()} does not load")
    assert fault.count("-m workers.physics.build --force") == 1
    assert lines[-1] == "failed: 1"


def test_a_damaged_clip_is_a_fault(plain: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assets_folder().mkdir(parents=True)
    assert doctor(quick=True) == 1
    (fault,) = [li for li in capsys.readouterr().out.splitlines() if li.startswith("FAIL")]
    folder = assets_folder()
    assert f"to do: rm -r {folder} && {sys.executable} -m workers.physics.assets" in fault


def test_beside_tensorflow_the_op_may_be_missing(
    plain: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "_need", lambda module, what: None)
    (op,) = [check for check in doctors.CHECKS if check.name == "tensorflow op"]
    with pytest.raises(Skipped, match="the simulator is not"):
        op.run()
    library_path().parent.mkdir(parents=True)
    library_path().write_text("a library")
    with pytest.raises(Skipped, match=r"not built; for the TensorFlow backend .* -m workers"):
        op.run()


def test_importing_it_is_cheap() -> None:
    code = "import sys; import launch.doctor; print(sys.modules.keys() & {'jax', 'numpy'})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
