"""The C++ simulator, its TensorFlow op, and the script that builds both (`build.py`)."""

import hashlib
from pathlib import Path

SOURCE_DIR = Path(__file__).resolve().parent
LIBRARY = SOURCE_DIR / "lib" / "libphysics.so"
OP_SOURCE = SOURCE_DIR / "physics_op.cc"
GENERATOR_SOURCE = SOURCE_DIR / "generate" / "generate.cc"
OP_LIBRARY = SOURCE_DIR / "lib" / "physics_op.so"


def generated_library(structure: str) -> Path:
    """Where generated code for models of this structure (`Simulator.structure`) lies once built.

    Bodies of different people and different time steps share a structure. The name carries a hash
    of it and of the sources the code is generated from, so code of another structure or an older
    simulator is never found.
    """
    digest = hashlib.sha256(structure.encode())
    for source in (GENERATOR_SOURCE, *sorted((SOURCE_DIR / "mechanics").iterdir())):
        digest.update(source.read_bytes())
    control = "pd" if structure.split("\n")[0].endswith(" pd") else "torque"
    return LIBRARY.parent / f"generated_{control}_{digest.hexdigest()[:16]}.so"


def library_sources() -> list[Path]:
    """The files that libphysics.so is compiled from."""
    folders = (SOURCE_DIR, SOURCE_DIR / "mechanics", SOURCE_DIR / "window")
    return sorted(path for folder in folders for path in folder.glob("*.cc") if path != OP_SOURCE)


def headers() -> list[Path]:
    """All headers; a library that is older than one of them is built anew."""
    return sorted((*SOURCE_DIR.rglob("*.hpp"), SOURCE_DIR / "physics.h"))
