"""Metrics as JSON lines: one file per role and index, the source of truth for `watch`.

Writing never fails a run: what a full disk refuses is counted and said in the next record that
gets through. Reading (`optimus.rundir.metrics_reader`) takes whatever a crash left behind.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from optimus.rundir.metrics_reader import Follower as Follower
from optimus.rundir.metrics_reader import read as read
from optimus.rundir.metrics_reader import tail as tail
from optimus.rundir.metrics_reader import thinned as thinned


def finite(value: Any) -> Any:
    """JSON has no NaN: non-finite numbers become strings, so every line stays valid JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


class MetricsWriter:
    """Appends records to `metrics/<role>-<index>.jsonl`; a crash loses at most the last line."""

    def __init__(self, run_dir: Path, role: str, index: int = 0) -> None:
        folder = run_dir / "metrics"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{role}-{index}.jsonl"
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)  # roles come and go in process; each has a writer
        # A killed process may have left half a line: a fresh one is started.
        self._torn = bool(path.stat().st_size) and not _ends_with_newline(path)
        self._lost = 0

    def write(self, event: str, **values: Any) -> None:
        """Adds a record: `event`, wall time (s since 1970), uptime of this process (s), values.

        Where the disk refuses, the record is dropped, and the next one has the number as `lost`.
        """
        uptime = round(time.monotonic() - self._started, 3)
        record = {"event": event, "time": round(time.time(), 3), "uptime": uptime, **values}
        with self._lock:
            if self._lost:
                record["lost"] = self._lost
            line = (json.dumps(finite(record)) + "\n").encode()
            line = b"\n" + line if self._torn else line
            try:
                written = self._file.write(line) or 0
            except (OSError, ValueError):  # refused; or closed, and a heartbeat has a last word
                written = 0
            if written == len(line):
                self._torn, self._lost = False, 0
            else:
                self._torn, self._lost = self._torn or written > 0, self._lost + 1

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Reporter(Protocol):
    """Something that can write a record about itself at any time."""

    def report(self) -> None:
        """Writes one record."""


def heartbeat(reporter: Reporter, wait: Callable[[float], bool]) -> None:
    """Reports every 2 s until `wait(seconds)` says stop: who waits long is alive all the same."""
    while not wait(2.0):
        reporter.report()
    reporter.report()


class TimeIn:
    """Seconds by activity of one thread; any thread may read them, what is going on included.

    Args:
      activity: what the thread does from now on. clock: s, monotonic.
    """

    def __init__(self, activity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._activity, self._since = clock, activity, clock()
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def enter(self, activity: str) -> None:
        """From now on the thread does this; what it did until now is charged."""
        with self._lock:
            self._charge()
            self._activity = activity

    def record(self) -> dict[str, float]:
        """Cumulative s by activity, for a metrics record; they add up to the age of this object."""
        with self._lock:
            self._charge()
            return {name: round(seconds, 4) for name, seconds in sorted(self._seconds.items())}

    def _charge(self) -> None:
        now = self._clock()
        spent = max(0.0, now - self._since)
        self._seconds[self._activity] = self._seconds.get(self._activity, 0.0) + spent
        self._since = now


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
