"""Metrics as JSON lines: one file per role and index, the source of truth for `watch`.

Writing never fails a run: what a full disk refuses is counted, and said in the next record that
gets through. Reading takes whatever a crash left behind, files that are still being written, and
huge ones: a line longer than `LONGEST` is passed over like any other that is no record, `tail` and
`Follower` take a bounded piece, `thinned` a bounded number. Who hands in `damaged` is told how many
whole lines of a file were no record; the last line, while it is being written, is not one of them.
"""

import contextlib
import errno
import json
import logging
import math
import os
import re
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from optimus.files import parse_json

_LOG = logging.getLogger(__name__)
LONGEST = 1 << 20  # bytes; a record of ours has a few hundred
Record = dict[str, Any]
Damaged = Counter[str]  # lines that are no record, by file name
Check = Callable[[Record], bool]  # whether a record has the fields that it needs


def is_number(value: Any) -> bool:
    """Whether a record's value is a number, or what `finite` writes of one that is not finite."""
    number = isinstance(value, float) or (type(value) is int and abs(value) < 10**300)
    return number or value in ("nan", "inf", "-inf")


def is_step(value: Any) -> bool:
    """Whether a record's value counts updates."""
    return type(value) is int and 0 <= value < 10**18


def finite(value: Any) -> Any:
    """JSON has no NaN: non-finite numbers become strings, so every line stays valid JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


class LinesWriter:
    """Appends JSON lines to a file; a crash loses at most the last one, and a disk that refuses one
    costs that line and nothing else.

    Attributes:
      lost: lines that were refused so far.

    Args:
      path: the file, made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._torn = path, False
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        self.lost = self._in_a_row = 0
        with contextlib.suppress(OSError):  # tried again with the first line
            self._open()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self._path, "ab", buffering=0)  # noqa: SIM115
        self._file = file
        weakref.finalize(self, file.close)  # roles come and go in process; each has a writer
        # A killed process may have left half a line: a fresh one is started.
        self._torn = bool(self._path.stat().st_size) and not _ends_with_newline(self._path)

    def append(self, record: Record) -> None:
        """Adds a line; after lines that were refused, it has their number as `lost`."""
        with self._lock:
            if self._in_a_row:
                record = {**record, "lost": self._in_a_row}
            line, written = (json.dumps(finite(record)) + "\n").encode(), 0
            try:
                if self._file is None:
                    self._open()
                assert self._file is not None
                line = b"\n" + line if self._torn else line
                written = self._file.write(line) or 0
                if written < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except ValueError:
                pass  # closed, and a heartbeat has a last word
            except OSError as error:
                if not self.lost:
                    where, why = self._path, error.strerror or error
                    _LOG.warning("%s: %s; lines are lost, and counted, while it is so", where, why)
                self._torn, self.lost = self._torn or written > 0, self.lost + 1
                self._in_a_row += 1
            else:
                self._torn, self._in_a_row = False, 0

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


class MetricsWriter(LinesWriter):
    """Records about one process in `metrics/<role>-<index>.jsonl`."""

    def __init__(self, run_dir: Path, role: str, index: int = 0) -> None:
        self._started = time.monotonic()
        super().__init__(run_dir / "metrics" / f"{role}-{index}.jsonl")

    def write(self, event: str, **values: Any) -> None:
        """Adds a record: `event`, wall time (s since 1970), uptime of this process (s), values."""
        uptime = round(time.monotonic() - self._started, 3)
        self.append({"event": event, "time": round(time.time(), 3), "uptime": uptime, **values})


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
        value = parse_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _records(
    lines: Iterable[bytes], name: str, damaged: Damaged | None, good: Check | None
) -> Iterator[Record]:
    """The good records among lines with their ends; others are counted under the file's name."""
    for line in lines:
        record = record_of(line)
        if record is not None and (good is None or good(record)):
            yield record
        elif damaged is not None and line.endswith(b"\n") and line.strip():
            damaged[name] += 1


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, of one longer than `LONGEST` bytes its end; the last may lack its end."""
    skipping = False
    while line := file.readline(LONGEST):
        whole = line.endswith(b"\n")
        if whole or len(line) < LONGEST:
            yield b"too long\n" if skipping else line
            skipping = False
        else:
            skipping = True


def read(path: Path, damaged: Damaged | None = None, good: Check | None = None) -> Iterator[Record]:
    """The good records of one file in order; a half-written or damaged line is passed over."""
    with open(path, "rb") as file:
        yield from _records(_lines(file), path.name, damaged, good)


def tail(
    path: Path, limit: int = 65536, damaged: Damaged | None = None, good: Check | None = None
) -> list[Record]:
    """Good records within the last `limit` bytes of a file: bounded work however long the run.

    Args:
      path: the file. limit: bytes.
      damaged: counts the other lines. good: whether a record is one.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        lines = file.read(limit).splitlines(keepends=True)
    return list(_records(lines[1:] if size > limit else lines, path.name, damaged, good))


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
      damaged: counts whole lines that are no good record.
      good: whether a record is one.
    """

    def __init__(
        self, path: Path, offset: int = 0, damaged: Damaged | None = None, good: Check | None = None
    ) -> None:
        self._path, self.offset = path, max(0, offset)
        self._damaged, self._good = damaged, good
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
        lines = data[:end].splitlines(keepends=True)
        return list(_records(lines, self._path.name, self._damaged, self._good))
