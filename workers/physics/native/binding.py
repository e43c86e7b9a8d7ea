"""ctypes over libphysics.so: loading, structures, status codes (native/physics.h)."""

import ctypes
import enum
import functools
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from optimus.errors import UserError, require
from workers.physics.native import library_path


class Status(enum.IntEnum):
    """What became of one evaluation."""

    OK = 0
    NONFINITE = 1  # the motion, its loss or gradient overflowed: loss +inf, gradient nan


class PhysicsError(UserError, RuntimeError):
    """The simulator library is missing, does not load, or was handed a stale handle."""


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class ModelInfo(ctypes.Structure):
    """PhysicsModelInfo."""

    _fields_ = _fields(
        ctypes.c_int32, "nq nv n_actuated n_target n_sites n_spheres n_bodies n_limited"
    )


# PhysicsTerm, in order.
TERMS = ("position", "root", "com", "velocity", "reprojection", "limit", "control", "smoothness")


class CameraRecord(ctypes.Structure):
    """PhysicsCamera."""

    _fields_ = [
        *_fields(ctypes.c_double, "fx fy cx cy"),
        ("rotation", ctypes.c_double * 9),
        ("translation", ctypes.c_double * 3),
        ("near", ctypes.c_double),
    ]


class WindowRecord(ctypes.Structure):
    """PhysicsWindow."""

    _fields_ = [
        *_fields(ctypes.c_int32, "n_steps n_controls n_frames initial_velocity"),
        *_fields(
            ctypes.c_void_p,
            "control_index targets frame_steps q0 qd0 reference confidence root com velocities "
            "keypoints keypoint_confidence camera",
        ),
        *_fields(ctypes.c_double, "control_scale velocity_scale"),
        ("weight", ctypes.c_double * len(TERMS)),
    ]


@functools.cache
def library() -> ctypes.CDLL:
    """libphysics.so, loaded once. PhysicsError says how to build it when it is missing."""
    from workers.physics.build import how_to_build

    path = library_path()
    if not path.exists():
        raise PhysicsError(f"the simulator is not built: {how_to_build()}")
    try:
        lib = ctypes.CDLL(str(path))
    except OSError as error:
        remedy = how_to_build("--force")
        raise PhysicsError(f"{path} does not load ({error}): {remedy}") from error
    lib.physics_last_error.restype = ctypes.c_char_p
    return lib


def check(status: int) -> Status:
    """The status as an enum; ValueError or PhysicsError with the library's line for the others."""
    if status in (Status.OK, Status.NONFINITE):
        return Status(status)
    message = (library().physics_last_error() or b"").decode()
    if status == 2:
        raise ValueError(message)
    raise PhysicsError(message)


def as_array(
    value: np.ndarray, shape: tuple[int, ...], what: str, dtype: DTypeLike = np.float64
) -> np.ndarray:
    """A contiguous array `[*shape]`.

    Args:
      value: the numbers. shape: what it must have. what: names it in messages.
      dtype: of the result.

    Raises:
      ValueError: the shape differs.
    """
    array: np.ndarray = np.ascontiguousarray(value, dtype=dtype)
    require(array.shape == shape, f"{what} must have shape {shape}, got {array.shape}")
    return array


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Address of a contiguous array `[...]` that the caller keeps alive."""
    return ctypes.c_void_p(array.ctypes.data)
