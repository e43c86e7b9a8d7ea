"""Courier behind the Protocols of `optimus.wire`: bytes only, and every call has a deadline.

Measured behaviour that shapes this file (distributed fact sheet, sections 2 and 3): a call whose
argument holds an array never returns; a call without a time-out to a dead server waits for ever;
cancelling a future can abort the process; a signal is handled only between bytecodes, so waits go
through futures.
"""

from __future__ import annotations

import ctypes
import os
import queue
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from optimus.wire import LossReply, LossRequest, LossUnavailable, Stopped, Version, decode, encode

CALL_TIMEOUT = 10.0  # s, for the small calls to the head
_PLAIN = (bytes, bytearray, str, int, float, bool, type(None))


def preload_libpython() -> None:
    """Loads libpython, which Courier's extension needs; `RuntimeError` when it is missing."""
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    path = os.path.join(str(folder), str(name))
    if not str(name).endswith((".so", ".so.1.0")) or not os.path.exists(path):
        raise RuntimeError(
            f"Courier needs the shared library of this Python, and {path} is not one; use a "
            "CPython 3.10 built with --enable-shared"
        )
    ctypes.CDLL(path)


preload_libpython()

import courier  # noqa: E402
from courier.python.client import StatusNotOk  # noqa: E402


class CallError(RuntimeError):
    """A remote call that failed or timed out; the message names the call and the cause."""


def _refuse_arrays(method: str, arguments: tuple[Any, ...]) -> None:
    for argument in arguments:
        if isinstance(argument, (list, tuple)):
            _refuse_arrays(method, tuple(argument))
        elif type(argument) not in _PLAIN:
            raise TypeError(
                f"{method}: argument of type {type(argument).__name__}; Courier would hang on an "
                "array, so only bytes, str, int, float, bool and None may cross: use "
                "optimus.wire.pack"
            )


class Caller:
    """Calls methods of one Courier server.

    Args:
      address: host:port.
      timeout: seconds for every call.
      wait_for_ready: queue calls until the server is up (head) or fail at once (workers).
      stop: ends waiting early when set.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        wait_for_ready: bool = True,
        stop: threading.Event | None = None,
    ) -> None:
        self.address, self._timeout, self._stop = address, timeout, stop
        self._client = courier.Client(
            address, call_timeout=timeout, wait_for_ready=wait_for_ready
        )

    def start(self, method: str, *arguments: Any) -> Future[Any]:
        """Starts a call; never cancel the future."""
        _refuse_arrays(method, arguments)
        future: Future[Any] = getattr(self._client.futures, method)(*arguments)
        return future

    def __call__(self, method: str, *arguments: Any) -> Any:
        """Calls and waits; raises `CallError`, or `Stopped` when the stop event is set first."""
        deadline = time.monotonic() + self._timeout + 5.0
        future = self.start(method, *arguments)
        while True:
            try:
                return future.result(timeout=0.2)
            except StatusNotOk as error:
                raise CallError(f"{method} at {self.address}: {error}") from None
            except FutureTimeout:  # the builtin TimeoutError from CPython 3.11 on
                if self._stop is not None and self._stop.is_set():
                    raise Stopped from None
                if time.monotonic() > deadline:
                    raise CallError(
                        f"{method} at {self.address}: no answer within {self._timeout} s"
                    ) from None


class RemoteLearner:
    """`ParameterSource` over Courier."""

    def __init__(self, address: str, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        # Not `wait_for_ready`: a call queued for a server that has ended lasts its whole time-out,
        # and so does the client's destructor, longer than a role has to stop. `_call` calls again.
        self._caller = Caller(address, CALL_TIMEOUT, wait_for_ready=False, stop=self._stop)

    def _call(self, method: str, *arguments: Any, patience: float = CALL_TIMEOUT) -> Any:
        """Calls again after a failure for `patience` seconds: the learner may be starting, and when
        the program stops, its server may end a moment before we are told."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return self._caller(method, *arguments)
            except CallError:
                if time.monotonic() > deadline:
                    raise
                if self._stop.wait(0.5):
                    raise Stopped from None

    def session(self) -> bytes:
        """See `ParameterSource.session`. Waits longer: the learner may still be loading."""
        return bytes(self._call("session", patience=120.0))

    def parameters(self, have: Version | None) -> tuple[Version, bytes] | None:
        """See `ParameterSource.parameters`."""
        answer = self._call("parameters", list(have) if have else None)
        return None if answer is None else (Version(answer[0], answer[1]), bytes(answer[2]))

    def reserve_episodes(self, count: int) -> int:
        """See `ParameterSource.reserve_episodes`."""
        return int(self._call("reserve_episodes", count))


class CourierPool:
    """`LossPool` over Courier: one request in flight per worker, the next goes to whoever is free.

    A worker that fails a call is left alone for a growing while, and its request goes back to the
    queue; the request is given up when its budget is spent.
    """

    def __init__(self, addresses: list[str], call_timeout: float) -> None:
        if not addresses:
            raise ValueError("a loss pool needs at least one worker address")
        self._queue: queue.SimpleQueue[tuple[float, LossRequest, Future[LossReply]] | None]
        self._queue = queue.SimpleQueue()
        self._closed = threading.Event()
        self.retried = 0
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(address, call_timeout),
                name=f"pool-{address}",
                daemon=True,
            )
            for address in addresses
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: LossRequest) -> Future[LossReply]:
        """See `LossPool.submit`."""
        future: Future[LossReply] = Future()
        self._queue.put((time.monotonic() + request.budget, request, future))
        return future

    def _serve(self, address: str, call_timeout: float) -> None:
        call = Caller(address, call_timeout, wait_for_ready=False)
        pause = 0.05
        while not self._closed.is_set():
            item = self._queue.get()
            if item is None:
                break
            deadline, request, future = item
            left = deadline - time.monotonic()
            cause = "no worker was free in time"
            if left > 0:
                try:
                    timed = LossRequest(
                        request.request_id, left, request.window, request.options_hash, request.x
                    )
                    reply = decode(LossReply, bytes(call("evaluate", encode(timed))))
                    if reply.status in ("ok", "nonfinite"):
                        pause = 0.05
                        future.set_result(reply)
                        continue
                    cause = f"worker {address}: {reply.status} {reply.message}"
                    if reply.status == "error":
                        left = 0.0  # another worker would answer the same
                except Exception as error:  # any failure of one worker is answered the same way
                    cause = f"{type(error).__name__}: {error}"
            if left <= 0 or deadline - time.monotonic() <= 0:
                future.set_exception(
                    LossUnavailable(f"loss request {request.request_id}: {cause}")
                )
                continue
            self.retried += 1
            self._queue.put(item)
            self._closed.wait(pause)
            pause = min(2.0, 2 * pause)

    def close(self) -> None:
        """Ends the threads once their calls are over; what is queued ends with an error."""
        self._closed.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout=2.0)
        while not self._queue.empty():
            item = self._queue.get()
            if item is not None:
                item[2].set_exception(LossUnavailable("the pool was closed"))


def serve(methods: Mapping[str, Callable[..., Any]], port: int) -> Callable[[], None]:
    """Serves functions by name at `port`, on every interface; returns what stops the server."""
    server = courier.Server(port=port)
    for name, method in methods.items():
        server.Bind(name, method)
    server.Start()
    return server.Stop  # type: ignore[no-any-return]
