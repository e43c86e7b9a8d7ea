"""Windows of motion that the simulator made: the least loss is 0, at known controls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from workers.physics.loss import PhysicsLoss, PhysicsOptions, random_window, window_spec
from workers.physics.loss.reconstruction import Reconstruction
from workers.physics.native.binding import TERMS
from workers.physics.simulation import Status
from workers.physics.simulation.window_spec import WindowSpec

CONTROL_KNOTS = 5.0  # Hz, of the smooth controls
CONTROL_SIZE = 0.15  # their standard deviation at the knots


def synthetic_window(
    seed: int, seconds: float, options: PhysicsOptions, split: str = "train"
) -> Reconstruction:
    """A motion that the simulator made, so that the least loss is known: 0 at `optimum`.

    The seed draws a window of the split (its initial state and first pose are used, the rest of the
    clip is not) and smooth controls x*: normal values of size CONTROL_SIZE at CONTROL_KNOTS a
    second, joined by cubic splines. Their motion is the reference. Only the position term is kept:
    with a regulariser, x* would not be optimal.
    """
    clip, start = random_window(seed, split, seconds)
    off: dict[str, Any] = {f"weight_{term}": 0.0 for term in TERMS if term != "position"}
    options = replace(options, **off)
    loss = PhysicsLoss(clip, start, seconds, options)
    simulator = loss.window.simulator
    spec = window_spec(clip, start, seconds, options, simulator)
    optimum = np.zeros(loss.dim)
    optimum[: spec.n_controls] = smooth_controls(seed, seconds, spec)
    status, q, _ = loss.window.rollout(optimum)
    if status is not Status.OK:
        raise ValueError(f"synthetic window {seed} of {clip} overflows; take another seed")
    spec = replace(spec, reference=np.stack([simulator.sites(q[s]) for s in spec.frame_steps]))
    return Reconstruction(f"synthetic-{seed}", spec, simulator, simulator.window(spec), optimum)


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
