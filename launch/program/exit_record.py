"""How a node of a local run ended: one small JSON file, RUN_DIR/logs/ROLE/INDEX.exit.json.

The supervisor writes it when it starts the node and when the node has ended for good; the node
itself adds why it failed. The launcher reads all of them when a run has failed. Only the standard
library is imported: supervisors stay small.

    role, index     of the node
    state           "running", or "ended"; "running" without a process: the supervisor was killed
    code            exit code, or minus the signal that ended it; null while it runs
    cause           what the node said of its failure, one line, or ""
    failed          whether the run cannot go on because of it
    restarts        made before this start
    log             what the node wrote
    time            s since 1970, of the last change of state
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping

TYPE_CHECKING = False  # of `typing`, whose import a supervisor does without
if TYPE_CHECKING:
    from typing import Any

SUFFIX = ".exit.json"
_FIELDS: dict[str, tuple[type, ...]] = dict.fromkeys(("role", "state", "cause", "log"), (str,))
_FIELDS |= {"index": (int,), "restarts": (int,), "failed": (bool,), "time": (int, float)}


def path_of(run_dir: str, role: str, index: int) -> str:
    """Where the record of a node is."""
    return os.path.join(run_dir, "logs", role, f"{index}{SUFFIX}")


def ending(code: int) -> str:
    """An exit code, or minus a signal, in words."""
    if code >= 0:
        return f"exited with code {code}"
    name = {each.value: each.name for each in signal.Signals}.get(-code, "no name")
    guess = ", perhaps out of memory" if -code == signal.SIGKILL else ""
    return f"killed by signal {-code} ({name}){guess}"


def begin(path: str | None, restarts: int) -> None:
    """The node is about to start; None, here and below: nobody wants a record."""
    _write(path, {"state": "running", "code": None, "cause": "", "failed": False}, restarts)


def add_cause(path: str, cause: str) -> None:
    """The node says why it fails; how it ends is the supervisor's to say."""
    known = read(path)
    _write(path, {**known, "cause": cause}, known.get("restarts", 0))


def end(path: str | None, code: int, restarts: int, failed: bool) -> None:
    """The node has ended and is not started again.

    Args:
      path: of the record, or None.
      code: exit code, or minus a signal.
      restarts: made before.
      failed: whether the run cannot go on because of it.
    """
    cause = read(path).get("cause", "") if path and code > 0 else ""
    _write(path, {"state": "ended", "code": code, "cause": cause, "failed": failed}, restarts)


def _write(path: str | None, state: Mapping[str, object], restarts: int) -> None:
    if path is None:
        return
    folder, name = os.path.split(path)
    index = name.removesuffix(SUFFIX)
    node = {"role": os.path.basename(folder), "index": int(index)}
    log = os.path.join(folder, f"{index}.log")
    record = {**node, **state, "restarts": restarts, "log": log, "time": time.time()}
    scratch, text = f"{path}.{os.getpid()}", json.dumps(record)
    try:
        os.makedirs(folder, exist_ok=True)
        with open(scratch, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(scratch, path)
    except OSError:  # a full disk must not end a node; the room of the old record is still there
        with contextlib.suppress(OSError), open(path, "r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()
        with contextlib.suppress(OSError):
            os.unlink(scratch)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A record; {} where there is none that can be read, or one without its fields."""
    found = object_in(path)
    code = found.get("code")
    whole = code is None or type(code) is int
    whole = whole and all(type(found.get(name)) in kinds for name, kinds in _FIELDS.items())
    return found if whole else {}


def object_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a small JSON file; {} where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def cause_of_failure(run_dir: str, since: float) -> str | None:
    """One line that names the node because of which a run has failed, and its log.

    Args:
      run_dir: of the run, in which nothing runs any more.
      since: s since 1970, start of this life.

    Returns:
      None when no record says so.
    """
    records: list[dict[str, Any]] = []
    for folder, _, files in os.walk(os.path.join(run_dir, "logs")):
        paths = (os.path.join(folder, name) for name in files if name.endswith(SUFFIX))
        records += [found for found in map(read, paths) if found.get("time", 0.0) >= since]
    failed = [record for record in records if record.get("failed")]
    if failed:
        return sentence(min(failed, key=lambda record: record["time"]))
    killed = [record for record in records if record.get("state") == "running"]
    return "; ".join(map(sentence, killed)) or None


def sentence(record: Mapping[str, Any]) -> str:
    """What a record says, in one line."""
    name, restarts, log = f"{record['role']} {record['index']}", record["restarts"], record["log"]
    if record["state"] == "running":
        return f"{name}: its supervisor was killed (log: {log})"
    tries = f" after {restarts} restarts" if restarts else ""
    given = f"{record['cause']}{f'; abandoned{tries}' if tries else ''}"
    why = given if record["cause"] else f"{ending(record['code'])}{tries}"
    return f"{name}: {why} (log: {log})"
