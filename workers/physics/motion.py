"""Motion clips: reading, resampling, initial states, and the fixed split into train and test.

A clip's row is dt, root position, root quaternion (w, x, y, z), then the joints in the model's
order; DeepMimic's world has y up. Ours has z up: (x, y, z) -> (x, -z, y), a quarter turn about x
that multiplies the root quaternion from the left. Body axes stay those of the URDF.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from optimus.errors import require
from workers.physics.formats import FormatError, read_json, want
from workers.physics.model import PhysicsModel
from workers.physics.model.rotations import conjugate, log_map, multiply, slerp

# By clip, siblings together: {dance_a, dance_b}, {getup_*}, {kick, spinkick, punch}, {walk, run}.
SPLITS: dict[str, tuple[str, ...]] = {
    "train": (
        *("backflip", "crawl", "getup_facedown", "getup_faceup", "jump", "kick", "punch", "run"),
        *("spinkick", "walk"),
    ),
    "validation": ("roll", "spin"),
    "test": ("cartwheel", "dance_a", "dance_b"),
}
CLIPS: tuple[str, ...] = tuple(sorted(clip for clips in SPLITS.values() for clip in clips))

QUARTER_TURN = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])


@dataclass(frozen=True)
class Clip:
    """A motion. times [F] s, rising from 0; q [F, nq] states in the model's layout."""

    name: str
    times: np.ndarray
    q: np.ndarray

    @property
    def seconds(self) -> float:
        return float(self.times[-1])


def load_clip(name: str | Clip, folder: Path, model: PhysicsModel) -> Clip:
    """The clip `name` out of `folder`; ValueError naming the clips there are when it is unknown.

    A Clip is returned as it is: users' motions (`workers.physics.formats`) go the same way.
    """
    if isinstance(name, Clip):
        return name
    path = folder / f"humanoid3d_{name}.txt"
    names = sorted(p.stem.removeprefix("humanoid3d_") for p in folder.glob("humanoid3d_*.txt"))
    there = ", ".join(names) or f"none in {folder}"
    require(path.is_file(), f"no clip {name!r}; there are: {there}")
    return read_clip(path, name, model)


@functools.lru_cache(maxsize=64)
def read_clip(path: Path, name: str, model: PhysicsModel) -> Clip:
    """Reads one clip file; ValueError with file and line when it is malformed."""
    document = read_json(path)
    frames = document.get("Frames") if isinstance(document, dict) else None
    want(frames is not None, f'{path}, line 1: no "Frames" list')

    def fail(frame: int, what: str) -> NoReturn:
        line = _frame_line(path.read_text(encoding="utf-8"), frame)
        raise FormatError(f"{path}, line {line}: {what}")

    width = 1 + sum(quat[1] - quat[0] for quat in rotation_spans(model)) + 3
    if not isinstance(frames, list) or len(frames) < 2:
        fail(0, '"Frames" needs two frames or more')
    for i, row in enumerate(frames):
        numbers = isinstance(row, list) and all(isinstance(v, (int, float)) for v in row)
        if not numbers or len(row) != width or not np.isfinite(row).all():
            fail(i, f"frame {i} must hold {width} finite numbers")
    data = np.array(frames, dtype=np.float64)
    for bad in np.flatnonzero(data[:-1, 0] <= 0):
        fail(bad, f"frame {bad} has no duration")
    times = np.concatenate([[0.0], np.cumsum(data[:-1, 0])])
    return Clip(name, times, _to_states(data[:, 1:], model, fail))


def pose_at(clip: Clip, times: np.ndarray, model: PhysicsModel) -> np.ndarray:
    """States q [T, nq] at times [T] s: positions and angles linear, rotations by slerp."""
    times = np.clip(times, 0.0, clip.seconds)
    i = np.clip(np.searchsorted(clip.times, times, side="right") - 1, 0, len(clip.times) - 2)
    u = ((times - clip.times[i]) / (clip.times[i + 1] - clip.times[i]))[:, None]
    a, b = clip.q[i], clip.q[i + 1]
    q = a + u * (b - a)
    for begin, end in rotation_spans(model):
        if end - begin == 4:
            q[:, begin:end] = slerp(a[:, begin:end], b[:, begin:end], u)
    return q


