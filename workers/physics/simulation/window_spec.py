"""A window of motion as arrays: schedule, start, references and weights."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workers.physics.native.binding import TERMS, CameraRecord, WindowRecord, as_array

if TYPE_CHECKING:
    from workers.physics.simulation import Simulator

Vector = tuple[float, float, float]
Pixel = tuple[float, float]
_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Camera:
    """Pinhole camera: pixel = (fx x / z + cx, fy y / z + cy), (x, y, z) = rotation p + translation.

    Camera axes: x right, y down, z forward. p: a point of the world, m, z up. fx, fy, cx, cy:
    pixels. rotation: world to camera, rows. near: m; the depth z is kept from 1.5 near on and
    blended (C2) into `near` below, so a point beside or behind the camera is projected as if at
    depth near: its error stays finite and pulls it sideways, without a gradient along the depth.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    rotation: tuple[Vector, Vector, Vector] = _IDENTITY
    translation: Vector = (0.0, 0.0, 0.0)
    near: float = 0.1

    @staticmethod
    def looking_at(eye: Vector, target: Vector, focal: float, center: Pixel) -> Camera:
        """An upright camera.

        Args:
          eye: where it is, m. target: the point, m, that it sees at pixel `center`.
          focal: length, pixels. center: pixels.
        """
        forward = np.subtract(target, eye)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        if not np.linalg.norm(right) > 0:
            raise ValueError("a camera that looks straight up or down has no upright position")
        down = np.cross(forward, right)
        rows = np.stack([v / np.linalg.norm(v) for v in (right, down, forward)])
        shift = -rows @ np.asarray(eye, float)
        rotation = tuple(tuple(row) for row in rows.tolist())
        return Camera(focal, focal, *center, rotation, tuple(shift.tolist()))  # type: ignore[arg-type]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] of points [..., 3], m. ValueError when one is nearer than 1.5 near."""
        at = np.asarray(points) @ np.array(self.rotation).T + np.array(self.translation)
        if at.size and at[..., 2].min() < 1.5 * self.near:
            found, want = f"{at[..., 2].min():.3g} m", f"{1.5 * self.near:.3g} m (1.5 near)"
            raise ValueError(f"a point lies {found} before the camera, want at least {want}")
        return at[..., :2] / at[..., 2:] * [self.fx, self.fy] + [self.cx, self.cy]


@dataclass(frozen=True)
class WindowSpec:
    """What is simulated and against what. S steps, F compared frames; SI units, z up.

    control_index: int32 [S, n_actuated], which entry of x drives each joint axis at each step.
    targets: float64 [S, n_target], PD targets at x = 0 (quaternions and angles), None for torque.
    frame_steps: int32 [F], rising, in 1..S: after how many steps each reference frame is compared.
    q0 [nq], qd0 [nv]: initial state. initial_velocity: x ends with nv more numbers;
    velocity_scale times them (m/s and rad/s) is added to qd0.
    control_scale: PD: rad for one unit of x; torque: y = control_scale * x gives the torque
    torque_max * y / sqrt(1 + y^2).

    The loss is the sum of the terms; a weight of 0 costs nothing and needs no data.

    term          weight x mean of                          data
    position      |site - reference|^2, m^2                 reference [F, n_sites, 3]
    root          |root - root reference|^2, m^2            root [F, 3]
    com           |centre of mass - com|^2, m^2             com [F, 3]
    velocity      |site velocity - velocities|^2, (m/s)^2   velocities [F, n_sites, 3]
    reprojection  |pixel - keypoint|^2, pixels^2            camera, keypoints [F, n_sites, 2]
    limit         (excess over a joint's limit)^2, rad^2    over frames and joints with a limit
    control       x^2                                       over the n_controls controls
    smoothness    (change from one control to the next)^2   over the changes within the window

    confidence [F, n_sites] (position, velocity) and keypoint_confidence [F, n_sites]
    (reprojection) are weights of the mean: 0 leaves a point out, whose data may then be nan.
    """

    n_controls: int
    control_index: np.ndarray
    targets: np.ndarray | None
    frame_steps: np.ndarray
    reference: np.ndarray | None
    q0: np.ndarray
    qd0: np.ndarray
    control_scale: float = 1.0
    weight_position: float = 1.0
    weight_control: float = 0.0
    weight_root: float = 0.0
    weight_com: float = 0.0
    weight_velocity: float = 0.0
    weight_reprojection: float = 0.0
    weight_limit: float = 0.0
    weight_smoothness: float = 0.0
    confidence: np.ndarray | None = None
    root: np.ndarray | None = None
    com: np.ndarray | None = None
    velocities: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    keypoint_confidence: np.ndarray | None = None
    camera: Camera | None = None
    initial_velocity: bool = False
    velocity_scale: float = 1.0


# Data -> the weights of their mean; where those are 0 the data may be nan.
_TRUST = {"reference": "confidence", "velocities": "confidence", "keypoints": "keypoint_confidence"}


def window_record(spec: WindowSpec, simulator: Simulator) -> tuple[WindowRecord, list[Any]]:
    """The C structure of a spec, and what must stay alive while it is used.

    ValueError naming the array whose shape is wrong.
    """
    steps, frames = len(spec.control_index), len(spec.frame_steps)
    sites = simulator.n_sites
    shapes: dict[str, tuple[int, ...]] = {
        "control_index": (steps, simulator.n_actuated),
        "targets": (steps, simulator.n_target),
        "frame_steps": (frames,),
        "q0": (simulator.nq,),
        "qd0": (simulator.nv,),
        "reference": (frames, sites, 3),
        "confidence": (frames, sites),
        "root": (frames, 3),
        "com": (frames, 3),
        "velocities": (frames, sites, 3),
        "keypoints": (frames, sites, 2),
        "keypoint_confidence": (frames, sites),
    }
    arrays: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        value = getattr(spec, name)
        if value is not None:
            whole = name in ("control_index", "frame_steps")
            arrays[name] = as_array(value, shape, name, np.int32 if whole else np.float64)
    for name, trust in _TRUST.items():
        if trust in arrays and name in arrays:
            known = (arrays[trust] != 0)[..., None]
            arrays[name] = np.ascontiguousarray(np.where(known, arrays[name], 0.0))
    record = WindowRecord(steps, spec.n_controls, frames, int(spec.initial_velocity))
    for name, array in arrays.items():
        setattr(record, name, array.ctypes.data)
    kept: list[Any] = [arrays]
    if spec.camera is not None:
        c = spec.camera
        turn = tuple(np.ravel(c.rotation).tolist())
        camera = CameraRecord(c.fx, c.fy, c.cx, c.cy, turn, c.translation, c.near)
        record.camera = ctypes.addressof(camera)
        kept.append(camera)
    record.control_scale, record.velocity_scale = spec.control_scale, spec.velocity_scale
    record.weight = tuple(getattr(spec, f"weight_{term}") for term in TERMS)
    return record, kept
