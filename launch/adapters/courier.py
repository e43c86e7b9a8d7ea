"""Courier behind the Protocols of `optimus.wire`: bytes only, and every call has a deadline.

Measured behaviour of Launchpad 0.5.2's Courier that shapes this file: a call whose
argument holds an array never returns; a call without a time-out to a dead server waits for ever;
cancelling a future can abort the process; a signal is handled only between bytecodes, so waits go
through futures.
"""

import ctypes
import functools
import os
import queue
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from launch.pool.dispatch import Outcome
from launch.pool.workers import Done
from optimus import wire
from optimus.wire import PROTOCOL, Answer, Call, Refused, Stopped, Version, decode, encode

CALL_TIMEOUT = 10.0  # s, for the small calls to the head
PATIENCE = 120.0  # s that callers of the learner go on trying: it may be starting again
_PLAIN = (bytes, bytearray, str, int, float, bool, type(None))


def preload_libpython() -> None:
    """Loads libpython, which Courier's extension needs; `RuntimeError` when it is missing."""
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    path = os.path.join(str(folder), str(name))
    if not str(name).endswith((".so", ".so.1.0")) or not os.path.exists(path):
        needs = f"Courier needs the shared library of this Python, and {path} is not one"
        raise RuntimeError(f"{needs}; use a CPython 3.10 built with --enable-shared")
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
            got = f"{method}: argument of type {type(argument).__name__}"
            only = "only bytes, str, int, float, bool and None may cross: use optimus.wire.pack"
            raise TypeError(f"{got}; Courier would hang on an array, so {only}")


@dataclass(eq=False)
class Caller:
    """Calls methods of one Courier server.

    Args:
      address: host:port.
      timeout: seconds for every call.
      wait_for_ready: queue calls until the server is up (head) or fail at once (workers).
      stop: ends waiting early when set.
    """

    address: str
    timeout: float
    wait_for_ready: bool = True
    stop: threading.Event | None = None

    def __post_init__(self) -> None:
        _start_reaper()
        # The only reference to the client is in a box, so that it dies where the box is emptied.
        how = {"call_timeout": self.timeout, "wait_for_ready": self.wait_for_ready}
        self._box = [courier.Client(self.address, **how)]

    def __del__(self) -> None:
        _DROPPED.put(getattr(self, "_box", []))

    def start(self, method: str, *arguments: Any) -> Future[Any]:
        """Starts a call; never cancel the future."""
        _refuse_arrays(method, arguments)
        future: Future[Any] = getattr(self._box[0].futures, method)(*arguments)
        return future

    def __call__(self, method: str, *arguments: Any) -> Any:
        """Calls and waits; raises `CallError`, or `Stopped` when the stop event is set first."""
        deadline = time.monotonic() + self.timeout + 5.0
        future = self.start(method, *arguments)
        try:
            while True:
                try:
                    return future.result(timeout=0.2)
                except StatusNotOk as error:
                    raise CallError(f"{method} at {self.address}: {last_line(error)}") from None
                except FutureTimeout:  # the builtin TimeoutError from CPython 3.11 on
                    if self.stop is not None and self.stop.is_set():
                        raise Stopped from None
                    if time.monotonic() > deadline:
                        late = f"no answer within {self.timeout} s"
                        raise CallError(f"{method} at {self.address}: {late}") from None
        finally:
            if not future.done():  # told to stop, or Ctrl-C
                _KEPT.append(self._box[0])


# A client's destructor waits for its calls to end, longer than a role has to stop. Clients with a
# call that nobody waits for any more are left to the process's end.
_KEPT: list[Any] = []


_DROPPED: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()  # boxes; `put` may run in __del__


@functools.cache  # a second thread, if two callers came first together, does no harm
def _start_reaper() -> None:
    """Starts the thread that destroys clients, once per process.

    A client joins its completion thread when it dies. If the last reference to it goes on that very
    thread, say in the callback of its last call, the process aborts ("Resource deadlock avoided").
    """

    def run() -> None:
        while True:
            _DROPPED.get().clear()

    threading.Thread(target=run, name="client reaper", daemon=True).start()


