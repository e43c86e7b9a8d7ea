"""Metrics as JSON lines: one file per role and index, the source of truth for `watch`."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol


def _finite(value: Any) -> Any:
    """JSON has no NaN: non-finite numbers become strings, so every line stays valid JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


class MetricsWriter:
    """Appends records to `metrics/<role>-<index>.jsonl`; a crash loses at most the last line."""

    def __init__(self, run_dir: Path, role: str, index: int = 0) -> None:
        folder = run_dir / "metrics"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{role}-{index}.jsonl"
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._file = open(self._path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
        if self._path.stat().st_size and not _ends_with_newline(self._path):
            self._file.write("\n")  # a killed process left half a line: start a fresh one

    def write(self, event: str, **values: Any) -> None:
        """Adds a record: `event`, wall time (s since 1970), uptime of this process (s), values."""
        uptime = round(time.monotonic() - self._started, 3)
        record = {"event": event, "time": round(time.time(), 3), "uptime": uptime, **values}
        with self._lock:
            self._file.write(json.dumps(_finite(record)) + "\n")

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


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Records of one file in order; a half-written or damaged line is passed over."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record


def tail(path: Path, limit: int = 65536) -> list[dict[str, Any]]:
    """Records within the last `limit` bytes of a file: bounded work however long the run."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    records = []
    for line in lines[1:] if size > limit else lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records
