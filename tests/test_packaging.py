"""What the source distribution and the wheels hold, and that they work away from the repository."""

from __future__ import annotations

import email.message
import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.test_repository import ROOT, texts

NAME = "optimus_learned_optimizer"
IGNORED = shutil.ignore_patterns(
    *(".git", ".venv*", "build", "dist", "runs", "lib", "*.egg-info"),
    *("__pycache__", ".*_cache", ".hypothesis", "MUJOCO_LOG.TXT"),
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")


def build(kind: str, source: Path, folder: Path) -> Path:
    """The one file that the build system makes of a source tree."""
    code = f"from setuptools import build_meta as b; b.build_{kind}({str(folder)!r})"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which something is compiled."""
    copy = tmp_path_factory.mktemp("repository") / "repository"
    shutil.copytree(ROOT, copy, ignore=IGNORED)
    library = copy / "workers/physics/native/lib"
    library.mkdir()
    for name in ("libphysics_0.so", "generate_0"):
        (library / name).write_text("compiled")
    return copy


@pytest.fixture(scope="module")
def unpacked(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    made = build("sdist", repository, folder / "dist")
    with tarfile.open(made) as tar:
        tar.extractall(folder)
    return folder / made.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that an installer makes of the source distribution."""
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel") / "dist")


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_the_source_distribution_is_the_repository(unpacked: Path) -> None:
    """All that `make test` reads, and nothing that was compiled."""
    wanted = {path.relative_to(ROOT).as_posix() for path in texts()}
    wanted -= {name for name in wanted if name.endswith((".pyc", "MUJOCO_LOG.TXT"))}
    wanted |= {".git-blame-ignore-revs", ".pre-commit-config.yaml"}
    found = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    assert not wanted - found
    assert not {
        name for name in found - wanted if not re.match(rf"PKG-INFO$|{NAME}.egg-info/", name)
    }


def test_its_pages_link_to_what_is_there(unpacked: Path) -> None:
    dead = [
        f"{page.relative_to(unpacked)}: {target}"
        for page in (*unpacked.glob("*.md"), *unpacked.glob("docs/**/*.md"))
        for target in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not dead


def test_the_scripts_do_without_git(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(unpacked))  # no git
    module = runpy.run_path(str(unpacked / "scripts/run_tests.py"))
    assert module["rotated"](module["REST"]) == module["REST"]


def test_the_wheel_is_for_any_platform_and_typed(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    rooms = ("optimus", "workers", "learner", "launch")
    assert {f"{room}/py.typed" for room in rooms} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == set(rooms)
    assert not [name for name in names if name.endswith(".so")]
    licenses = {"LICENSE", "NOTICE", "licenses/EPL-2.0.txt", "licenses/MPL-2.0.txt"}
    assert licenses <= {name.partition(".dist-info/licenses/")[2] for name in names}


def test_the_description_needs_no_other_file(wheel: Path) -> None:
    found = metadata(wheel)
    text = str(found.get_payload())
    assert found["Description-Content-Type"] == "text/markdown"
    assert text.startswith("# Optimus") and not LINK.findall(text) and "<picture" not in text
    assert "architecture (docs/explanation/architecture.md)" in text, (
        "the words stay, with the file's name"
    )
    assert found.get_all("Project-URL") == ["Paper, https://arxiv.org/abs/2212.01055"]


def test_with_compiled_files_the_wheel_is_for_this_platform(
    repository: Path, tmp_path: Path
) -> None:
    made = build("wheel", repository, tmp_path / "dist")
    assert re.search(r"-py3-none-linux_\w+\.whl$", made.name)
    with zipfile.ZipFile(made) as archive:
        compiled = [name for name in archive.namelist() if "/native/lib/" in name]
        (tags,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        assert "Root-Is-Purelib: false" in archive.read(tags).decode()
    assert compiled == ["workers/physics/native/lib/libphysics_0.so"]


# -------------------------------------------------------------------- installed, away from the tree

# What a user may do first; prints what the physics loss says.
TRY = """
import json, os, subprocess, sys
import numpy as np, optimus
result = optimus.minimize(lambda x: ((x - 1.0) ** 2).sum(), [5.0, -3.0], maxfev=100)
assert result.fun < 1e-6, result
from workers.physics import PhysicsLoss
try:
    loss = PhysicsLoss("walk", 0.0, 0.25)
    value, gradient = loss.value_and_grad(np.full(loss.dim, 0.01))
    print(json.dumps([loss.window.simulator.fast, value, float(np.abs(gradient).sum())]))
except RuntimeError as error:
    print(json.dumps(str(error)))
"""


def numbers(text: str) -> tuple[bool, float, float]:
    """What `TRY` prints where the simulator works."""
    fast, value, gradient = json.loads(text)
    return fast, value, gradient


# The running Python and, where there is one, the newest of the second environment.
NEWEST = ROOT / ".venv-newest/bin/python"
INTERPRETERS = [sys.executable, *([str(NEWEST)] if NEWEST.exists() else [])]


class Installed:
    """A wheel with its dependencies in an environment of its own, off the tree."""

    def __init__(self, python: str, wheel: Path, folder: Path) -> None:
        self.python = folder / "venv/bin/python"
        self.folder = folder / "elsewhere"
        self.folder.mkdir(parents=True)
        kept = ("HOME", "OPTIMUS_CACHE", "LANG", "TMPDIR")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment["PATH"] = str(self.python.parent)  # no compiler
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        install = [str(self.python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        if uv := shutil.which("uv", path=f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"):
            install = [uv, "pip", "install", "-q", "--python", str(self.python)]  # much faster
        done = subprocess.run([*install, str(wheel)], capture_output=True, text=True, timeout=900)
        if done.returncode:
            pytest.skip(f"the dependencies cannot be had: {done.stderr.strip().splitlines()[-1]}")

    def run(self, *words: str, code: int = 0) -> str:
        command = [str(self.python), *words]
        options = {"cwd": self.folder, "env": self.environment, "timeout": 300}
        done = subprocess.run(command, capture_output=True, text=True, **options)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("python", INTERPRETERS)
def test_a_wheel_without_the_simulator_works_and_says_how_to_get_it(
    python: str, wheel: Path, tmp_path: Path
) -> None:
    installed = Installed(python, wheel, tmp_path)
    message = installed.run("-c", TRY)
    how = f"then run: {installed.python} -m workers.physics.build"
    assert "the C++ compiler g++ (" in message and "[native]" in message and how in message
    out = installed.run("-m", "launch.cli.main", "doctor")
    assert "FAIL" not in out and "skipped  simulator: not built" in out
    advised = f"{installed.python} -m pip install 'optimus-learned-optimizer[native]'"
    assert out.count(advised) == 1
    installed.run(*advised.replace("'", "").split()[1:])  # finds what is installed by itself
    assert "headers" not in installed.run("-c", TRY)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    sys.version_info[:2] != (3, 10) or importlib.util.find_spec("cmeel") is None,
    reason="the code generator needs CPython 3.10",
)
def test_a_wheel_with_the_simulator_needs_no_compiler(tmp_path: Path) -> None:
    """Compiled by another compiler for any Linux of this machine; the same numbers as here."""
    script = str(ROOT / "scripts/build_wheel.py")
    done = subprocess.run([sys.executable, script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    made = Path(done.stdout.splitlines()[-1])
    assert made.name.endswith("-py3-none-manylinux_2_17_x86_64.whl")
    with zipfile.ZipFile(made) as archive:
        licenses = [n.rpartition("/")[2] for n in archive.namelist() if "/licenses/licenses/" in n]
        assert len(licenses) == 5 and archive.testzip() is None
    here = subprocess.run(
        [sys.executable, "-c", TRY], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected = numbers(here.stdout)
    for number, python in enumerate(INTERPRETERS):
        installed = Installed(python, made, tmp_path / str(number))
        fast, value, gradient = numbers(installed.run("-c", TRY))
        assert fast and value == pytest.approx(expected[1], rel=1e-12)
        assert gradient == pytest.approx(expected[2], rel=1e-9)
        out = installed.run("-m", "launch.cli.main", "doctor")
        assert "FAIL" not in out and re.search(r"^ok +gradient: agrees", out, re.MULTILINE)
