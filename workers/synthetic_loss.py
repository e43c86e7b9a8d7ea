"""The synthetic quadratic: a served loss with set delays and failures, for timings and tests.

NumPy only, so a worker starts in a moment and hundreds fit on one machine. It is served through the
same requests and replies as the physics loss.
"""

import time
from dataclasses import dataclass

import numpy as np

from optimus.config import ServedTask
from optimus.errors import require
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import LossRequest, decode
from workers.loss_server import LossServer, ValueAndGrad

LOSS = "synthetic"
_SLOWER = 4.0  # a slow evaluation takes this many times the others' time


def options_hash(task: ServedTask) -> str:
    """What stands for the options that decide the loss: N alone."""
    return f"synthetic-{task.dim}"


def quadratic(seed: int, episode: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """(curvatures, minimiser) of an episode, float64 `[N]` each."""
    random = np.random.default_rng([seed, episode])
    return np.exp(random.uniform(-1.5, 1.5, dim)), random.normal(0.0, 1.0, dim)


@dataclass(frozen=True)
class SyntheticWindow:
    """What a request says besides its episode: the seed of the run."""

    seed: int


class SyntheticWindows:
    """`workers.unroll.WindowSource`: which quadratic each episode minimises, from x = 0."""

    loss = LOSS

    def __init__(self, task: ServedTask, seed: int) -> None:
        self._seed = seed
        self.dim = task.dim
        self.options_hash = options_hash(task)

    def draw(self, episode: int) -> tuple[SyntheticWindow, np.ndarray]:
        """(window, x0 float32 `[N]`)."""
        return SyntheticWindow(self._seed), np.zeros(self.dim, np.float32)


class SyntheticLossServer(LossServer):
    """Sleeps, then evaluates 1/2 (x - c)^T diag(h) (x - c); poisoned episodes fail on purpose.

    Args:
      task: sizes, sleep and troubles. metrics: where counters go, or None.
    """

    def __init__(self, task: ServedTask, metrics: MetricsWriter | None = None) -> None:
        super().__init__(LOSS, options_hash(task), metrics)
        self._task = task

    def _loss_of(self, message: LossRequest, received: float) -> ValueAndGrad:
        task, episode = self._task, message.episode

        def each(period: int) -> bool:
            return period > 0 and episode % period == period - 1

        shape = message.x.shape
        require(shape == (task.dim,), f"x of shape {shape}; want ({task.dim},)")
        seed = decode(SyntheticWindow, message.window).seed

        def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
            if each(task.poison):
                raise RuntimeError(f"episode {episode} is poisoned")
            times = _SLOWER if each(task.slow) else 1.0
            if task.stagger and not self.evaluations:
                times += np.random.default_rng([seed, episode, message.request_id]).random()
            time.sleep(task.sleep * times)
            curvature, minimiser = quadratic(seed, episode, task.dim)
            gradient = curvature * (x - minimiser)
            value = 0.5 * float(gradient @ (x - minimiser))
            return float("nan") if each(task.nonfinite) else value, gradient

        return loss
