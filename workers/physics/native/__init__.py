"""The C++ simulator, its TensorFlow op, and where what `build.py` compiles of them lies."""

import hashlib
import importlib.util
import os
import platform
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from optimus.installation import cache_dir

SOURCE_DIR = Path(__file__).resolve().parent
BESIDE = SOURCE_DIR / "lib"  # beside the sources
OP_SOURCE = SOURCE_DIR / "physics_op.cc"
GENERATOR_SOURCE = SOURCE_DIR / "generate" / "generate.cc"


def place(name: str, inputs: Iterable[Path], *words: str) -> Path:
    """Where the file that is compiled of these inputs lies once built.

    Its name carries a hash of them, so that nothing older than its sources is ever found. It is
    looked for in the user's cache and beside the sources (of a checkout, or brought by the wheel).
    What is in neither belongs beside the sources, or where that is not allowed, in the cache.

    Args:
      name: of the file, without the hash.
      inputs: files that it is compiled of.
      words: what else it depends on.
    """
    digest = hashlib.sha256("\n".join(words).encode())
    for each in inputs:
        digest.update(each.read_bytes())
    stem, suffix = os.path.splitext(name)
    file = f"{stem}_{digest.hexdigest()[:16]}{suffix}"
    beside = BESIDE / file
    usable = beside.exists() or writable()
    return beside if usable and not in_cache(file).exists() else in_cache(file)


def writable() -> bool:
    """Whether compiled files may be put beside the sources."""
    return os.access(BESIDE if BESIDE.is_dir() else SOURCE_DIR, os.W_OK)


def in_cache(file: str) -> Path:
    """Where a compiled file lies in the user's cache, with others for the same machine and libc."""
    abi = "-".join(filter(None, (sysconfig.get_platform(), *platform.libc_ver())))
    return cache_dir() / f"native-{abi}" / file


def library_path() -> Path:
    """Of libphysics.so, the simulator."""
    return place("libphysics.so", [*library_sources(), *headers(), SOURCE_DIR / "exports.map"])


def op_path() -> Path:
    """Of physics_op.so, the op for the TensorFlow of this environment."""
    spec = importlib.util.find_spec("tensorflow")
    where = Path(spec.origin).parent if spec is not None and spec.origin else SOURCE_DIR
    versions = sorted(where.glob("include/tensorflow/core/public/*version.h"))
    inputs = [OP_SOURCE, SOURCE_DIR / "physics.h", *versions]
    return place("physics_op.so", inputs, library_path().name)


def generator_path() -> Path:
    """Of the program that writes a model's gradient as C code."""
    return place("generate", [*generator_sources(), *headers()])


def generated_library(structure: str) -> Path:
    """Of generated code for models of this structure (`Simulator.structure`).

    Bodies of different people and different time steps share a structure.
    """
    control = "pd" if structure.split("\n")[0].endswith(" pd") else "torque"
    inputs = [GENERATOR_SOURCE, *sorted((SOURCE_DIR / "mechanics").iterdir())]
    return place(f"generated_{control}.so", inputs, structure)


def library_sources() -> list[Path]:
    """The files that libphysics.so is compiled from."""
    folders = (SOURCE_DIR, SOURCE_DIR / "mechanics", SOURCE_DIR / "window")
    return sorted(path for folder in folders for path in folder.glob("*.cc") if path != OP_SOURCE)


def generator_sources() -> list[Path]:
    """The files that the generator is compiled from."""
    return [GENERATOR_SOURCE, SOURCE_DIR / "mechanics" / "model.cc"]


def headers() -> list[Path]:
    """All headers of ours."""
    return sorted((*SOURCE_DIR.rglob("*.hpp"), SOURCE_DIR / "physics.h"))
