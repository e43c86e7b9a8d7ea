"""Builds the wheel for Linux on x86-64 that brings the compiled simulator.

    .venv/bin/python scripts/build_wheel.py [FOLDER]      # CPython 3.10; FOLDER: dist

Whoever installs it needs no compiler. The compiler here is Zig's clang (package ziglang): it links
against glibc 2.17 and puts its own C++ runtime into the library. Every x86-64 can run it.
auditwheel must agree with the tag. The tools of requirements/wheel.txt go to build/wheel-tools.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from launch.fleet.wheelhouse import copy_sources, project_wheel  # noqa: E402
from workers.physics.assets import ensure_assets  # noqa: E402

TAG = "manylinux_2_17_x86_64"
TARGET = "x86_64-linux-gnu.2.17"
COMPILE = """
from workers.physics import build
print(build.build_library(), *build.build_humanoid_code(), sep="\\n")
"""
LICENSES = {  # in ziglang: of what the compiler puts into a library
    "LICENSE": "Zig-MIT.txt",
    "lib/libcxx/LICENSE.TXT": "LLVM-Apache-2.0-with-exception.txt",
    "lib/libc/glibc/LICENSES": "glibc.txt",
}


def tools() -> Path:
    """The interpreter of an environment with requirements/wheel.txt, made when missing."""
    pins = ROOT / "requirements/wheel.txt"
    folder = ROOT / "build/wheel-tools"
    python = folder / "bin/python"
    if not (folder / pins.name).exists() or (folder / pins.name).read_text() != pins.read_text():
        venv.create(folder, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, "--no-deps", "--require-hashes", "-r", str(pins)], check=True)
        shutil.copy(pins, folder)
    return python


def compiled(source: Path, python: Path, scratch: Path) -> list[Path]:
    """Compiles the copied sources where they lie: the simulator and its generated gradient."""
    clips = ensure_assets()
    cache = scratch / "cache"
    cache.mkdir()
    (cache / clips.name).symlink_to(clips)
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "OPTIMUS_CACHE": str(cache),  # nothing compiled before is found
        "CXX": shlex.join([str(python), "-m", "ziglang", "c++", "-s", "-target", TARGET]),
        "ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(cache / "zig"),
    }
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(
        command, cwd=source, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return [Path(line) for line in done.stdout.splitlines()]


def check(python: Path, wheel: Path) -> None:
    """Ends the script unless auditwheel finds nothing in the wheel that its tag does not allow."""
    command = [str(python), "-m", "auditwheel", "show", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if not re.search(rf'platform\s+tag:\s+"{TAG}"', done.stdout):
        sys.exit(f"auditwheel: {wheel.name} does not conform to {TAG}:\n{done.stdout}")


def main(folder: Path) -> None:
    """Puts the wheel into the folder and prints its path."""
    if sys.version_info[:2] != (3, 10):
        sys.exit(
            "build_wheel: the code generator needs CPython 3.10: .venv/bin/python of make setup"
        )
    python = tools()
    with tempfile.TemporaryDirectory(prefix="build-wheel-") as name:
        scratch = Path(name)
        source = copy_sources(scratch / "source")
        zig = next(python.parents[1].glob("lib/python*/site-packages/ziglang"))
        for inside, kept in LICENSES.items():
            shutil.copy(zig / inside, source / "licenses" / kept)
        libraries = compiled(source, python, scratch)
        options = [f"--config-settings=--build-option=--plat-name={TAG}"]
        wheel = project_wheel(source, libraries, scratch, *options)
        check(python, wheel)
        folder.mkdir(parents=True, exist_ok=True)
        print(shutil.copy(wheel, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist"))
