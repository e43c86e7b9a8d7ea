"""The windows that are always the same, for validation and test, and the rules for x0.

Training draws its windows by `loss.random_window`; these come from a fixed list with a hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workers.physics.assets import ensure_assets
from workers.physics.loss import humanoid
from workers.physics.motion import SPLITS, load_clip

GRID_RATE = 30.0  # Hz, on which windows start, as in `random_window`


@dataclass(frozen=True)
class MotionWindow:
    """Part of a clip: start and seconds in s."""

    clip: str
    start: float
    seconds: float


def fixed_windows(split: str, seconds: float, count: int) -> tuple[MotionWindow, ...]:
    """The first `count` windows of a split's list, which nothing random decides.

    Clips take turns in alphabetical order; a clip's k-th start is the k-th term of van der Corput's
    sequence in base 2 of the places a window fits, on a grid of 1/30 s, so that any number of them
    covers the clip. ValueError when no clip is long enough.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; there are: {', '.join(SPLITS)}")
    if count < 1 or not seconds > 0:
        raise ValueError(f"need at least one window of some length, got {count} of {seconds:g} s")
    folder, model = ensure_assets(), humanoid()
    clips = [load_clip(name, folder, model) for name in sorted(SPLITS[split])]
    fitting = [clip for clip in clips if clip.seconds + 1e-9 >= seconds]
    if not fitting:
        longest = max(clip.seconds for clip in clips)
        raise ValueError(
            f"no clip of split {split!r} holds {seconds:g} s; the longest is {longest:.2f} s"
        )
    windows = []
    for i in range(count):
        clip = fitting[i % len(fitting)]
        places = int(np.floor((clip.seconds - seconds) * GRID_RATE + 1e-6)) + 1
        at = int(_van_der_corput(i // len(fitting)) * places)
        windows.append(MotionWindow(clip.name, at / GRID_RATE, seconds))
    return tuple(windows)


def windows_hash(windows: tuple[MotionWindow, ...]) -> str:
    """16 hexadecimal digits that stand for a list of windows."""
    rows = [[w.clip, round(w.start * GRID_RATE), w.seconds] for w in windows]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def _van_der_corput(k: int) -> float:
    value, share = 0.0, 0.5
    while k:
        value, k, share = value + share * (k & 1), k >> 1, share / 2
    return value


def zero_start(dim: int, seed: int) -> np.ndarray:
    """x0 = 0: sees N alone."""
    return np.zeros(dim)


def noise_start(dim: int, seed: int) -> np.ndarray:
    """x0 = 0.1 times normal noise: sees N and the seed."""
    return 0.1 * np.random.Generator(np.random.Philox(key=seed)).standard_normal(dim)


# x0 float64 [N] of (N, seed); a rule sees nothing of the motion that is to be found.
START_RULES: dict[str, Callable[[int, int], np.ndarray]] = {
    "zero": zero_start,
    "noise": noise_start,
}
