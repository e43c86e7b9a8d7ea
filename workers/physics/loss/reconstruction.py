"""A window of motion to be reconstructed, and how to judge what came out.

    task = reconstruction.of_clip("walk", 0.0, 0.5, PhysicsOptions())
    value, gradient = task.value_and_grad(x)
    task.metrics(x)["mpjpe"]                          # mm

A window of users' data is the same: it takes a `Clip` as well as a name. In a synthetic
window the simulator made the motion, so the least loss is 0, at known controls.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from workers.physics.loss import PhysicsLoss, PhysicsOptions, metrics
from workers.physics.loss.metrics import Soles
from workers.physics.loss.spec import clip_of, humanoid
from workers.physics.loss.windows import random_window
from workers.physics.motion import Clip, pose_at
from workers.physics.native.binding import TERMS
from workers.physics.simulation import Status
from workers.physics.simulation.window_spec import Camera, WindowSpec

CONTROL_KNOTS = 5.0  # Hz, of the smooth controls
CONTROL_SIZE = 0.15  # their standard deviation at the knots


class Reconstruction(PhysicsLoss):
    """A loss with what is needed to judge its motions; made as a `PhysicsLoss` is.

    Attributes:
      optimum: controls of a known optimum `[N]`, or None.
    """

    optimum: np.ndarray | None = None

    @property
    def camera(self) -> Camera:
        """Of the 2-D error: the window's own, else one from the side."""
        return self.spec.camera or metrics.side_camera(self.spec.q0[:3])

    @property
    def reference(self) -> np.ndarray:
        """Sites that the motion is compared with [F, n_sites, 3], m."""
        if self.spec.reference is None:
            raise ValueError(f"{self.clip} has no 3-D reference")
        return self.spec.reference

    def states(self, x: np.ndarray) -> np.ndarray | None:
        """States q [S + 1, nq] of the motion, None when it overflowed."""
        status, q, _ = self.window.rollout(x)
        return q if status is Status.OK else None

    def sites_of(self, q: np.ndarray) -> np.ndarray:
        """Sites `[F, n_sites, 3]`, m, of states q `[S + 1, nq]` at the frames the loss compares."""
        return np.stack([self.simulator.sites(state) for state in q[self.spec.frame_steps]])

    def metrics(self, x: np.ndarray) -> dict[str, float]:
        """`metrics.COLUMNS` of the motion of x `[N]`; NaN when it overflowed."""
        return self.metrics_of(self.states(x))

    def metrics_of(self, q: np.ndarray | None) -> dict[str, float]:
        """`metrics.COLUMNS` of states q [S + 1, nq], read at the frames the loss compares."""
        if q is None:
            return dict.fromkeys(metrics.COLUMNS, np.nan)
        soles = self._soles(q[self.spec.frame_steps])
        return metrics.every(self.sites_of(q), self.reference, soles, self.camera)

    def reference_metrics(self, clip: Clip | str, start: float) -> dict[str, float]:
        """`metrics.COLUMNS` of the data themselves, lifted as the loss lifts them."""
        motion, model = clip_of(clip), humanoid()
        q = pose_at(motion, start + self.simulator.dt * self.spec.frame_steps, model)
        q[:, 2] += self.spec.q0[2] - pose_at(motion, np.array([start]), model)[0, 2]
        return metrics.every(self.reference, self.reference, self._soles(q), self.camera)

    def _soles(self, frames: np.ndarray) -> Soles:
        spheres, bodies = humanoid().spheres, humanoid().bodies
        centers = np.stack([self.simulator.spheres(q) for q in frames])
        radii = np.array([sphere.radius for sphere in spheres])
        return centers, radii, np.array([bodies[s.body].name.endswith("ankle") for s in spheres])


of_clip = Reconstruction


def synthetic_window(
    seed: int, seconds: float, options: PhysicsOptions, split: str = "train"
) -> Reconstruction:
    """A motion that the simulator made, so that the least loss is known: 0 at `optimum`.

    The seed draws a window of the split (its initial state and first pose are used, the rest of the
    clip is not) and smooth controls x*: normal values of size CONTROL_SIZE at CONTROL_KNOTS a
    second, joined by cubic splines. Their motion is the reference. Only the position term is kept:
    with a regulariser, x* would not be optimal.

    Args:
      seed: decides the window. seconds: its length. options: of the loss. split: of the clip.
    """
    clip, start = random_window(seed, split, seconds)
    off: dict[str, Any] = {f"weight_{term}": 0.0 for term in TERMS if term != "position"}
    task = Reconstruction(clip, start, seconds, replace(options, **off))
    optimum = np.zeros(task.dim)
    optimum[: task.spec.n_controls] = smooth_controls(seed, seconds, task.spec)
    q = task.states(optimum)
    if q is None:
        raise ValueError(f"synthetic window {seed} of {clip} overflows; take another seed")
    spec = replace(task.spec, reference=task.sites_of(q))
    found = Reconstruction.from_spec(spec, task.simulator, f"synthetic-{seed}", task.options)
    found.optimum = optimum
    return found


def smooth_controls(seed: int, seconds: float, spec: WindowSpec) -> np.ndarray:
    """x* float64 [n_controls] of a window: each is the mean of its axis's spline while it acts."""
    from scipy.interpolate import CubicSpline

    steps, axes = spec.control_index.shape
    rng = np.random.Generator(np.random.Philox(key=seed))
    knots = max(2, int(np.ceil(seconds * CONTROL_KNOTS)) + 1)
    values = CONTROL_SIZE * rng.standard_normal((knots, axes))
    smooth = CubicSpline(np.linspace(0.0, 1.0, knots), values)((np.arange(steps) + 0.5) / steps)
    index = spec.control_index.ravel()
    counts = np.bincount(index, minlength=spec.n_controls)
    return np.bincount(index, smooth.ravel(), minlength=spec.n_controls) / np.maximum(counts, 1)
