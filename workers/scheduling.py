"""Driving window generators: whichever has its losses goes on while the others wait for theirs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import Any

from optimus.rundir.metrics import TimeIn
from optimus.wire import Stopped
from workers.unroll.base import Waiting, Window


class Stepper:
    """Drives one window generator; puts itself into `ready` when it can go on.

    Counts its losses down by callbacks, so an actor with thousands in flight does not look through
    them at each arrival. `of` is whatever the driver wants to know it by.
    """

    def __init__(self, generator: Waiting, ready: SimpleQueue[Stepper], of: Any) -> None:
        self.of = of
        self._generator = generator
        self._ready = ready
        self._left = 0
        self._lock = Lock()
        ready.put(self)

    def advance(self) -> Window | None:
        """Runs to the next wait; the `Window` at the end."""
        try:
            futures = next(self._generator)
        except StopIteration as done:
            window: Window = done.value
            return window
        self._left = len(futures) + 1
        for future in futures:
            future.add_done_callback(self._arrived)
        self._arrived(None)
        return None

    def _arrived(self, _: Future[Any] | None) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._ready.put(self)


def next_ready(ready: SimpleQueue[Stepper], stop: Event, time_in: TimeIn) -> Stepper:
    """Waits, which is time in "losses"; what the stepper does next is time in "optimizer"."""
    time_in.enter("losses")
    while not stop.is_set():
        try:
            found = ready.get(timeout=0.2)
        except Empty:
            continue
        time_in.enter("optimizer")
        return found
    raise Stopped


def drive(windows: Sequence[Waiting], stop: Event, time_in: TimeIn | None = None) -> list[Window]:
    """Runs window generators, whichever has its losses, so that they overlap others' steps."""
    ready: SimpleQueue[Stepper] = SimpleQueue()
    time_in = time_in or TimeIn("optimizer")
    for k, generator in enumerate(windows):
        Stepper(generator, ready, k)
    results: dict[int, Window] = {}
    while len(results) < len(windows):
        stepper = next_ready(ready, stop, time_in)
        window = stepper.advance()
        if window is not None:
            results[stepper.of] = window
    return [results[k] for k in range(len(windows))]
