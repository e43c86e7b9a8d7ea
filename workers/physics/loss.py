"""The physics loss: joint controls over a short window of motion, compared with a clip.

    loss(x) = weight_position * mean over frames and sites |site - reference|^2   (m^2)
            + weight_control * mean x^2

The lower bound is 0. x holds one number for each actuated axis and control period: 0.25 s at
30 Hz is 210 variables, 0.5 s 420, 1 s 840. Simulator and gradient: fact sheet physics.md, 3 and 6.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass

import numpy as np

from workers.physics.assets import ensure_assets
from workers.physics.controls import control_index, frame_steps, whole_steps
from workers.physics.model import PhysicsModel, load_humanoid, model_text
from workers.physics.motion import SPLITS, Clip, check_window, load_clip, pose_at, velocity_at
from workers.physics.simulator import Simulator, Status, Window, WindowSpec

VERSION = 1  # part of options_hash: raise it whenever the same options would mean another loss


@dataclass(frozen=True)
class PhysicsOptions:
    """What decides a loss besides its window.

    control: "pd": x is added to PD targets, in units of control_scale rad (a rotation vector in
    the child's axes on spherical joints). "torque": x in units of the joint's largest torque
    (y = control_scale * x gives torque_max * y / sqrt(1 + y^2)).
    control_rate: Hz. dt: simulation step, s. frame_rate: compared frames a second (the last frame
    is always the window's end).
    target_base: PD targets at x = 0: "initial" holds the window's first pose, so the optimiser has
    to find the motion; "reference" follows the clip.
    weight_position: 1/m^2 (100: an rms error of 10 cm is a loss of 1).
    initial_noise: standard deviation of initial_guess; 0 starts at x = 0 whatever the seed.
    """

    control: str = "pd"
    control_rate: float = 30.0
    frame_rate: float = 30.0
    dt: float = 1 / 120
    target_base: str = "initial"
    control_scale: float = 1.0
    weight_position: float = 100.0
    weight_control: float = 1e-3
    initial_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.control not in ("pd", "torque"):
            raise ValueError(f"control must be 'pd' or 'torque', got {self.control!r}")
        if self.target_base not in ("initial", "reference"):
            raise ValueError(
                f"target_base must be 'initial' or 'reference', got {self.target_base!r}")
        for name in ("control_rate", "frame_rate", "dt", "control_scale", "weight_position"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("weight_control", "initial_noise"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must not be negative, got {value}")


def options_hash(options: PhysicsOptions) -> str:
    """16 hexadecimal digits that stand for the options and the version of the loss."""
    text = json.dumps([VERSION, dataclasses.asdict(options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PhysicsLoss:
    """One window of one clip as a function of its controls, with an exact gradient.

    clip: a name in `motion.CLIPS`. start, seconds: the window within the clip, s; `seconds` must be
    a whole number of steps dt. door: "direct" (ctypes) or "tensorflow" (the op); same bits.
    ValueError, one line, when the clip is unknown, the window does not fit, or an option is wrong.
    """

    def __init__(self, clip: str, start: float, seconds: float,
                 options: PhysicsOptions = PhysicsOptions(), door: str = "direct"):
        if door not in ("direct", "tensorflow"):
            raise ValueError(f"door must be 'direct' or 'tensorflow', got {door!r}")
        self.clip, self.start, self.seconds = clip, float(start), float(seconds)
        self.options, self.door = options, door
        simulator = _simulator(options.dt, options.control)
        self._window = simulator.window(
            window_spec(clip, self.start, self.seconds, options, simulator))
        self._evaluate = self._window.loss_and_grad
        if door == "tensorflow":
            from workers.physics.tf_op import evaluate

            self._evaluate = functools.partial(evaluate, self._window.handle)

    @property
    def dim(self) -> int:
        """N, the number of variables."""
        return self._window.n_controls

    @property
    def window(self) -> Window:
        """The simulator's window (rollouts, site positions)."""
        return self._window

    def initial_guess(self, seed: int) -> np.ndarray:
        """x0 float64 [N]: options.initial_noise times normal noise drawn by the seed."""
        if self.options.initial_noise == 0:
            return np.zeros(self.dim)
        noise = np.random.Generator(np.random.Philox(key=seed)).standard_normal(self.dim)
        return self.options.initial_noise * noise

    def evaluate(self, x: np.ndarray) -> tuple[Status, float, np.ndarray]:
        """(status, loss, gradient float64 [N]) at x float64 [N].

        Status.NONFINITE: the motion overflowed; loss is +inf and the gradient all nan.
        ValueError when x has another shape or dtype or holds nan or infinity.
        """
        if not isinstance(x, np.ndarray) or x.dtype != np.float64:
            kind = getattr(x, "dtype", type(x).__name__)
            raise ValueError(f"x must be a float64 array [{self.dim}], got {kind}")
        if x.shape != (self.dim,):
            raise ValueError(f"x must have shape ({self.dim},), got {x.shape}")
        if not np.isfinite(x).all():
            bad = int(np.argmin(np.isfinite(x)))
            raise ValueError(f"x must be finite, x[{bad}] is {x[bad]}")
        return self._evaluate(x)

    def value_and_grad(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """(loss, gradient float64 [N]); (+inf, all nan) when the motion overflowed."""
        _, loss, grad = self.evaluate(x)
        return loss, grad


def random_window(seed: int, split: str, seconds: float, grid_rate: float = 30.0
                  ) -> tuple[str, float]:
    """(clip, start in s) drawn by the seed alone: a clip of the split, then a start k / grid_rate.

    Clips shorter than `seconds` are left out. ValueError when none is long enough.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; there are: {', '.join(SPLITS)}")
    clips = [_clip(name) for name in SPLITS[split]]
    fitting = [clip for clip in clips if clip.seconds + 1e-9 >= seconds]
    if not fitting or not seconds > 0:
        longest = max(clip.seconds for clip in clips)
        raise ValueError(
            f"no clip of split {split!r} holds {seconds:g} s; the longest is {longest:.2f} s")
    rng = np.random.Generator(np.random.Philox(key=seed))
    clip = fitting[int(rng.integers(len(fitting)))]
    last = int(np.floor((clip.seconds - seconds) * grid_rate + 1e-6))
    return clip.name, int(rng.integers(last + 1)) / grid_rate


@functools.cache
def humanoid() -> PhysicsModel:
    """The humanoid of the assets."""
    return load_humanoid(ensure_assets() / "humanoid.urdf")


@functools.cache
def _simulator(dt: float, control: str) -> Simulator:
    """One recorded model for each process and these options."""
    return Simulator(model_text(humanoid()), dt, control)


def _clip(name: str) -> Clip:
    return load_clip(name, ensure_assets(), humanoid())


def window_spec(clip: str, start: float, seconds: float, options: PhysicsOptions,
                simulator: Simulator) -> WindowSpec:
    """What PhysicsLoss simulates: schedule, targets, reference and initial state of a window.

    `simulator` must hold the humanoid. Errors as PhysicsLoss.
    """
    motion, model = _clip(clip), humanoid()
    check_window(motion, start, seconds)
    steps = whole_steps(seconds, options.dt)
    n = round(model.n_actuated * options.control_rate * seconds)
    index = control_index(steps, n, model.n_actuated)
    frames = frame_steps(steps, seconds, options.frame_rate)

    q = pose_at(motion, start + options.dt * np.arange(steps + 1), model)
    # Lift the whole window so that the first pose touches the ground without being in it.
    radii = np.array([sphere.radius for sphere in model.spheres])
    q[:, 2] += max(0.0, float(np.max(radii - simulator.spheres(q[0])[:, 2])))
    targets = None
    if options.control == "pd":
        # The joint part of a state; clips keep their quaternions' signs, so no target jumps.
        targets = q[1:, 7:] if options.target_base == "reference" else np.tile(q[0, 7:], (steps, 1))
    return WindowSpec(
        n_controls=n, control_index=index, targets=targets, frame_steps=frames,
        reference=np.stack([simulator.sites(q[s]) for s in frames]), q0=q[0],
        qd0=velocity_at(motion, start, model), control_scale=options.control_scale,
        weight_position=options.weight_position, weight_control=options.weight_control,
    )
