"""The wheelhouse: everything a host installs, in one file that is built once.

Pinned wheels (requirements/hosts.txt), the project's own wheel with the compiled simulator, its
TensorFlow op and the generated gradient inside, and the motion clips. A host needs CPython 3.10 and
nothing else: no compiler, no package index.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from launch import Say
from launch.fleet import require_match
from launch.fleet.ansible import FleetError
from optimus.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGES = ("optimus", "workers", "learner", "launch")
_FILES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE")


@dataclass(frozen=True)
class Wheelhouse:
    """`id`: 12 hex digits that change with any installed byte. `unpacked`: bytes once installed."""

    path: Path
    id: str
    unpacked: int

    @property
    def needed(self) -> int:
        """Bytes that a host needs while it installs: the archive twice and what comes out of it."""
        return int(1.05 * self.unpacked) + 2 * self.path.stat().st_size + 2**28


def build(folder: Path, say: Say) -> Wheelhouse:
    """Builds `folder`/wheelhouse-ID.tar, or finds it there.

    Raises:
      FleetError: not a checkout, another Python, nothing compiled, no package index.
    """
    from workers.physics.assets import ensure_assets

    requirements = REPOSITORY / "requirements/hosts.txt"
    if not requirements.is_file():
        missing = f"a wheelhouse is built in a checkout: {requirements} is missing"
        raise FleetError(f"{missing}; or give one that was built elsewhere by --wheelhouse FILE")
    if sys.version_info[:2] != (3, 10):
        raise FleetError("a wheelhouse is built with CPython 3.10, the distributed stack's")
    folder.mkdir(parents=True, exist_ok=True)
    wheels = _third_parties(folder, requirements, say)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as name:
        scratch = Path(name)
        ours = _project(scratch)
        assets = ensure_assets()
        cache = Path(shutil.copytree(assets, scratch / assets.name))
        files = {f"wheels/{path.name}": path for path in (*wheels, ours)}
        files |= {f"cache/{cache.name}/{path.name}": path for path in cache.iterdir()}
        ordered = sorted(files.items())
        digest, unpacked = hashlib.sha256(), 0
        for arcname, path in ordered:
            content, size = _contents(path)
            digest.update(f"{arcname} {content}\n".encode())
            unpacked += size
        identity = digest.hexdigest()[:12]
        target = folder / f"wheelhouse-{identity}.tar"
        if not target.exists():
            say(f"packing {len(files)} files into {target}")
            card = scratch / "wheelhouse.json"
            card.write_text(json.dumps({"id": identity, "unpacked": unpacked}), encoding="utf-8")
            whole = scratch / "whole.tar"
            with tarfile.open(whole, "w") as tar:
                tar.add(card, "wheelhouse.json")
                for arcname, path in ordered:
                    tar.add(path, arcname)
            whole.replace(target)
            for old in folder.glob("wheelhouse-*.tar"):
                if old != target:
                    old.unlink()
    return Wheelhouse(target, identity, unpacked)


def read(path: Path) -> Wheelhouse:
    """One that was built elsewhere; raises `ConfigError` when the file is none."""
    try:
        with tarfile.open(path) as tar:
            first = tar.next()
            file = tar.extractfile(first) if first and first.name == "wheelhouse.json" else None
            if file is None:
                raise ConfigError(f"--wheelhouse {path}: not a wheelhouse of ours")
            card = json.loads(file.read(4096))
            house = Wheelhouse(path, str(card["id"]), int(card["unpacked"]))
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"--wheelhouse {path}: {error}") from None
    require_match(("[0-9a-f]{12}", "12 hex digits"), house.id, f"--wheelhouse {path}: id")
    return house


def _third_parties(folder: Path, requirements: Path, say: Say) -> list[Path]:
    """The pinned wheels, fetched once per requirements file and checked by their hashes."""
    version = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    wheels = folder / f"wheels-{version}"
    if not wheels.is_dir():
        say("fetching the pinned wheels (about 430 MB, once)")
        with tempfile.TemporaryDirectory(dir=folder, prefix=".wheels-") as name:
            scratch = Path(name) / "wheels"
            options = ["--require-hashes", "--only-binary=:all:", "--dest", str(scratch)]
            _pip("download", *options, "-r", str(requirements))
            scratch.rename(wheels)
    return sorted(wheels.glob("*.whl"))


def _project(scratch: Path) -> Path:
    """Our own wheel, with all that is compiled here."""
    from workers.physics.build import build_everything, has_tensorflow

    if not has_tensorflow():
        raise FleetError("a wheelhouse is built beside TensorFlow, whose op it brings: make setup")
    compiled = build_everything()
    return project_wheel(copy_sources(scratch / "source"), compiled, scratch)


def copy_sources(target: Path) -> Path:
    """Copies what our wheel is built from, so that nothing of an earlier build slips into it."""
    for folder in (*_PACKAGES, "licenses"):
        not_shipped = shutil.ignore_patterns("__pycache__", "lib")
        shutil.copytree(REPOSITORY / folder, target / folder, ignore=not_shipped)
    for name in _FILES:
        shutil.copy2(REPOSITORY / name, target)
    return target


def project_wheel(source: Path, compiled: Iterable[Path], folder: Path, *options: str) -> Path:
    """The wheel of copied sources with compiled files.

    Args:
      source: from `copy_sources`.
      compiled: the files. folder: gets the wheel.
      options: of pip.
    """
    library = source / "workers/physics/native/lib"
    library.mkdir(exist_ok=True)
    for path in compiled:
        if path.parent != library:
            shutil.copy2(path, library)
    _pip("wheel", "--no-build-isolation", *options, "--wheel-dir", str(folder), str(source))
    return next(folder.glob("*.whl"))


def _pip(action: str, *words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", action]
    command += ["--quiet", "--no-deps", *words]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    done = subprocess.run(command, capture_output=True, errors="replace", env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise FleetError(f"pip {action}: {reason}")


def _contents(path: Path) -> tuple[str, int]:
    """(digest of what is in a file, whatever the times in it; bytes once unpacked)."""
    if path.suffix != ".whl":
        return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = sorted((i.filename, i.CRC, i.file_size) for i in archive.infolist())
    return hashlib.sha256(repr(members).encode()).hexdigest(), sum(m[2] for m in members)
