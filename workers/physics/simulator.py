"""The direct door: the simulator through ctypes. No TensorFlow; calls release the GIL.

Units SI, z up, states as in `workers.physics.model`. Both doors call the same C code, so they
agree to the last bit. All methods may be called from any thread.
"""

from __future__ import annotations

import ctypes
import logging
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workers.physics.native import generated_library
from workers.physics.native.binding import (
    ModelInfo,
    WindowRecord,
    as_array,
    check,
    library,
    pointer,
)
from workers.physics.native.binding import PhysicsError as PhysicsError
from workers.physics.native.binding import Status as Status

_CONTROLS = {"torque": 0, "pd": 1}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowSpec:
    """What is simulated and against what.

    control_index: int32 [S, n_actuated], which entry of x drives each joint axis at each step.
    targets: float64 [S, n_target], PD targets at x = 0 (quaternions and angles), None for torque.
    frame_steps: int32 [F], rising, in 1..S: after how many steps each reference frame is compared.
    reference: float64 [F, n_sites, 3], m. q0 [nq], qd0 [nv]: initial state.
    control_scale: PD: rad for one unit of x; torque: y = control_scale * x gives the torque
    torque_max * y / sqrt(1 + y^2).
    weight_position: 1/m^2, on the mean over frames and sites of the squared distance.
    weight_control: on the mean of x^2.
    """

    n_controls: int
    control_index: np.ndarray
    targets: np.ndarray | None
    frame_steps: np.ndarray
    reference: np.ndarray
    q0: np.ndarray
    qd0: np.ndarray
    control_scale: float = 1.0
    weight_position: float = 1.0
    weight_control: float = 0.0


class Simulator:
    """A model with its recorded step, at one time step and one kind of control.

    text: `workers.physics.model.model_text`. dt: s. control: "pd" or "torque". fast: use generated
    code where it is built (build.py --fast): same numbers up to rounding, about nine times faster.
    """

    def __init__(self, text: str, dt: float, control: str, fast: bool = True):
        if control not in _CONTROLS:
            raise ValueError(f"control must be 'pd' or 'torque', got {control!r}")
        lib = library()
        handle = ctypes.c_int64()
        check(lib.physics_model_create(text.encode(), ctypes.c_double(dt), _CONTROLS[control],
                                        ctypes.byref(handle)))
        self._handle = handle
        weakref.finalize(self, lib.physics_model_destroy, handle)
        self.fast = fast and self._use_generated_code(generated_library(text, dt, control))
        info = ModelInfo()
        check(lib.physics_model_info(handle, ctypes.byref(info)))
        self.dt, self.control = dt, control
        self.nq, self.nv = info.nq, info.nv
        self.n_actuated, self.n_target = info.n_actuated, info.n_target
        self.n_sites, self.n_spheres = info.n_sites, info.n_spheres
        self.tape_variables = info.tape_variables

    def _use_generated_code(self, path: Path) -> bool:
        if not path.exists():
            _log.info("no generated code for this model and step; using the slower tape")
            return False
        code = ctypes.CDLL(str(path))  # never unloaded, so the pointers stay good
        functions = (ctypes.cast(getattr(code, name), ctypes.c_void_p)
                     for name in ("physics_step_vjp", "physics_sites_vjp"))
        check(library().physics_model_use_code(self._handle, *functions))
        return True

    def window(self, spec: WindowSpec) -> Window:
        """A window of motion to evaluate (cheap)."""
        return Window(self, spec)

    def sites(self, q: np.ndarray) -> np.ndarray:
        """Positions of the compared points [n_sites, 3], m, at state q [nq]."""
        return self._look("physics_sites", (self.n_sites, 3), as_array(q, (self.nq,), "q"))

    def spheres(self, q: np.ndarray) -> np.ndarray:
        """Centers of the contact spheres [n_spheres, 3], m."""
        return self._look("physics_spheres", (self.n_spheres, 3), as_array(q, (self.nq,), "q"))

    def accelerations(self, q: np.ndarray, qd: np.ndarray, torque: np.ndarray) -> np.ndarray:
        """Joint accelerations [nv] without contact, control, damping and limits."""
        return self._look("physics_accelerations", (self.nv,), as_array(q, (self.nq,), "q"),
                          as_array(qd, (self.nv,), "qd"),
                          as_array(torque, (self.n_actuated,), "torque"))

    def contacts(self, q: np.ndarray, qd: np.ndarray) -> np.ndarray:
        """Ground force on each contact sphere [n_spheres, 3], N, at this state and velocity."""
        return self._look("physics_contacts", (self.n_spheres, 3), as_array(q, (self.nq,), "q"),
                          as_array(qd, (self.nv,), "qd"))

    def _look(self, function: str, shape: tuple[int, ...], *arrays: np.ndarray) -> np.ndarray:
        out = np.empty(shape)
        call = getattr(library(), function)
        check(call(self._handle, *map(pointer, arrays), pointer(out)))
        return out


