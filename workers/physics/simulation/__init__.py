"""The direct backend: the simulator through ctypes. No TensorFlow; calls release the GIL.

Units SI, z up, states as in `workers.physics.model`. Both backends call the same C code, so they
agree to the last bit. All methods may be called from any thread.
"""

from __future__ import annotations

import ctypes
import logging
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimus.errors import require_known
from workers.physics.native import generated_library
from workers.physics.native.binding import TERMS, ModelInfo, as_array, check, library, pointer
from workers.physics.native.binding import PhysicsError as PhysicsError
from workers.physics.native.binding import Status as Status
from workers.physics.simulation.window_spec import Camera as Camera
from workers.physics.simulation.window_spec import WindowSpec as WindowSpec
from workers.physics.simulation.window_spec import window_record

CONTROLS = ("torque", "pd")  # in the order of PHYSICS_TORQUE and PHYSICS_PD
_log = logging.getLogger(__name__)


def _call(function: str, *arguments: Any) -> Status:
    """Calls a function of the library; ValueError or PhysicsError with its line where it fails."""
    return check(getattr(library(), function)(*arguments))


def _create(function: str, *arguments: Any) -> ctypes.c_int64:
    """The handle that a function of the library fills in last."""
    handle = ctypes.c_int64()
    _call(function, *arguments, ctypes.byref(handle))
    return handle


