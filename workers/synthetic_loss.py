"""The served quadratic bowl: a loss of known cost and known trouble, for timings and fault tests.

NumPy only, so a worker starts in a moment and hundreds fit on one machine. It is served through the
same requests and replies as the physics loss.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from optimus.config import ServedTask
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import MAX_REQUEST_BYTES, CodecError, LossReply, LossRequest, decode, encode

_SLOWER = 4.0  # a slow evaluation takes this many times the others' time


def bowl(seed: int, episode: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """(curvatures, minimiser) of an episode, float64 `[N]` each."""
    random = np.random.default_rng([seed, episode])
    return np.exp(random.uniform(-1.5, 1.5, dim)), random.normal(0.0, 1.0, dim)


class BowlWindows:
    """`workers.unroll.WindowSource`: which bowl each episode minimises, from x = 0."""

    def __init__(self, task: ServedTask, seed: int) -> None:
        self._seed, self.dim = seed, task.dim
        self.options_hash = f"bowl-{task.dim}"

    def draw(self, episode: int) -> tuple[dict[str, Any], np.ndarray]:
        """(request window, x0 float32 `[N]`)."""
        return {"seed": self._seed, "episode": episode}, np.zeros(self.dim, np.float32)


class BowlServer:
    """Evaluates one bowl at a time; what Courier exposes is `evaluate` and `ping`.

    Args:
      task: sizes, sleep and troubles. metrics: where counters go, or None.
    """

    def __init__(self, task: ServedTask, metrics: MetricsWriter | None = None) -> None:
        self._task, self._metrics = task, metrics
        self._busy = threading.Lock()
        self._since: float | None = None  # start of the evaluation under way, monotonic s
        self.evaluations, self.seconds = 0, 0.0
        self.statuses: dict[str, int] = {}

    def ping(self) -> str:
        """Answers at once, even during an evaluation."""
        return "ok"

    def evaluate(self, request: bytes) -> bytes:
        """One evaluation. Raises `RuntimeError` for poisoned episodes, on purpose; what else is
        wrong is said in the reply."""
        try:
            if len(request) > MAX_REQUEST_BYTES:
                raise CodecError(f"{len(request)} bytes; the limit is {MAX_REQUEST_BYTES}")
            message = decode(LossRequest, request)
            episode, seed = int(message.window["episode"]), int(message.window["seed"])
        except (CodecError, KeyError, TypeError, ValueError) as error:
            return self._answer(LossReply(-1, "error", message=f"malformed request: {error}"))
        if message.options_hash != f"bowl-{self._task.dim}" or message.x.shape != (self._task.dim,):
            text = f"options {message.options_hash}, x {message.x.shape}; want dim {self._task.dim}"
            return self._answer(LossReply(message.request_id, "error", message=text))
        if not self._busy.acquire(blocking=False):  # a handler never waits
            return self._answer(LossReply(message.request_id, "busy"))
        try:
            self._since = time.monotonic()
            return self._answer(self._evaluate(message, seed, episode))
        finally:
            self._since = None
            self._busy.release()

    def busy_seconds(self) -> float:
        """Seconds spent evaluating, the evaluation under way included."""
        since = self._since
        return self.seconds + (0.0 if since is None else time.monotonic() - since)

    def _evaluate(self, message: LossRequest, seed: int, episode: int) -> LossReply:
        def each(period: int) -> bool:
            return period > 0 and episode % period == period - 1

        task, began = self._task, time.monotonic()
        if each(task.poison):
            raise RuntimeError(f"episode {episode} is poisoned")
        times = _SLOWER if each(task.slow) else 1.0
        if task.stagger and not self.evaluations:
            times += np.random.default_rng([seed, episode, message.request_id]).random()
        time.sleep(task.sleep * times)
        curvature, minimiser = bowl(seed, episode, task.dim)
        gradient = curvature * (message.x - minimiser)
        loss = 0.5 * float(gradient @ (message.x - minimiser))
        spent = time.monotonic() - began
        self.evaluations += 1
        self.seconds += spent
        if each(task.nonfinite) or not np.isfinite(loss):
            return LossReply(message.request_id, "nonfinite", seconds=spent)
        return LossReply(message.request_id, "ok", loss, gradient, spent)

    def _answer(self, reply: LossReply) -> bytes:
        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
        return encode(reply)

    def report(self) -> None:
        """Writes one metrics record."""
        if self._metrics is not None:
            self._metrics.write(
                "alive",
                evaluations=self.evaluations,
                loss_seconds=round(self.seconds, 4),
                statuses=dict(self.statuses),
            )