class Window:
    """A window of motion; keeps its simulator alive."""

    def __init__(self, simulator: Simulator, spec: WindowSpec):
        steps, frames = len(spec.control_index), len(spec.frame_steps)
        axes = simulator.n_actuated
        index = as_array(spec.control_index, (steps, axes), "control_index", np.int32)
        frame_steps = as_array(spec.frame_steps, (frames,), "frame_steps", np.int32)
        reference = as_array(spec.reference, (frames, simulator.n_sites, 3), "reference")
        q0 = as_array(spec.q0, (simulator.nq,), "q0")
        qd0 = as_array(spec.qd0, (simulator.nv,), "qd0")
        targets = None
        if spec.targets is not None:
            targets = as_array(spec.targets, (steps, simulator.n_target), "targets")
        record = WindowRecord(
            steps, spec.n_controls, frames, index.ctypes.data,
            None if targets is None else targets.ctypes.data, frame_steps.ctypes.data,
            reference.ctypes.data, q0.ctypes.data, qd0.ctypes.data, spec.control_scale,
            spec.weight_position, spec.weight_control,
        )
        handle = ctypes.c_int64()
        check(library().physics_window_create(simulator._handle, ctypes.byref(record),
                                               ctypes.byref(handle)))
        self.simulator = simulator
        self.handle: int = handle.value
        self.n_controls, self.n_steps = spec.n_controls, steps
        weakref.finalize(self, library().physics_window_destroy, handle)

    def loss_and_grad(self, x: np.ndarray) -> tuple[Status, float, np.ndarray]:
        """Status, loss and gradient [n_controls] at x float64 [n_controls]."""
        x = as_array(x, (self.n_controls,), "x")
        loss, grad = ctypes.c_double(), np.empty(self.n_controls)
        status = check(library().physics_loss_and_grad(
            ctypes.c_int64(self.handle), pointer(x), self.n_controls, ctypes.byref(loss),
            pointer(grad)))
        return status, loss.value, grad

    def loss(self, x: np.ndarray) -> tuple[Status, float]:
        """Status and loss without the gradient (three to thirty times cheaper)."""
        x = as_array(x, (self.n_controls,), "x")
        loss = ctypes.c_double()
        status = check(library().physics_loss_and_grad(
            ctypes.c_int64(self.handle), pointer(x), self.n_controls, ctypes.byref(loss), None))
        return status, loss.value

    def rollout(self, x: np.ndarray) -> tuple[Status, np.ndarray, np.ndarray]:
        """Status, states q [S + 1, nq] and velocities qd [S + 1, nv]; zeros after an overflow."""
        x = as_array(x, (self.n_controls,), "x")
        q = np.empty((self.n_steps + 1, self.simulator.nq))
        qd = np.empty((self.n_steps + 1, self.simulator.nv))
        status = check(library().physics_rollout(
            ctypes.c_int64(self.handle), pointer(x), self.n_controls, pointer(q), pointer(qd)))
        return status, q, qd
