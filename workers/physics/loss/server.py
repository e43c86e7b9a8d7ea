"""The physics worker: loss requests in, replies out, bytes on both sides."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

import numpy as np

from optimus.config import PhysicsTask
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import MAX_REQUEST_BYTES, CodecError, LossReply, LossRequest, decode, encode
from workers.physics.loss import PhysicsLoss, options_hash
from workers.physics.loss.windows import load_window, options_of

_WINDOWS = 256  # loaded windows kept; one is a few kilobytes


class PhysicsLossServer:
    """Evaluates one loss at a time; what Courier exposes is `evaluate` and `ping`.

    Args:
      task: the run's physics task; requests made under other options are refused.
      door: "direct", or "tensorflow" for the custom op (bit-equal).
      metrics: where counters go, or None.
    """

    def __init__(
        self, task: PhysicsTask, door: str = "direct", metrics: MetricsWriter | None = None
    ) -> None:
        self._task, self._door, self._metrics = task, door, metrics
        self._options_hash = options_hash(options_of(task))
        self._windows: OrderedDict[tuple[str, float], PhysicsLoss] = OrderedDict()
        self._busy = threading.Lock()
        self._evaluations = 0
        self._seconds = 0.0
        self._statuses: dict[str, int] = {}
        self._reported = 0.0

    def ping(self) -> str:
        """Answers at once, even during an evaluation."""
        return "ok"

    def evaluate(self, request: bytes) -> bytes:
        """One evaluation. Never raises: what is wrong is said in the reply's status and message."""
        received = time.monotonic()
        try:
            if len(request) > MAX_REQUEST_BYTES:
                raise CodecError(f"{len(request)} bytes; the limit is {MAX_REQUEST_BYTES}")
            message = decode(LossRequest, request)
        except CodecError as error:
            return self._answer(LossReply(-1, "error", message=f"malformed request: {error}"))
        if not self._busy.acquire(blocking=False):  # a handler never waits
            return self._answer(LossReply(message.request_id, "busy"))
        try:
            return self._answer(self._evaluate(message, received))
        finally:
            self._busy.release()

    def _answer(self, reply: LossReply) -> bytes:
        self._statuses[reply.status] = self._statuses.get(reply.status, 0) + 1
        if time.monotonic() - self._reported > 2.0:
            self.report()
        return encode(reply)

    def _evaluate(self, message: LossRequest, received: float) -> LossReply:
        def refuse(status: str, text: str) -> LossReply:
            return LossReply(message.request_id, status, message=text)

        if message.options_hash != self._options_hash:
            return refuse(
                "error",
                f"options {message.options_hash}, this worker's are {self._options_hash}; start "
                "both from the same config",
            )
        try:
            loss = self._window(message)
            if time.monotonic() - received > message.budget:
                return refuse("expired", f"budget of {message.budget:.1f} s spent before the start")
            began = time.monotonic()
            value, gradient = loss.value_and_grad(message.x)
        except (ValueError, KeyError, OSError) as error:
            return refuse("error", str(error))
        seconds = time.monotonic() - began
        self._evaluations += 1
        self._seconds += seconds
        good = bool(np.isfinite(value) and np.isfinite(gradient).all())
        if not good:
            return LossReply(message.request_id, "nonfinite", seconds=seconds)
        return LossReply(message.request_id, "ok", float(value), gradient, seconds)

    def _window(self, message: LossRequest) -> PhysicsLoss:
        window = message.window
        if set(window) != {"clip", "start", "seconds"}:
            raise ValueError(f"window {window}: want clip, start, seconds")
        if window["seconds"] != self._task.seconds:
            raise ValueError(
                f"window of {window['seconds']} s; this worker's are {self._task.seconds} s"
            )
        key = (str(window["clip"]), float(window["start"]))
        if key not in self._windows:
            self._windows[key] = load_window(self._task, *key, door=self._door)
        self._windows.move_to_end(key)
        while len(self._windows) > _WINDOWS:
            self._windows.popitem(last=False)
        return self._windows[key]

    def report(self) -> None:
        """Writes one metrics record."""
        self._reported = time.monotonic()
        if self._metrics is not None:
            self._metrics.write(
                "alive",
                evaluations=self._evaluations,
                loss_seconds=round(self._seconds, 4),
                statuses=dict(self._statuses),
            )
