"""Which number of x is which axis at what time, where x holds the courses of several axes.

The controls of a motion are not a set: number 3 is always the same joint axis at the same moment,
and how steep the loss is along it, and with which others it goes together, is much the same in
every window. An optimizer that knows the axes can learn that once and for all.
"""

from __future__ import annotations

import functools

import numpy as np


@functools.lru_cache(maxsize=64)
def axes_and_times(size: int, axes: int) -> tuple[np.ndarray, np.ndarray]:
    """The axis of each of N numbers, int32 [N], and when it begins to act, float32 [N].

    N numbers are dealt out to A axes evenly: axis i gets K_i = floor((i + 1) r) - floor(i r) of
    them, r = N / A, and its number j acts from j / K_i of the window on. They are in the order of
    those times, then of the axes (as `workers.physics.loss.spec`). Times are in units of
    the window divided by r, in which one number acts, so that they go from 0 to r.
    """
    counts = np.diff(np.arange(axes + 1) * size // axes)
    dealt = sorted((j / counts[i], i) for i in range(axes) for j in range(counts[i]))
    times = np.asarray([time for time, _ in dealt], np.float32) * np.float32(size / axes)
    return np.asarray([axis for _, axis in dealt], np.int32), times