class Simulator:
    """A model with the gradient of its step, at one time step and one kind of control.

    Models of one structure (`structure`: tree, joint types, axes, which numbers are zero) share
    tapes and generated code; masses, lengths, gains, limits and dt are data.

    Args:
      text: `workers.physics.model.model_text`. dt: s. control: "pd" or "torque".
      fast: use generated code where it is built for the model's structure (build.py): same numbers
        up to rounding, about ten times faster.
    """

    def __init__(self, text: str, dt: float, control: str, fast: bool = True):
        require_known(control, CONTROLS, "control")
        what = (text.encode(), ctypes.c_double(dt), CONTROLS.index(control))
        self._handle = _create("physics_model_create", *what)
        weakref.finalize(self, library().physics_model_destroy, self._handle)
        self.structure = self._read_structure()
        self.fast = fast and self._use_generated_code(generated_library(self.structure))
        info = ModelInfo()
        _call("physics_model_info", self._handle, ctypes.byref(info))
        self.dt = dt
        self.control = control
        self.nq: int = info.nq
        self.nv: int = info.nv
        self.n_actuated: int = info.n_actuated
        self.n_target: int = info.n_target
        self.n_sites: int = info.n_sites
        self.n_spheres: int = info.n_spheres
        self.n_limited: int = info.n_limited

    def _read_structure(self) -> str:
        size = ctypes.c_int32()
        _call("physics_model_structure", self._handle, None, 0, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        _call("physics_model_structure", self._handle, buffer, size, ctypes.byref(size))
        return buffer.value.decode()

    def _use_generated_code(self, path: Path) -> bool:
        if not path.exists():
            _log.info("no generated code for this model's structure; using the slower tape")
            return False
        code = ctypes.CDLL(str(path))  # never unloaded, so the pointers stay good
        names = ("physics_step_vjp", "physics_positions_vjp", "physics_motion_vjp")
        functions = (ctypes.cast(getattr(code, name), ctypes.c_void_p) for name in names)
        _call("physics_model_use_code", self._handle, *functions)
        return True

    def window(self, spec: WindowSpec) -> Window:
        """A window of motion to evaluate (cheap, but for the first one that needs a tape)."""
        return Window(self, spec)

    def sites(self, q: np.ndarray) -> np.ndarray:
        """Positions of the compared points [n_sites, 3], m, at state q [nq]."""
        return self._look("physics_sites", (self.n_sites, 3), q)

    def center_of_mass(self, q: np.ndarray) -> np.ndarray:
        """Centre of mass of all bodies [3], m."""
        return self._look("physics_center_of_mass", (3,), q)

    def site_velocities(self, q: np.ndarray, qd: np.ndarray) -> np.ndarray:
        """Velocities of the compared points [n_sites, 3], m/s, at (q [nq], qd [nv])."""
        return self._look("physics_site_velocities", (self.n_sites, 3), q, qd)

    def spheres(self, q: np.ndarray) -> np.ndarray:
        """Centers of the contact spheres [n_spheres, 3], m."""
        return self._look("physics_spheres", (self.n_spheres, 3), q)

    def accelerations(self, q: np.ndarray, qd: np.ndarray, torque: np.ndarray) -> np.ndarray:
        """Joint accelerations [nv] without contact, PD control, damping, springs and limits."""
        return self._look("physics_accelerations", (self.nv,), q, qd, torque)

    def contacts(self, q: np.ndarray, qd: np.ndarray) -> np.ndarray:
        """Ground force on each contact sphere [n_spheres, 3], N, at this state and velocity."""
        return self._look("physics_contacts", (self.n_spheres, 3), q, qd)

    def _look(self, function: str, shape: tuple[int, ...], *state: np.ndarray) -> np.ndarray:
        """What a function of the library says of q, or of q, qd, or of those and torques."""
        wanted = (("q", self.nq), ("qd", self.nv), ("torque", self.n_actuated))
        arrays = [as_array(each, (n,), what) for each, (what, n) in zip(state, wanted)]
        out = np.empty(shape)
        _call(function, self._handle, *map(pointer, arrays), pointer(out))
        return out


class Window:
    """A window of motion; keeps its simulator alive.

    n_controls: controls in x. dim: length of x (n_controls, and nv more with initial_velocity).
    """

    def __init__(self, simulator: Simulator, spec: WindowSpec):
        record, kept = window_record(spec, simulator)
        handle = _create("physics_window_create", simulator._handle, ctypes.byref(record))
        del kept  # the library has copied everything
        self.simulator = simulator
        self.handle: int = handle.value
        self.n_controls = spec.n_controls
        self.n_steps = record.n_steps
        self.dim = spec.n_controls + (simulator.nv if spec.initial_velocity else 0)
        weakref.finalize(self, library().physics_window_destroy, handle)

    def _call(self, function: str, x: np.ndarray, *rest: Any) -> Status:
        """A function of the library at x `[dim]`, with what it takes besides."""
        x = as_array(x, (self.dim,), "x")
        return _call(function, ctypes.c_int64(self.handle), pointer(x), *rest)

    def loss_and_grad(self, x: np.ndarray) -> tuple[Status, float, np.ndarray]:
        """Status, loss and gradient `[dim]` at x float64 `[dim]`."""
        loss, grad = ctypes.c_double(), np.empty(self.dim)
        status = self._call("physics_loss_and_grad", x, self.dim, ctypes.byref(loss), pointer(grad))
        return status, loss.value, grad

    def loss(self, x: np.ndarray) -> tuple[Status, float]:
        """Status and loss at x `[dim]` without the gradient (three to forty times cheaper)."""
        loss = ctypes.c_double()
        status = self._call("physics_loss_and_grad", x, self.dim, ctypes.byref(loss), None)
        return status, loss.value

    def terms(self, x: np.ndarray) -> dict[str, float]:
        """Weighted terms of the loss at x `[dim]`; their sum is the loss. All inf on overflow."""
        terms = np.empty(len(TERMS))
        self._call("physics_loss_terms", x, self.dim, pointer(terms))
        return dict(zip(TERMS, terms.tolist()))

    def derivative(self, x: np.ndarray, direction: np.ndarray) -> tuple[Status, float, float]:
        """Status, loss and its derivative along direction [dim], by forward-mode dual numbers.

        A check of the gradient that shares no tape with it; costs about three losses.
        """
        along = as_array(direction, (self.dim,), "direction")
        loss, slope = ctypes.c_double(), ctypes.c_double()
        results = (ctypes.byref(loss), ctypes.byref(slope))
        status = self._call("physics_loss_derivative", x, pointer(along), self.dim, *results)
        return status, loss.value, slope.value

    def rollout(self, x: np.ndarray) -> tuple[Status, np.ndarray, np.ndarray]:
        """Status, states q [S + 1, nq] and velocities qd [S + 1, nv]; zeros after an overflow."""
        q = np.empty((self.n_steps + 1, self.simulator.nq))
        qd = np.empty((self.n_steps + 1, self.simulator.nv))
        status = self._call("physics_rollout", x, self.dim, pointer(q), pointer(qd))
        return status, q, qd


def loss_and_grad_batch(
    windows: Sequence[Window], x: np.ndarray, threads: int = 0
) -> tuple[list[Status], np.ndarray, np.ndarray]:
    """Statuses, losses [B] and gradients [B, N] of B windows at x float64 [B, N], in one call.

    The windows must have the same dim N. One thread works on a window; at most `threads` of them
    (0: as many as the machine has). The same bits as B calls of `Window.loss_and_grad`. A motion
    that overflows gives +inf and nan in its own row only.
    """
    n = windows[0].dim if windows else 0
    x = as_array(x, (len(windows), n), "x")
    handles = np.array([window.handle for window in windows], np.int64)
    status = np.zeros(len(windows), np.int32)
    loss, grad = np.empty(len(windows)), np.empty(x.shape)
    sizes, results = (len(windows), n, int(threads)), [pointer(a) for a in (loss, grad, status)]
    _call("physics_loss_and_grad_batch", pointer(handles), pointer(x), *sizes, *results)
    return [Status(s) for s in status], loss, grad
