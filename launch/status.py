"""Where a run is, from its files alone: running, finished and copied run directories, half-written
files. Imports neither JAX nor TensorFlow nor Launchpad, and reads only the tail of each file,
however long the run.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimus import checkpoint, metrics

MAX_AGE = 120.0  # s, age from which the newest checkpoint of a running run is too old
_LOST = 30.0  # s without a record of anybody: the run is probably dead
_ALIVE = 10.0  # s since its newest record: a worker or actor counts as alive
_RECENT = 60.0  # s that rates and shares are taken over
_TAIL, _SHORT_TAIL = 256 * 1024, 8192  # bytes read of the learner's file, of any other
ACTIVE = ("running", "lost")

Record = Mapping[str, Any]


class NotARun(ValueError):
    """The path is no run directory; the message is one line."""


@dataclass(frozen=True)
class Status:
    """What a run's files say; these are the keys of `--json`. None: not known (yet)."""

    run_dir: str
    name: str
    task: str  # for example "analytic quadratic"
    launch: str | None  # inprocess, local_mt, local_mp
    state: str  # running, lost (no record for 30 s), finished, stopped, failed, never started
    cause: str  # of a failure, else ""
    last_record_age: float | None  # s, over all files
    step: int  # updates done
    updates: int | None  # updates wanted
    updates_per_second: float | None  # over the last 60 s of updates, like all rates and shares
    eta_seconds: float | None  # while running
    meta_loss: float | None  # of the newest update; None also when it is not finite
    meta_loss_tail: list[float]  # finite ones of the newest few hundred updates, in order
    validation: float | None  # of fused runs: mean log10 gap on validation tasks, newest
    validation_step: int | None
    evaluations: int  # loss evaluations in accepted samples
    evaluations_per_second: float | None
    roles: dict[str, dict[str, int]]  # role -> {"alive": ..., "total": ...}
    checkpoint_step: int | None
    checkpoint_age: float | None  # s
    max_age: float  # s
    stale: bool  # running or lost, and no checkpoint for more than max_age: exit code 3
    staleness_max: int | None  # updates
    waiting_share: float | None  # of the learner's time, 0 ... 1
    refused: dict[str, int]  # samples, by reason, since the learner started
    failed: int  # samples of lanes whose loss failed, since the learner started
    replies: dict[str, int]  # of physics workers, by status ("ok", "busy", "nonfinite", ...)


def read_status(run_dir: Path, now: float | None = None, max_age: float = MAX_AGE) -> Status:
    """Reads a run directory; raises `NotARun`.

    Args:
      run_dir: the run's directory.
      now: seconds since 1970 that count as now.
      max_age: s, see `Status.stale`.
    """
    now = time.time() if now is None else now
    if not run_dir.is_dir():
        raise NotARun(f"{run_dir}: no such directory; want the --run-dir of an optimus train")
    if not (run_dir / "config.json").is_file() and not (run_dir / "metrics").is_dir():
        raise NotARun(f"{run_dir} is not a run directory: it holds no config.json and no metrics/")
    config = _read_config(run_dir)
    files = {path.stem: _records(path) for path in sorted(run_dir.glob("metrics/*.jsonl"))}
    learner, launcher = files.get("learner-0", []), files.get("launcher-0", [])
    age = min((now - records[-1]["time"] for records in files.values() if records), default=None)
    age = None if age is None else max(0.0, age)

    # The launcher's word counts; without it (one node of a fleet, an old run) the learner's.
    started, learner_started = _last(launcher, "started"), _last(learner, "learner_started")
    begun = max(started.get("time", 0.0), learner_started.get("time", 0.0))  # of this life
    end = _last(launcher, "started", "ended") or (learner[-1] if learner else {})
    state = "lost" if age is not None and age > _LOST else "running"
    if not end:
        state = "never started"
    elif end["event"] in ("ended", "finished", "stopped"):
        state = str(end.get("state", end["event"]))
    active = state in ACTIVE

    validated = _last(learner, "validation") or {}
    validation_step = _number(validated, "step")
    updates = [r for r in learner if r["event"] == "update" and _number(r, "step") is not None]
    newest: Record = updates[-1] if updates else {}
    recent, span = _recent([r for r in updates if r["time"] >= begun], now if active else None)
    saved_step, saved_time = _checkpoint(run_dir, learner)
    wanted = _number(config, "updates") or _number(newest, "updates")
    step = int(_number(newest, "step") or saved_step or 0)
    speed = _rate(recent, "step", span)
    busy = sum(_number(r, "seconds") or 0.0 for r in recent)
    replies: Counter[str] = Counter()
    for stem, records in files.items():
        if stem.startswith("physics_worker-") and records:
            replies.update(_counts(records[-1], "statuses"))
    return Status(
        run_dir=str(run_dir),
        name=str(config.get("name", run_dir.resolve().name)),
        task=_task(config),
        launch=str(started["launch"]) if "launch" in started else None,
        state=state,
        cause=str(end.get("cause", "")),
        last_record_age=age,
        step=step,
        updates=None if wanted is None else int(wanted),
        updates_per_second=speed,
        eta_seconds=max(0.0, wanted - step) / speed
        if state == "running" and wanted and speed
        else None,
        meta_loss=_number(newest, "meta_loss"),
        meta_loss_tail=[x for x in (_number(r, "meta_loss") for r in updates) if x is not None],
        validation=_number(validated, "gap"),
        validation_step=None if validation_step is None else int(validation_step),
        evaluations=int(_number(newest, "evaluations") or 0),
        evaluations_per_second=_rate(recent, "evaluations", span),
        roles=_roles(config, files, now if active else math.inf),
        checkpoint_step=saved_step,
        checkpoint_age=None if saved_time is None else max(0.0, now - saved_time),
        max_age=max_age,
        stale=active and now - max(saved_time or 0.0, begun) > max_age,
        staleness_max=max((int(_number(r, "staleness") or 0) for r in recent), default=None),
        waiting_share=sum(_number(r, "waiting") or 0.0 for r in recent) / busy if busy else None,
        refused=_counts(newest, "refused"),
        failed=int(_number(newest, "failed") or 0),
        replies=dict(replies),
    )


