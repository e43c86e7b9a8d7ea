"""The schedule of controls: how many, when, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from workers.physics.loss.spec import control_index, frame_steps, whole_steps


@pytest.mark.parametrize(("seconds", "rate"), [(0.25, 30), (0.5, 30), (1.0, 30), (0.3, 25), (2, 7)])
def test_schedule(seconds, rate):
    steps, n = whole_steps(seconds, 1 / 120), round(28 * rate * seconds)
    index = control_index(steps, n, 28)
    assert index.shape == (steps, 28) and index.dtype == np.int32
    assert sorted(set(index.ravel())) == list(range(n))
    r = rate * seconds
    first = {}
    for axis in range(28):
        column = index[:, axis]
        kept, at, lengths = np.unique(column, return_index=True, return_counts=True)
        assert len(kept) == int((axis + 1) * r + 1e-9) - int(axis * r + 1e-9)
        assert (np.diff(column) >= 0).all() and np.ptp(lengths) <= 1
        first.update({int(k): (int(a), axis) for k, a in zip(kept, at)})
    assert [first[k] for k in range(n)] == sorted(first.values())


def test_frames_end_with_the_window():
    assert frame_steps(30, 0.25, 30.0).tolist() == [4, 8, 11, 15, 19, 22, 26, 30]
    assert frame_steps(120, 1.0, 30.0).tolist() == list(range(4, 121, 4))
    assert frame_steps(3, 0.025, 1000.0).tolist() == [1, 2, 3]
