"""The physics worker: loss requests in, replies out, bytes on both sides."""

import functools
import time

from optimus.config import PhysicsTask
from optimus.errors import require
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import LossRequest, decode
from workers.loss_server import Expired, LossServer, ValueAndGrad
from workers.physics.loss import Backend, options_hash
from workers.physics.loss.windows import LOSS, MotionWindow, load_window, options_of

_WINDOWS = 256  # loaded windows kept; one is some tens of kilobytes


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

    def _loss_of(self, message: LossRequest, received: float) -> ValueAndGrad:
        window, own = decode(MotionWindow, message.window), self._task.seconds
        require(window.seconds == own, f"window of {window.seconds} s; this worker's are {own} s")
        loss = self._load(window)
        if time.monotonic() - received > message.budget:
            raise Expired(f"budget of {message.budget:.1f} s spent before the start")
        return loss.value_and_grad
