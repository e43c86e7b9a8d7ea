"""The physics loss: joint controls over a short window of motion, compared with a clip.

    loss(x) = weight_position * mean over frames and sites |site - reference|^2   (m^2)
            + weight_control * mean x^2
            + further terms, each a weight times a mean of squares (table in `WindowSpec`)

The lower bound is 0. x holds one number for each actuated axis and control period: 0.25 s at
30 Hz is 210 variables, 0.5 s 420, 1 s 840; with initial_velocity the nv entries of the velocity
follow. Simulator and gradient: fact sheet physics.md, 3 and 6.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from workers.physics.assets import ensure_assets
from workers.physics.loss.controls import control_index, frame_steps, whole_steps
from workers.physics.loss.options import DEFAULT
from workers.physics.loss.options import PhysicsOptions as PhysicsOptions
from workers.physics.loss.options import options_hash as options_hash
from workers.physics.model import PhysicsModel, load_humanoid, model_text
from workers.physics.motion import SPLITS, Clip, check_window, load_clip, pose_at, velocity_at
from workers.physics.native.binding import TERMS
from workers.physics.simulation import Simulator, Status, Window
from workers.physics.simulation.window_spec import WindowSpec


class PhysicsLoss:
    """One window of one clip as a function of its controls, with an exact gradient.

    clip: a name in `motion.CLIPS`, or a user's `Clip` (`workers.physics.formats`). start, seconds:
    the window within the clip, s; `seconds` must be a whole number of steps dt. door: "direct"
    (ctypes) or "tensorflow" (the op); same bits.
    ValueError, one line, when the clip is unknown, the window does not fit, or an option is wrong.
    """

    def __init__(
        self,
        clip: str | Clip,
        start: float,
        seconds: float,
        options: PhysicsOptions = DEFAULT,
        door: str = "direct",
    ):
        _check_door(door)
        simulator = _simulator(options.dt, options.control)
        spec = window_spec(clip, float(start), float(seconds), options, simulator)
        name = _clip(clip).name
        self._set(simulator.window(spec), name, float(start), float(seconds), options, door)

    @classmethod
    def from_spec(
        cls,
        spec: WindowSpec,
        simulator: Simulator,
        name: str = "spec",
        options: PhysicsOptions = DEFAULT,
        door: str = "direct",
    ) -> PhysicsLoss:
        """The loss of any motion: users' data, users' bodies.

        spec: schedule, start, references and weights (all taken from it, none from `options`).
        simulator: of the body; its dt is the spec's. name: what `clip` says. options: only
        initial_noise is used. ValueError, one line, when an array's shape or contents are wrong.
        """
        _check_door(door)
        loss = cls.__new__(cls)
        seconds = len(spec.control_index) * simulator.dt
        loss._set(simulator.window(spec), name, 0.0, seconds, options, door)
        return loss

    def _set(
        self,
        window: Window,
        clip: str,
        start: float,
        seconds: float,
        options: PhysicsOptions,
        door: str,
    ) -> None:
        self.clip, self.start, self.seconds = clip, start, seconds
        self.options, self.door = options, door
        self._window = window
        self._evaluate = window.loss_and_grad
        if door == "tensorflow":
            from workers.physics.simulation.tf_op import evaluate

            self._evaluate = functools.partial(evaluate, window.handle)

    @property
    def dim(self) -> int:
        """N, the number of variables."""
        return self._window.dim

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


def _check_door(door: str) -> None:
    if door not in ("direct", "tensorflow"):
        raise ValueError(f"door must be 'direct' or 'tensorflow', got {door!r}")


def random_window(
    seed: int, split: str, seconds: float, grid_rate: float = 30.0
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
            f"no clip of split {split!r} holds {seconds:g} s; the longest is {longest:.2f} s"
        )
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


def _clip(name: str | Clip) -> Clip:
    return load_clip(name, ensure_assets(), humanoid())


def window_spec(
    clip: str | Clip, start: float, seconds: float, options: PhysicsOptions, simulator: Simulator
) -> WindowSpec:
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
    reference = np.stack([simulator.sites(q[s]) for s in frames])
    weights = {f"weight_{term}": getattr(options, f"weight_{term}") for term in TERMS}
    trust = _confidence(options, frames, simulator.n_sites)
    spec = WindowSpec(
        n_controls=n,
        control_index=index,
        targets=targets,
        frame_steps=frames,
        reference=reference,
        q0=q[0],
        qd0=velocity_at(motion, start, model),
        control_scale=options.control_scale,
        initial_velocity=options.initial_velocity,
        velocity_scale=options.velocity_scale,
        confidence=trust,
        **weights,
    )
    if options.weight_root:
        spec = dataclasses.replace(spec, root=q[frames, :3])
    if options.weight_com:
        spec = dataclasses.replace(
            spec, com=np.stack([simulator.center_of_mass(q[s]) for s in frames])
        )
    if options.weight_velocity:
        spec = dataclasses.replace(
            spec,
            velocities=np.stack(
                [
                    simulator.site_velocities(
                        q[s], velocity_at(motion, start + s * options.dt, model)
                    )
                    for s in frames
                ]
            ),
        )
    if options.weight_reprojection and options.camera is not None:
        spec = dataclasses.replace(
            spec,
            camera=options.camera,
            keypoint_confidence=trust,
            keypoints=options.camera.project(reference),
        )
    return spec


def _confidence(options: PhysicsOptions, frames: np.ndarray, n_sites: int) -> np.ndarray | None:
    """site_weight for every frame, [F, n_sites]."""
    if options.site_weight is None:
        return None
    if len(options.site_weight) != n_sites:
        raise ValueError(
            f"site_weight has {len(options.site_weight)} numbers, the model has {n_sites} sites"
        )
    return np.tile(np.array(options.site_weight, float), (len(frames), 1))
