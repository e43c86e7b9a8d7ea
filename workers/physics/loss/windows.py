"""Windows of motion: drawn for training, fixed for validation and test; and the rules for x0."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimus.config import PhysicsTask
from optimus.errors import require, require_known
from workers.physics.loss import Backend, PhysicsLoss, PhysicsOptions, normal, options_hash
from workers.physics.loss.spec import clip_of
from workers.physics.motion import SPLITS, Clip

LOSS = "physics"  # what a loss request calls it
GRID_RATE = 30.0  # Hz, on which windows start


@dataclass(frozen=True)
class MotionWindow:
    """Part of a clip: start and seconds in s. A loss request carries it."""

    clip: str
    start: float
    seconds: float


def random_window(seed: int, split: str, seconds: float) -> tuple[str, float]:
    """(clip, start in s) drawn by the seed alone: a clip of the split, then a start on the grid.

    Clips shorter than `seconds` are left out. ValueError when none is long enough.
    """
    fitting = _fitting(split, seconds)
    rng = np.random.Generator(np.random.Philox(key=seed))
    clip = fitting[int(rng.integers(len(fitting)))]
    return clip.name, int(rng.integers(_places(clip, seconds))) / GRID_RATE


def fixed_windows(split: str, seconds: float, count: int) -> tuple[MotionWindow, ...]:
    """The first `count` windows of a split's list, which nothing random decides.

    Clips take turns in alphabetical order; a clip's k-th start is the k-th term of van der Corput's
    sequence in base 2 of the places a window fits, on a grid of 1/30 s, so that any number of them
    covers the clip. ValueError when no clip is long enough.
    """
    require(count >= 1, f"need at least one window, got {count}")
    fitting = _fitting(split, seconds)
    windows = []
    for i in range(count):
        clip = fitting[i % len(fitting)]
        at = int(_van_der_corput(i // len(fitting)) * _places(clip, seconds))
        windows.append(MotionWindow(clip.name, at / GRID_RATE, seconds))
    return tuple(windows)


def _fitting(split: str, seconds: float) -> list[Clip]:
    """Clips of a split that hold `seconds`, in alphabetical order; ValueError without any."""
    require_known(split, tuple(SPLITS), "split")
    clips = [clip_of(name) for name in sorted(SPLITS[split])]
    fitting = [clip for clip in clips if clip.seconds + 1e-9 >= seconds]
    longest = f"the longest is {max(clip.seconds for clip in clips):.2f} s"
    text = f"no clip of split {split!r} holds {seconds:g} s; {longest}"
    require(bool(fitting) and seconds > 0, text)
    return fitting


def _places(clip: Clip, seconds: float) -> int:
    """Starts on the grid at which a window fits."""
    return int(np.floor((clip.seconds - seconds) * GRID_RATE + 1e-6)) + 1


def _van_der_corput(k: int) -> float:
    value, share = 0.0, 0.5
    while k:
        value, k, share = value + share * (k & 1), k >> 1, share / 2
    return value


# x0 float64 [N] of (N, seed); a rule sees nothing of the motion that is to be found.
StartRule = Callable[[int, int], np.ndarray]
START_RULES: dict[str, StartRule] = {
    "zero": lambda dim, seed: np.zeros(dim),
    "noise": lambda dim, seed: 0.1 * normal(seed, dim),
}


def options_of(task: PhysicsTask) -> PhysicsOptions:
    """Simulator and loss options of a task configuration."""
    return PhysicsOptions(control=task.control, control_rate=task.control_rate, dt=task.dt)


def load_window(task: PhysicsTask, at: MotionWindow, backend: Backend = "direct") -> PhysicsLoss:
    """The loss of one window under a task's options."""
    return PhysicsLoss(at.clip, at.start, at.seconds, options_of(task), backend)


class PhysicsWindows:
    """`workers.unroll.WindowSource` over the motion clips of a split.

    Args:
      task: the task configuration.
      seed: the run's seed; with an episode id it decides the window, nothing else does.
    """

    loss = LOSS

    def __init__(self, task: PhysicsTask, seed: int) -> None:
        self._task = task
        self._seed = seed
        self.options_hash = options_hash(options_of(task))
        self.dim = load_window(task, self._choose(0)).dim

    def _choose(self, episode: int) -> MotionWindow:
        seed = np.random.SeedSequence([self._seed, episode]).generate_state(1, np.uint64)[0]
        clip, start = random_window(int(seed), self._task.split, self._task.seconds)
        return MotionWindow(clip, start, self._task.seconds)

    def draw(self, episode: int) -> tuple[MotionWindow, np.ndarray]:
        """(window, x0 float32 `[N]`): every start is x = 0, holding the first pose."""
        return self._choose(episode), np.zeros(self.dim, np.float32)