class _Head:
    """Calls of learner or coordinator, through a client that is made anew after a failure: a failed
    channel waits up to two minutes to connect again.

    Not `wait_for_ready`: a call queued for a server that has ended lasts its whole time-out, and so
    does the client's destructor, longer than a role has to stop.
    """

    def __init__(
        self, address: str, timeout: float, run_id: str, stop: threading.Event | None
    ) -> None:
        self._connect = functools.partial(Caller, address, timeout, wait_for_ready=False, stop=stop)
        self._address, self._run_id = address, run_id
        self._caller: Caller | None = None

    def __call__(self, method: str, *arguments: Any) -> Any:
        self._caller = self._caller or self._connect()
        try:
            return self._caller(method, *arguments)
        except CallError:
            self._caller = None
            raise

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a `served` method of this run returns; raises `CallError` or `Refused`."""
        data = self(method, encode(Call(PROTOCOL, self._run_id, list(arguments))))
        try:
            answer = decode(Answer, data)
        except wire.CodecError as error:
            raise Refused(f"{self._address} is no head of this version: {error}") from None
        if answer.status == "refused":
            raise Refused(f"{self._address} refuses this process: {answer.message}")
        if answer.status == "failed":
            raise CallError(f"{answer.message} at {self._address}")
        return answer.value


class RemoteLearner:
    """`ParameterSource` over Courier, of one run: another's learner at the same address refuses."""

    def __init__(self, address: str, run_id: str, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._once = _Head(address, CALL_TIMEOUT, run_id, self._stop)

    def _call(self, method: str, *arguments: Any) -> Any:
        """Calls again after a failure, for `PATIENCE`: the learner may be starting again, and when
        the program stops, its server may end a moment before we are told."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._once.ask(method, *arguments)
            except CallError:
                if time.monotonic() > deadline:
                    raise
                if self._stop.wait(0.5):
                    raise Stopped from None

    def session(self, actor: int, incarnation: str) -> bytes:
        """See `ParameterSource.session`."""
        return bytes(self._call("session", actor, incarnation))

    def parameters(self, have: Version | None) -> tuple[Version, bytes] | None:
        """See `ParameterSource.parameters`."""
        answer = self._call("parameters", list(have) if have else [])
        return (Version(answer[0], answer[1]), bytes(answer[2])) if answer else None

    def reserve_episodes(self, count: int) -> int:
        """See `ParameterSource.reserve_episodes`."""
        return int(self._call("reserve_episodes", count))


class CourierLink:
    """`launch.pool.workers.Link` over Courier."""

    def __init__(self, address: str, timeout: float) -> None:
        self._caller = Caller(address, timeout, wait_for_ready=False)

    def start(self, request: bytes, done: Done) -> None:
        """See `Link.start`."""
        address = self._caller.address  # the callback must not keep the client alive

        def ended(future: Future[Any]) -> None:
            try:
                done("ok", future.result())
            except StatusNotOk as error:
                done(outcome_of(error), f"{address}: {last_line(error)}")
            except Exception as error:  # nothing that a call raises may be lost in its thread
                done("error", f"{address}: {type(error).__name__}: {error}")

        self._caller.start("evaluate", request).add_done_callback(ended)


def last_line(error: StatusNotOk) -> str:
    """Of a traceback on the server, the line that says it."""
    return (str(error).strip() or "no message").splitlines()[-1]


_OUTCOMES: dict[str, Outcome] = {  # by words of the error
    "Python exception was raised on the server": "error",
    **dict.fromkeys(("failed to connect", "DNS resolution failed"), "unreachable"),
    **dict.fromkeys(("Deadline Exceeded", "DEADLINE_EXCEEDED"), "timeout"),
}


def outcome_of(error: StatusNotOk) -> Outcome:
    """How a failed call ended."""
    text = str(error)
    return next((outcome for words, outcome in _OUTCOMES.items() if words in text), "lost")


def connector(timeout: float) -> Callable[[str], CourierLink]:
    """Makes links whose calls take `timeout` s at most."""
    return lambda address: CourierLink(address, timeout)


class RemoteCoordinator:
    """The coordinator over Courier. Does not retry; the next heartbeat does."""

    def __init__(self, address: str, stop: threading.Event | None = None, run_id: str = "") -> None:
        self._call = _Head(address, 5.0, run_id, stop)

    def heartbeat(self, message: wire.Heartbeat) -> wire.View:
        """See `Registry.heartbeat`; raises `CallError`, `CodecError`, or `Stopped`."""
        return decode(wire.View, self._call("heartbeat", encode(message)))

    def head(self) -> wire.Head:
        """What this run is and where; raises likewise."""
        return decode(wire.Head, self._call("head"))

    def finish(self, epoch: int) -> None:
        """Says, as the learner of this epoch, that the run is over; also raises `Refused`."""
        self._call.ask("finish", epoch)


def serve(methods: Mapping[str, Callable[..., Any]], port: int) -> Callable[[], None]:
    """Serves functions by name at `port`, on every interface; returns what stops the server."""
    server = courier.Server(port=port)
    for name, method in methods.items():
        server.Bind(name, method)
    server.Start()
    return server.Stop  # type: ignore[no-any-return]
