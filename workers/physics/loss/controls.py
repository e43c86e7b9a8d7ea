"""Which number of x acts where and when."""

from __future__ import annotations

import functools

import numpy as np


def whole_steps(seconds: float, dt: float) -> int:
    """Number of simulation steps in a window; ValueError when it is not whole."""
    steps = round(seconds / dt)
    if steps < 1 or abs(steps * dt - seconds) > 1e-9:
        raise ValueError(f"seconds={seconds:g} is not a whole number of steps dt={dt:g}")
    return steps


@functools.lru_cache(maxsize=64)
def control_index(n_steps: int, n_controls: int, n_actuated: int) -> np.ndarray:
    """Index into x for every step and actuated axis: int32 [n_steps, n_actuated].

    The controls are dealt out evenly: axis i gets K_i = floor((i + 1) r) - floor(i r) of them,
    r = n_controls / n_actuated, and its control j acts on the steps s with floor(s K_i / S) = j.
    x is ordered by the time of first effect, then by axis. The array is shared and read-only.
    """
    counts = np.diff(np.arange(n_actuated + 1) * n_controls // n_actuated)
    if counts.min() < 1:
        raise ValueError(
            f"{n_controls} controls are too few for {n_actuated} joint axes: lengthen the window "
            "or raise control_rate"
        )
    if counts.max() > n_steps:
        raise ValueError(
            f"{counts.max()} controls of an axis do not fit into {n_steps} steps: lower "
            "control_rate or dt"
        )
    period = np.arange(n_steps)[:, None] * counts[None, :] // n_steps
    first_step = [
        (-(-j * n_steps // counts[i]), i, j) for i in range(n_actuated) for j in range(counts[i])
    ]
    position = {(i, j): at for at, (_, i, j) in enumerate(sorted(first_step))}
    index = [[position[i, period[s, i]] for i in range(n_actuated)] for s in range(n_steps)]
    table = np.array(index, dtype=np.int32)
    table.flags.writeable = False
    return table


def frame_steps(n_steps: int, seconds: float, frame_rate: float) -> np.ndarray:
    """After how many steps frames are compared: evenly spread, the last at the end, int32 [F]."""
    n_frames = min(int(np.ceil(seconds * frame_rate - 1e-9)), n_steps)
    return np.array([round((k + 1) * n_steps / n_frames) for k in range(n_frames)], dtype=np.int32)
