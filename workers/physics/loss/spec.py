"""A window of a clip as the simulator takes it: schedule of controls, targets, references."""

import functools
from typing import Any

import numpy as np

from optimus.errors import require
from workers.physics.assets import ensure_assets
from workers.physics.loss.options import PhysicsOptions
from workers.physics.model import PhysicsModel, model_text
from workers.physics.model.urdf import load_humanoid
from workers.physics.motion import Clip, check_window, load_clip, pose_at, velocity_at
from workers.physics.native.binding import TERMS
from workers.physics.simulation import Simulator
from workers.physics.simulation.window_spec import WindowSpec

# Fields of a spec that options have by the same name.
_WEIGHTS = tuple(f"weight_{term}" for term in TERMS)
_COPIED = ("control_scale", "initial_velocity", "velocity_scale", *_WEIGHTS)


@functools.cache
def humanoid() -> PhysicsModel:
    """The humanoid of the assets."""
    return load_humanoid(ensure_assets() / "humanoid.urdf")


@functools.cache
def humanoid_simulator(dt: float, control: str) -> Simulator:
    """One recorded model for each process and these options."""
    return Simulator(model_text(humanoid()), dt, control)


def clip_of(name: str | Clip) -> Clip:
    """A clip of the assets by its name; a user's as it is."""
    return load_clip(name, ensure_assets(), humanoid())


def window_spec(
    clip: str | Clip, start: float, seconds: float, options: PhysicsOptions, simulator: Simulator
) -> WindowSpec:
    """What `PhysicsLoss` simulates in a window.

    Args:
      clip, start, seconds, options: as of `PhysicsLoss`, and so are the errors.
      simulator: must hold the humanoid.
    """
    motion, model = clip_of(clip), humanoid()
    check_window(motion, start, seconds)
    steps = whole_steps(seconds, options.dt)
    n = round(model.n_actuated * options.control_rate * seconds)
    frames = frame_steps(steps, seconds, options.frame_rate)
    q = pose_at(motion, start + options.dt * np.arange(steps + 1), model)
    # Lift the whole window so that the first pose touches the ground without being in it.
    radii = np.array([sphere.radius for sphere in model.spheres])
    q[:, 2] += max(0.0, float(np.max(radii - simulator.spheres(q[0])[:, 2])))
    targets = None
    if options.control == "pd":  # the joint part of a state; signs as the clip's, so none jumps
        at = slice(1, None) if options.target_base == "reference" else np.zeros(steps, int)
        targets = q[at, 7:]
    return WindowSpec(
        n_controls=n,
        control_index=control_index(steps, n, model.n_actuated),
        targets=targets,
        frame_steps=frames,
        q0=q[0],
        qd0=velocity_at(motion, start, model),
        **{name: getattr(options, name) for name in _COPIED},
        **_references(motion, start + options.dt * frames, q[frames], options, simulator),
    )


def _references(
    motion: Clip, times: np.ndarray, q: np.ndarray, options: PhysicsOptions, simulator: Simulator
) -> dict[str, Any]:
    """What the terms with a weight compare with, at `times` `[F]` s: states q `[F, nq]` then."""
    sites = np.stack([simulator.sites(state) for state in q])
    trust = None
    if options.site_weight is not None:
        given, wanted = len(options.site_weight), simulator.n_sites
        require(given == wanted, f"site_weight has {given} numbers, the model has {wanted} sites")
        trust = np.tile(np.array(options.site_weight, float), (len(times), 1))
    found: dict[str, Any] = {"reference": sites, "confidence": trust}
    if options.weight_root:
        found["root"] = q[:, :3]
    if options.weight_com:
        found["com"] = np.stack([simulator.center_of_mass(state) for state in q])
    if options.weight_velocity:
        velocities = [velocity_at(motion, time, humanoid()) for time in times]
        found["velocities"] = np.stack([*map(simulator.site_velocities, q, velocities)])
    if options.weight_reprojection and options.camera is not None:
        found["camera"] = options.camera
        found["keypoint_confidence"] = trust
        found["keypoints"] = options.camera.project(sites)
    return found


def whole_steps(seconds: float, dt: float) -> int:
    """Number of simulation steps in a window; ValueError when it is not whole."""
    steps = round(seconds / dt)
    whole = steps >= 1 and abs(steps * dt - seconds) <= 1e-9
    require(whole, f"seconds={seconds:g} is not a whole number of steps dt={dt:g}")
    return steps


@functools.lru_cache(maxsize=64)
def control_index(n_steps: int, n_controls: int, n_actuated: int) -> np.ndarray:
    """Index into x for every step and actuated axis: int32 `[n_steps, n_actuated]`.

    The controls are spread evenly: axis i gets K_i = floor((i + 1) r) - floor(i r) of them,
    r = n_controls / n_actuated, and its control j acts on the steps s with floor(s K_i / S) = j.
    x is ordered by the time of first effect, then by axis. The array is shared and read-only.
    """
    counts = np.diff(np.arange(n_actuated + 1) * n_controls // n_actuated)
    least, most = int(counts.min()), int(counts.max())
    few = f"{n_controls} controls are too few for {n_actuated} joint axes"
    require(least >= 1, f"{few}: lengthen the window or raise control_rate")
    many = f"{most} controls of an axis do not fit into {n_steps} steps"
    require(most <= n_steps, f"{many}: lower control_rate or dt")
    period = np.arange(n_steps)[:, None] * counts[None, :] // n_steps
    controls = [(i, j) for i in range(n_actuated) for j in range(counts[i])]
    first_step = [(-(-j * n_steps // counts[i]), i, j) for i, j in controls]
    position = {(i, j): at for at, (_, i, j) in enumerate(sorted(first_step))}
    index = [[position[i, period[s, i]] for i in range(n_actuated)] for s in range(n_steps)]
    table = np.array(index, dtype=np.int32)
    table.flags.writeable = False
    return table


def frame_steps(n_steps: int, seconds: float, frame_rate: float) -> np.ndarray:
    """After how many steps frames are compared: evenly spread, the last at the end, int32 `[F]`."""
    n_frames = min(int(np.ceil(seconds * frame_rate - 1e-9)), n_steps)
    return np.array([round((k + 1) * n_steps / n_frames) for k in range(n_frames)], dtype=np.int32)
