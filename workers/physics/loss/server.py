"""The physics worker: loss requests in, replies out, bytes on both sides."""

import functools
import time

from optimus.config import PhysicsTask
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import LossReply, LossRequest, decode
from workers.loss_server import LossServer
from workers.physics.loss import Backend, PhysicsLoss, options_hash
from workers.physics.loss.windows import LOSS, MotionWindow, load_window, options_of

_WINDOWS = 256  # loaded windows kept; one is a few kilobytes


class PhysicsLossServer(LossServer):
    """Evaluates windows of motion clips.

    Args:
      task: the run's physics task; requests made under other options are refused.
      backend: "direct", or "tensorflow" for the custom op (bit-equal).
      metrics: where counters go, or None.
    """

    def __init__(
        self, task: PhysicsTask, backend: Backend = "direct", metrics: MetricsWriter | None = None
    ) -> None:
        super().__init__(LOSS, options_hash(options_of(task)), metrics)
        self._task = task
        load = functools.partial(load_window, task, backend=backend)
        self._load = functools.lru_cache(maxsize=_WINDOWS)(load)

    def _evaluate(self, message: LossRequest, received: float) -> LossReply:
        loss = self._loss_of(decode(MotionWindow, message.window))
        if time.monotonic() - received > message.budget:
            text = f"budget of {message.budget:.1f} s spent before the start"
            return LossReply(message.request_id, "expired", message=text)
        began = time.monotonic()
        value, gradient = loss.value_and_grad(message.x)
        return self._evaluated(message, value, gradient, time.monotonic() - began)

    def _loss_of(self, window: MotionWindow) -> PhysicsLoss:
        own = self._task.seconds
        if window.seconds != own:
            raise ValueError(f"window of {window.seconds} s; this worker's are {own} s")
        return self._load(window)
