"""Run id, epochs and episode ids: on disk before they are used, so that none is used twice."""

import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from optimus.errors import UserError
from optimus.files import read_json
from optimus.rundir.checkpoint import write_atomically
from optimus.rundir.manifest import MOST

FILE = "identity.json"


class IdentityError(UserError, RuntimeError):
    """`identity.json` cannot be used or written; the message is one line."""

    final = True


@dataclass(frozen=True)
class _Record:
    run_id: str
    epoch: int
    next_episode: int

    def __post_init__(self) -> None:
        numbers = (self.epoch, self.next_episode)
        if not isinstance(self.run_id, str) or any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError(f"not a run id and two counters: {asdict(self)}")


class Identity:
    """Persistent counters of a run directory, in `identity.json`.

    Opening does not change anything; `raise_epoch` is called once at each learner start.

    Raises:
      IdentityError: there is a file and it cannot be used: beginning anew would give ids out twice.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._lock = threading.Lock()
        if self._path.exists():
            try:
                self._record = _Record(**read_json(self._path))
                if max(self._record.epoch, self._record.next_episode) >= MOST:
                    raise ValueError("counters must be below 2^62")
            except (ValueError, TypeError) as error:
                what = f"{self._path} is damaged ({error}); restore it or use a new run dir"
                raise IdentityError(what) from None
        else:
            self._write(_Record(uuid.uuid4().hex[:12], 0, 0))

    def _write(self, record: _Record) -> None:
        try:
            write_atomically(self._path, json.dumps(asdict(record)) + "\n")
        except OSError as error:
            text = f"cannot write {self._path}: {error.strerror or error}"
            raise IdentityError(text) from error
        self._record = record

    @property
    def run_id(self) -> str:
        """Identity of the run, made once."""
        return self._record.run_id

    @property
    def epoch(self) -> int:
        """Current learner epoch."""
        return self._record.epoch

    def raise_epoch(self) -> int:
        """Starts a new learner epoch and returns it."""
        with self._lock:
            self._write(replace(self._record, epoch=self.epoch + 1))
            return self.epoch

    def reserve_episodes(self, count: int) -> int:
        """First of `count` ids that no other call, now or after a restart, will return."""
        if not 1 <= count <= 2**60:
            raise ValueError(f"cannot reserve {count} episode ids; want 1 ... 2^60")
        with self._lock:
            first = self._record.next_episode
            self._write(replace(self._record, next_episode=first + count))
            return first

    def reserve_up_to(self, limit: int) -> None:
        """Counts every id below `limit` as given out."""
        with self._lock:
            if limit > self._record.next_episode:
                self._write(replace(self._record, next_episode=limit))


def check(run_dir: Path, manifest: Mapping[str, Any]) -> None:
    """Looks whether `identity.json` goes with a checkpoint; changes nothing.

    Args:
      run_dir: where the run lives.
      manifest: of the checkpoint that is gone on from, {} where there is none.

    Raises:
      IdentityError: it is damaged; or missing, of another run or older beside a checkpoint.
    """
    path, run_id, epoch = run_dir / FILE, manifest.get("run_id"), manifest.get("epoch", 0)
    known = Identity(run_dir) if path.exists() else None
    if run_id is None or (known and known.run_id == run_id and known.epoch >= epoch):
        return
    found = f"is of the run {known.run_id!r}, epoch {known.epoch}" if known else "is missing"
    newest = f"the newest checkpoint of the run {run_id!r}, epoch {epoch}"
    remedy = "restore what belongs together, or use another --run-dir"
    raise IdentityError(f"{path} {found}, {newest}; {remedy}")
