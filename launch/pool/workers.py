"""`LossPool` over workers that come and go: one thread, a queue of events, asynchronous calls."""

import contextlib
import functools
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np

from launch.pool.dispatch import Dispatcher, Outcome, Rules, Task, Worker
from optimus.rundir.histogram import Histogram
from optimus.wire import CodecError, LossReply, LossRequest, LossUnavailable, decode, encode

Done = Callable[[Outcome, Any], None]  # (outcome, reply bytes or the cause)


class Link(Protocol):
    """A connection to one worker."""

    def start(self, request: bytes, done: Done) -> None:
        """Starts one evaluation; `done` is called exactly once, on any thread."""


class WorkerPool:
    """See `optimus.wire.LossPool`.

    Args:
      connect: address -> link. A link is dropped after a broken call and made anew for the next,
        and never while a call is in flight.
      rules: limits of the dispatcher.
      workers: addresses known from the start.
      latency: takes the duration (s) of every call, however it ended, or None.
    """

    def __init__(
        self,
        connect: Callable[[str], Link],
        rules: Rules | None = None,
        workers: Iterable[str] = (),
        latency: Histogram | None = None,
    ) -> None:
        self._connect, self._latency = connect, latency
        self._dispatcher = Dispatcher(rules or Rules(), time.monotonic())
        self._dispatcher.set_workers(workers, time.monotonic())
        self._links: dict[str, Link] = {}
        self._in_flight: dict[int, Link] = {}  # id of the worker object -> link
        self._pending: set[Task] = set()
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closed = False  # for callers
        self._over = False  # for the thread
        self._thread = threading.Thread(target=self._run, name="pool", daemon=True)
        self._thread.start()

    def submit(self, request: LossRequest) -> Future[LossReply]:
        """See `LossPool.submit`."""
        future: Future[LossReply] = Future()
        if self._closed:
            future.set_exception(LossUnavailable("the pool is closed"))
        else:
            self._events.put(functools.partial(self._take_in, Task(request, future)))
        return future

    def set_workers(self, addresses: Iterable[str]) -> None:
        """Replaces the list of workers."""
        self._events.put(functools.partial(self._change_workers, list(addresses)))

    def counts(self) -> dict[str, int]:
        """What has happened so far, by name; "workers", "quarantined" and "open" are of now."""
        dispatcher, now = self._dispatcher, time.monotonic()
        known = list(dispatcher.workers.values())
        quarantined = sum(worker.ready_at > now for worker in known)
        gauges = {"workers": len(known), "quarantined": quarantined, "open": dispatcher.open}
        return dict(dispatcher.counts) | gauges

    def close(self) -> None:
        """Ends pending requests with `LossUnavailable`. Calls in flight are left to the process's
        end: a client that is dropped during a call can abort it."""
        self._closed = True
        self._events.put(self._end_all)
        self._thread.join(timeout=2.0)
        _KEPT.extend(self._in_flight.values())

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        dispatcher = self._dispatcher
        while not self._over:
            for worker, task in dispatcher.starts(time.monotonic()):
                self._start(worker, task)
            with contextlib.suppress(queue.Empty):
                self._events.get(timeout=dispatcher.wake_after(time.monotonic()))()
                while not self._over:  # all that has come by now
                    self._events.get_nowait()()
            dispatcher.starved(time.monotonic())

    def _take_in(self, task: Task) -> None:
        self._pending.add(task)
        self._dispatcher.submit(task, time.monotonic())
        task.future.add_done_callback(lambda _: self._pending.discard(task))

    def _change_workers(self, addresses: list[str]) -> None:
        self._dispatcher.set_workers(addresses, time.monotonic())
        for address in set(self._links) - set(addresses):
            del self._links[address]

    def _end_all(self) -> None:
        self._over = True
        for task in list(self._pending):
            task.future.set_exception(LossUnavailable("the pool was closed"))

    def _start(self, worker: Worker, task: Task) -> None:
        began = time.monotonic()

        def done(outcome: Outcome, value: Any) -> None:
            if self._latency is not None:
                self._latency.observe(time.monotonic() - began)
            self._events.put(functools.partial(self._ended, worker, outcome, value))

        try:
            if worker.address not in self._links:
                self._links[worker.address] = self._connect(worker.address)
            link = self._in_flight[id(worker)] = self._links[worker.address]
            link.start(encode(task.request), done)
        except Exception as error:  # whatever one worker's connection raises is that worker's
            done("unreachable", f"{worker.address}: {type(error).__name__}: {error}")

    def _ended(self, worker: Worker, outcome: Outcome, value: Any) -> None:
        self._in_flight.pop(id(worker), None)
        if outcome in ("unreachable", "lost"):
            # A channel that has failed waits up to two minutes before it connects again.
            self._links.pop(worker.address, None)
        reply, cause, task = None, str(value), worker.task
        assert task is not None
        if outcome == "ok":
            outcome, reply, cause = read_reply(task.request, value)
            cause = f"{worker.address}: {cause}"
        self._dispatcher.ended(worker, outcome, reply, cause, time.monotonic())


_KEPT: list[Link] = []  # see `WorkerPool.close`


def read_reply(request: LossRequest, data: bytes) -> tuple[Outcome, LossReply | None, str]:
    """(outcome, reply or None, cause) of a worker's answer; what is malformed is an error."""
    try:
        reply = decode(LossReply, data)
    except CodecError as error:
        return "error", None, f"malformed reply: {error}"
    if reply.status == "busy" or reply.status == "expired":
        return reply.status, None, reply.message
    if reply.request_id != request.request_id:
        return "error", None, f"reply to request {reply.request_id}, asked {request.request_id}"
    if not 0 <= reply.seconds < math.inf:
        return "error", None, f"malformed reply: took {reply.seconds} s"
    if reply.status == "ok":
        gradient, shape = reply.gradient, request.x.shape
        if gradient.dtype != np.float64 or gradient.shape != shape:
            got = f"{gradient.dtype} gradient of shape {gradient.shape}"
            return "error", None, f"malformed reply: {got}, want float64, {shape}"
        if not (math.isfinite(reply.loss) and np.isfinite(gradient).all()):
            return "error", None, "malformed reply: not finite, but said to be"
    if reply.status in ("ok", "nonfinite"):
        return "ok", reply, ""
    return "error", None, f"{reply.status}: {reply.message}"
