"""Which motion window each episode reconstructs, and where its optimisation starts."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimus.config import PhysicsTask
from workers.physics.loss import PhysicsLoss, PhysicsOptions, options_hash, random_window


def options_of(task: PhysicsTask) -> PhysicsOptions:
    """Simulator and loss options of a task configuration."""
    return PhysicsOptions(control=task.control, control_rate=task.control_rate, dt=task.dt)


def load_window(task: PhysicsTask, clip: str, start: float, door: str = "direct") -> PhysicsLoss:
    """The loss of one window, through either door."""
    return PhysicsLoss(clip, start, task.seconds, options_of(task), door=door)


class PhysicsWindows:
    """`workers.unroll.WindowSource` over the motion clips of a split.

    Args:
      task: the task configuration.
      seed: the run's seed; with an episode id it decides the window, nothing else does.
    """

    def __init__(self, task: PhysicsTask, seed: int) -> None:
        self._task, self._seed = task, seed
        self.options_hash = options_hash(options_of(task))
        clip, start = self._choose(0)
        self.dim = load_window(task, clip, start).dim

    def _choose(self, episode: int) -> tuple[str, float]:
        seed = np.random.SeedSequence([self._seed, episode]).generate_state(1, np.uint64)[0]
        return random_window(int(seed), self._task.split, self._task.seconds)

    def draw(self, episode: int) -> tuple[dict[str, Any], np.ndarray]:
        """(request window, x0 float32 `[N]`): every start is x = 0, holding the first pose."""
        clip, start = self._choose(episode)
        window = {"clip": clip, "start": start, "seconds": self._task.seconds}
        return window, np.zeros(self.dim, np.float32)
