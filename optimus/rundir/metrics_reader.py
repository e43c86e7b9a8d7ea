"""Reading files of JSON lines, also while they are written, damaged ones, and huge ones.

Memory is bounded whatever the file: a line longer than `LONGEST` is passed over like any other
that is no record, `tail` and `Follower` take a bounded piece, `thinned` a bounded number.
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

LONGEST = 1 << 20  # bytes; a record of ours has a few hundred
Record = dict[str, Any]


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
      path: the file; it need not exist yet. offset: bytes to pass over, of an earlier follower.
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
