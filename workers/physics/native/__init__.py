"""The C++ simulator, its TensorFlow op, and the script that builds both (`build.py`)."""

from __future__ import annotations

import hashlib
from pathlib import Path

SOURCE_DIR = Path(__file__).resolve().parent
LIBRARY = SOURCE_DIR / "lib" / "libphysics.so"
OP_LIBRARY = SOURCE_DIR / "lib" / "physics_op.so"


# What generated code depends on.
_GENERATED_FROM = (
    "contact.hpp",
    "dynamics.hpp",
    "generate/generate.cc",
    "joint_forces.hpp",
    "kinematics.hpp",
    "model.cc",
    "model.hpp",
    "parameters.hpp",
    "record.hpp",
    "smooth.hpp",
    "spatial.hpp",
    "step.hpp",
)


def generated_library(structure: str) -> Path:
    """Where generated code for models of this structure (`Simulator.structure`) lies once built.

    Bodies of different people and different time steps share a structure. The name carries a hash
    of it and of the sources the code is generated from, so code of another structure or an older
    simulator is never found.
    """
    digest = hashlib.sha256(structure.encode())
    for source in _GENERATED_FROM:
        digest.update((SOURCE_DIR / source).read_bytes())
    control = "pd" if structure.split("\n")[0].endswith(" pd") else "torque"
    return LIBRARY.parent / f"generated_{control}_{digest.hexdigest()[:16]}.so"
