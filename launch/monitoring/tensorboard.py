"""TensorBoard events out of a run's JSON lines, while it runs or afterwards; no TensorFlow.

The events are a copy for the eye: RUN/tensorboard/ can be deleted, and is then written anew. The
common clock of all roles is the learner's step. How far each file has been read is kept beside the
events, so that a restart adds nothing twice.
"""

import contextlib
import json
import math
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launch import Say
from launch.monitoring.readings import Record, clock, count, number, sound, sound_evaluation
from launch.monitoring.watch import clean, damage
from optimus.errors import ConfigError
from optimus.files import read_json
from optimus.rundir.checkpoint import write_atomically
from optimus.rundir.metrics import Damaged, Follower

FOLDER, OFFSETS = "tensorboard", "read.json"
_EVERY = 30.0  # s between points of roles that report all the time
_CLOCKS = ("time", "uptime", "step", "epoch", "pid", "updates", "format", "episode", "window")
_LAST = 5.0  # s that what is left may take after `stop`


def follow(
    run_dir: Path, stop: threading.Event, poll: float = 5.0, say: Say = lambda _: None
) -> None:
    """Mirrors until `stop`, and then what is left.

    Args:
      run_dir: the run's directory.
      stop: ends it.
      poll: s between looks.
      say: takes a line, once, where a file has lines that are no records.

    Raises:
      ModuleNotFoundError: without tensorboardX.
    """
    said, deadline = False, math.inf
    with contextlib.closing(Mirror(run_dir)) as mirror:
        while time.monotonic() <= deadline:
            mirror.update()
            if mirror.damaged and not said:
                said = True
                say(f"damaged lines: {damage(mirror.damaged)}")
            if stop.is_set():
                if not mirror.behind:
                    break
                deadline = min(deadline, time.monotonic() + _LAST)
            elif not mirror.behind:
                stop.wait(poll)


class Mirror:
    """Copies what is new in `metrics/*.jsonl` and `eval.jsonl` at each `update`."""

    def __init__(self, run_dir: Path) -> None:
        from tensorboardX import SummaryWriter

        self._run_dir = run_dir
        self._folder = run_dir / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        # A name of its own: tensorboardX names by the second, and would overwrite.
        suffix = f".{uuid.uuid4().hex[:8]}"
        self._writer = SummaryWriter(str(self._folder), flush_secs=5, filename_suffix=suffix)
        self._followers: dict[str, Follower] = {}
        try:
            found = read_json(self._folder / OFFSETS)
        except ConfigError:
            found = {}
        good = isinstance(found, dict) and all(isinstance(v, int) for v in found.values())
        self._offsets: dict[str, int] = found if good else {}
        self._step = 0
        self._shown: dict[str, float] = {}
        self.points = 0
        self.behind = False
        self.damaged = Damaged()

    def update(self) -> None:
        """Takes at most 1 MiB of each file, the learner's first: its step is the clock."""
        found = self._run_dir.glob("metrics/*.jsonl")
        paths = sorted(found, key=lambda path: not path.stem.startswith("learner"))
        self.behind = False
        for path in (*paths, self._run_dir / "eval.jsonl"):
            name, good = path.stem, sound_evaluation if path.stem == "eval" else sound
            opened = Follower(path, self._offsets.get(name, 0), self.damaged, good)
            follower = self._followers.setdefault(name, opened)
            before = follower.offset
            for record in follower.new():
                self._add(name, record)
            self.behind |= follower.offset != before
        self._writer.flush()
        self._offsets = {name: follower.offset for name, follower in self._followers.items()}
        write_atomically(self._folder / OFFSETS, json.dumps(self._offsets))

    def _add(self, name: str, record: Record) -> None:
        moment, step = clock(record, "time"), _step(record)
        if moment is None:
            return
        if name == "learner-0" and step is not None:
            self._step = step
        if record.get("event") == "alive":
            if 0 <= moment - self._shown.get(name, -_EVERY) < _EVERY:
                return
            self._shown[name] = moment
        for tag, value in scalars(record):
            at = self._step if step is None else step
            self._writer.add_scalar(clean(f"{name}/{tag}"), value, at, walltime=moment)
            self.points += 1

    def close(self) -> None:
        """Closes the events file."""
        self._writer.close()


def _step(record: Record) -> int | None:
    found, version = count(record, "step"), record.get("version")
    if found is None and isinstance(version, list) and len(version) == 2:
        found = count({"step": version[1]}, "step")
    return found


def scalars(record: Record, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Finite numbers of a record by name, "outer/inner" for nested ones; clocks left out."""
    for key in record:
        value: Any = record[key]
        if isinstance(value, dict):
            yield from scalars(value, f"{prefix}{key}/")
        elif prefix or key not in _CLOCKS:
            found = number(record, key)
            if found is not None:
                yield f"{prefix}{key}", float(found)
