"""Metrics as JSON lines: one file per role and index, the source of truth for `watch`.

Writing never fails a run: what a full disk refuses is counted and said in the next record that
gets through. Reading takes whatever a crash left behind, files that are still being written, and
huge ones: a line longer than `LONGEST` is passed over like any other that is no record, `tail` and
`Follower` take a bounded piece, `thinned` a bounded number.
"""

import json
import math
import os
import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

LONGEST = 1 << 20  # bytes; a record of ours has a few hundred
Record = dict[str, Any]


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
      activity: what the thread does from now on.
      clock: s, monotonic.
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


# -------------------------------------------------------------------------------------- reading


def record_of(line: bytes) -> Record | None:
    """The record of a line, or None."""
    try:
        value = json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines of at most `LONGEST` bytes; the last may lack its end."""
    skipping = False
    while line := file.readline(LONGEST):
        whole = line.endswith(b"\n")
        if whole or len(line) < LONGEST:
            if not skipping:
                yield line
            skipping = False
        else:
            skipping = True


def read(path: Path) -> Iterator[Record]:
    """Records of one file in order; a half-written or damaged line is passed over."""
    with open(path, "rb") as file:
        for line in _lines(file):
            record = record_of(line)
            if record is not None:
                yield record


def tail(path: Path, limit: int = 65536) -> list[Record]:
    """Records within the last `limit` bytes of a file: bounded work however long the run."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        lines = file.read(limit).splitlines()
    found = (record_of(line) for line in (lines[1:] if size > limit else lines))
    return [record for record in found if record is not None]


def thinned(path: Path, event: str, most: int = 1000) -> list[Record]:
    """Between `most` / 2 and `most` records of an event, evenly spread, and always the newest one;
    all of them where there are fewer. One pass, memory for `most` records; lines that are not kept
    are looked at but not parsed."""
    mark = re.compile(rb'"event":\s*' + re.escape(json.dumps(event).encode()))
    kept: list[Record] = []
    every, count = 1, 0
    newest: deque[bytes] = deque(maxlen=2)  # the last line may be half written
    with open(path, "rb") as file:
        for line in _lines(file):
            if not mark.search(line, 0, 256):
                continue
            newest.append(line)
            if count % every == 0:
                record = record_of(line)
                if record is None or record.get("event") != event:
                    continue
                kept.append(record)
                if len(kept) >= most:
                    kept, every = kept[::2], 2 * every
            count += 1
    found = [record for record in map(record_of, newest) if record is not None]
    if found and found[-1].get("event") == event and kept and kept[-1] != found[-1]:
        kept.append(found[-1])
    return kept


class Follower:
    """Reads what has been added to a file since the last call, whole lines only.

    A file that has become shorter, or another one, is read from its beginning.

    Args:
      path: the file; it need not exist yet.
      offset: bytes to pass over, of an earlier follower.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path, self.offset = path, max(0, offset)
        self._inode: int | None = None

    def new(self, limit: int = LONGEST) -> list[Record]:
        """Records of at most the next `limit` bytes; [] when there is nothing new (yet)."""
        try:
            with open(self._path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size < self.offset or self._inode not in (None, status.st_ino):
                    self.offset = 0
                self._inode = status.st_ino
                file.seek(self.offset)
                data = file.read(limit)
        except FileNotFoundError:
            self.offset = 0  # what comes in its place is new, even under the same inode
            return []
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        if not end and len(data) == limit:
            end = limit  # a line longer than that is nobody's record
        self.offset += end
        found = (record_of(line) for line in data[:end].splitlines())
        return [record for record in found if record is not None]