def _read_config(run_dir: Path) -> dict[str, Any]:
    try:
        config = json.loads((run_dir / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _task(config: Record) -> str:
    task = config.get("task")
    if not isinstance(task, dict):
        return "unknown task"
    return " ".join(str(task[k]) for k in ("kind", "family", "split") if k in task)


def _records(path: Path) -> list[dict[str, Any]]:
    """The newest records that have an event and a time."""
    try:
        found = metrics.tail(path, _TAIL if path.stem == "learner-0" else _SHORT_TAIL)
    except OSError:
        return []
    return [r for r in found if "event" in r and _number(r, "time") is not None]


def _last(records: list[dict[str, Any]], *events: str) -> dict[str, Any]:
    return next((record for record in reversed(records) if record["event"] in events), {})


def _number(record: Record, key: str) -> float | None:
    """A finite number, or None: what is not finite is written as a string."""
    value = record.get(key)
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _counts(record: Record, key: str) -> dict[str, int]:
    value = record.get(key)
    return {k: v for k, v in value.items() if isinstance(v, int)} if isinstance(value, dict) else {}


def _recent(updates: list[dict[str, Any]], now: float | None) -> tuple[list[dict[str, Any]], float]:
    """Updates within 60 s of the newest (two at least, where there are), and the s they took.

    When nothing new has come for long until `now`, that counts too, so that rates sink.
    """
    if len(updates) < 2:
        return updates, 0.0
    newest = updates[-1]["time"]
    recent = [r for r in updates if r["time"] >= newest - _RECENT]
    recent = recent if len(recent) > 1 else updates[-2:]
    end = now if now is not None and now - newest > _RECENT else newest
    return recent, end - recent[0]["time"]


def _rate(recent: list[dict[str, Any]], key: str, seconds: float) -> float | None:
    if len(recent) < 2 or seconds <= 0:
        return None
    first, last = _number(recent[0], key), _number(recent[-1], key)
    return None if first is None or last is None else (last - first) / seconds


def _roles(
    config: Record, files: Mapping[str, list[dict[str, Any]]], now: float
) -> dict[str, dict[str, int]]:
    layout = config.get("layout")
    layout = layout if isinstance(layout, dict) else {}
    served = _task(config).startswith("physics")
    total = {"actor": _number(layout, "actors") or 0}
    total["physics_worker"] = (_number(layout, "workers") or 0) if served else 0
    seen: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    for stem, records in files.items():
        role = stem.rpartition("-")[0]
        if role not in ("learner", "launcher"):
            seen[role] += 1
            alive[role] += bool(records) and now - records[-1]["time"] < _ALIVE
    return {
        role: {"alive": alive[role], "total": max(int(total.get(role, 0)), seen[role])}
        for role in sorted(total.keys() | seen.keys())
        if total.get(role) or seen[role]
    }


def _checkpoint(run_dir: Path, learner: list[dict[str, Any]]) -> tuple[int | None, float | None]:
    """Step and time (s since 1970) of the newest checkpoint that is there."""
    folder = run_dir / "checkpoints"
    steps = checkpoint.steps(folder)
    for record in reversed(learner):  # the event outlives copying, a file's time may not
        if record["event"] == "checkpoint" and record.get("step") in steps:
            return record["step"], record["time"]
    try:
        return steps[-1], (folder / str(steps[-1]) / checkpoint.MANIFEST).stat().st_mtime
    except (IndexError, OSError):
        return None, None
