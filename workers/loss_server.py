"""A loss worker: reads each request, refuses or evaluates it, counts and answers."""

import abc
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from optimus.rundir.metrics import MetricsWriter
from optimus.wire import MAX_REQUEST_BYTES, CodecError, LossReply, LossRequest, encode, received

_REPORT_EVERY = 2.0  # s
ValueAndGrad = Callable[[np.ndarray], tuple[float, np.ndarray]]  # of x [N]: loss, gradient [N]


class Expired(Exception):
    """A request whose time budget was spent before its evaluation began."""


class LossServer(abc.ABC):
    """Evaluates one loss at a time; what Courier exposes is `evaluate` and `ping`.

    Attributes:
      evaluations: made so far. seconds: spent in them. statuses: answers by their status.

    Args:
      loss: name of the loss served.
      options_hash: of its options; requests made under other options are refused.
      metrics: where counters go, or None.
    """

    def __init__(self, loss: str, options_hash: str, metrics: MetricsWriter | None) -> None:
        self._loss = loss
        self._options_hash = options_hash
        self._metrics = metrics
        self._busy = threading.Lock()
        self._since: float | None = None  # start of the evaluation under way, monotonic s
        self._reported = 0.0
        self.evaluations = 0
        self.seconds = 0.0
        self.statuses: dict[str, int] = {}

    def ping(self, *_: Any, **__: Any) -> str:
        """Answers at once, even during an evaluation."""
        return "ok"

    def evaluate(self, *arguments: Any, **named: Any) -> bytes:
        """One evaluation of an encoded `LossRequest`; what is wrong, with the request or with the
        evaluation, is said in the reply's status and message. Any run's may come: a loss follows
        from its request alone."""
        began = time.monotonic()
        try:
            message = received(LossRequest, arguments, named, MAX_REQUEST_BYTES)
            if message.x.dtype != np.float64 or message.x.ndim != 1:
                raise CodecError(f"x {message.x.dtype}{message.x.shape}, want float64[N]")
        except CodecError as error:
            return self._answer(LossReply(-1, "error", message=f"malformed request: {error}"))
        if not self._busy.acquire(blocking=False):  # a handler never waits
            return self._answer(LossReply(message.request_id, "busy"))
        try:
            self._since = time.monotonic()
            return self._answer(self._evaluated(message, began))
        finally:
            self._since = None
            self._busy.release()

    def _evaluated(self, message: LossRequest, received: float) -> LossReply:
        """The reply to a request for this loss; one for another loss is refused."""
        try:
            if (message.loss, message.options_hash) != (self._loss, self._options_hash):
                asked = f"loss {message.loss}, options {message.options_hash}"
                own = f"this worker's are {self._loss}, {self._options_hash}"
                raise ValueError(f"{asked}; {own}; start both from the same config")
            loss = self._loss_of(message, received)
            began = time.monotonic()
            value, gradient = loss(message.x)
            seconds = time.monotonic() - began
        except Expired as error:
            return LossReply(message.request_id, "expired", message=str(error))
        except Exception as error:  # of a loss that fails for whatever reason of its own
            plain = isinstance(error, ValueError | KeyError | OSError)
            text = str(error) if plain else f"{type(error).__name__}: {error}"
            return LossReply(message.request_id, "error", message=text)
        self.evaluations += 1
        self.seconds += seconds
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return LossReply(message.request_id, "nonfinite", seconds=seconds)
        return LossReply(message.request_id, "ok", float(value), gradient, seconds)

    @abc.abstractmethod
    def _loss_of(self, message: LossRequest, received: float) -> ValueAndGrad:
        """What a request of this loss, which arrived at `received` (monotonic s), asks to be
        evaluated at its x.

        `Expired` becomes a reply with status "expired", any other error, here or there, "error".
        """

    def _answer(self, reply: LossReply) -> bytes:
        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
        if time.monotonic() - self._reported > _REPORT_EVERY:
            self.report()
        return encode(reply)

    def busy_seconds(self) -> float:
        """Seconds spent evaluating, the evaluation under way included."""
        since = self._since
        return self.seconds + (0.0 if since is None else time.monotonic() - since)

    def report(self) -> None:
        """Writes one metrics record."""
        self._reported = time.monotonic()
        if self._metrics is not None:
            self._metrics.write(
                "alive",
                evaluations=self.evaluations,
                loss_seconds=round(self.seconds, 4),
                statuses=dict(self.statuses),
            )