def velocity_at(clip: Clip, time: float, model: PhysicsModel) -> np.ndarray:
    """Velocity qd [nv] at a time, by central differences one frame wide on each side.

    Angular velocities are the logarithm of the turn between the two poses, in body axes. At the
    clip's ends the difference is one-sided.
    """
    h = float(np.median(np.diff(clip.times)))
    span = np.clip(np.array([time - h, time + h]), 0.0, clip.seconds)
    before, after = pose_at(clip, span, model)
    return displacement(before, after, model) / (span[1] - span[0])


def displacement(before: np.ndarray, after: np.ndarray, model: PhysicsModel) -> np.ndarray:
    """What leads from one state [nq] to another [nv]: position, then turns in body axes, rad."""
    parts = [after[:3] - before[:3]]
    for begin, end in rotation_spans(model):
        a, b = before[begin:end], after[begin:end]
        parts.append(log_map(multiply(conjugate(a), b)) if end - begin == 4 else b - a)
    return np.concatenate(parts)


def without_sign_jumps(q: np.ndarray, model: PhysicsModel) -> np.ndarray:
    """States [F, nq] with each quaternion's sign that of the frame before it."""
    q = q.copy()
    for begin, end in rotation_spans(model):
        if end - begin == 4:
            flips = np.sum(q[1:, begin:end] * q[:-1, begin:end], axis=1) < 0
            q[1:, begin:end] *= np.where(np.cumsum(flips) % 2 == 1, -1.0, 1.0)[:, None]
    return q


def check_window(clip: Clip, start: float, seconds: float) -> None:
    """ValueError with one line when [start, start + seconds] does not lie within the clip."""
    some = 0 <= start < np.inf and 0 < seconds < np.inf
    require(some, f"a window needs start >= 0 and seconds > 0, got {start} and {seconds}")
    window, length = f"a window of {seconds:g} s from {start:g} s", f"{clip.seconds:.2f} s"
    fits = start + seconds <= clip.seconds + 1e-9
    require(fits, f"{window} does not fit: clip {clip.name!r} is {length} long")


def rotation_spans(model: PhysicsModel) -> list[tuple[int, int]]:
    """(begin, end) in q of each rotation: the root's and every joint's."""
    spans, at = [], 3
    for body in model.bodies:
        width = 1 if body.joint == "revolute" else 4
        spans.append((at, at + width))
        at += width
    return spans


def _to_states(
    rows: np.ndarray, model: PhysicsModel, fail: Callable[[int, str], NoReturn]
) -> np.ndarray:
    """Rows [F, nq] with y up -> states with z up, unit quaternions without sign jumps."""
    q = rows.copy()
    q[:, 0:3] = rows[:, [0, 2, 1]] * np.array([1.0, -1.0, 1.0])
    for body, (begin, end) in zip(model.bodies, rotation_spans(model)):
        part = q[:, begin:end]
        if end - begin == 1:
            # A few frames bend knees slightly backwards; the joint cannot follow.
            q[:, begin:end] = np.clip(part, body.lower, body.upper)
            continue
        norm = np.linalg.norm(part, axis=1)
        wrong = np.abs(norm - 1) > 0.5  # one of kick's is 0.42 off; beyond is no rotation
        for bad in np.flatnonzero(wrong):
            fail(bad, f"frame {bad}, {body.name}: quaternion of length {norm[bad]:.3f}")
        part = part / norm[:, None]
        q[:, begin:end] = multiply(QUARTER_TURN, part) if body.joint == "free" else part
    return without_sign_jumps(q, model)


def _frame_line(text: str, frame: int) -> int:
    """Line (from 1) at which a frame's row begins."""
    start = text.find("Frames")
    brackets = [m.start() for m in re.finditer(r"\[", text[start:])]
    at = brackets[min(frame + 1, len(brackets) - 1)] if brackets else 0
    return text.count("\n", 0, start + at) + 1
