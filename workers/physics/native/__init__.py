"""The C++ simulator, its TensorFlow op, and the script that builds both (`build.py`)."""

from __future__ import annotations

import hashlib
from pathlib import Path

SOURCE_DIR = Path(__file__).resolve().parent
LIBRARY = SOURCE_DIR / "lib" / "libphysics.so"
OP_LIBRARY = SOURCE_DIR / "lib" / "physics_op.so"


# What generated code depends on.
_GENERATED_FROM = ("contact.hpp", "dynamics.hpp", "generate/generate.cc", "joint_forces.hpp",
                   "kinematics.hpp", "model.cc", "model.hpp", "smooth.hpp", "spatial.hpp",
                   "step.hpp")


def generated_library(text: str, dt: float, control: str) -> Path:
    """Where generated code for this model text, dt and control lies once it is built.

    The name carries a hash of these and of the sources it is generated from, so code of another
    model or an older simulator is never found.
    """
    digest = hashlib.sha256(f"{text}|{dt!r}|{control}".encode())
    for source in _GENERATED_FROM:
        digest.update((SOURCE_DIR / source).read_bytes())
    return LIBRARY.parent / f"generated_{control}_{digest.hexdigest()[:16]}.so"
