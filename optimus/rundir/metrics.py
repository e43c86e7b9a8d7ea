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


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
