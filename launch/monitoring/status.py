"""Where a run is, from its files alone: running, finished and copied run directories, half-written
files. Imports neither JAX nor TensorFlow nor Launchpad, and reads only the tail of each file,
however long the run.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.monitoring import status_evaluations as evaluated
from launch.monitoring import status_parts as parts
from launch.monitoring.status_parts import Record, number
from optimus.errors import UserError
from optimus.rundir import metrics

MAX_AGE = 120.0  # s, age from which the newest checkpoint of a running run is too old
_LOST = 30.0  # s without a record of anybody: the run is probably dead
_TAIL, _SHORT_TAIL = 256 * 1024, 8192  # bytes read of the learner's file, of any other
_LONGEST_CONFIG = 4 << 20  # bytes; more is no config.json
ACTIVE = ("running", "lost")
_NOW = ("quarantined", "workers", "open")  # in a pool's counts: how many now, not since the start


class NotARun(UserError, ValueError):
    """The path is no run directory; the message is one line."""

    exit_code = 2


class MonitoringError(UserError, RuntimeError):
    """A run cannot be watched or served; the message is one line."""


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
    work: dict[str, dict[str, float]]  # role -> {"busy": how many, "share": of their time}
    time_shares: dict[str, float]  # see `status_parts.time_shares`
    calls: dict[str, int]  # of the actors' loss pools, by outcome and event, since they started
    quarantined: int | None  # workers that a pool leaves alone now; None: nobody says
    scores: list[dict[str, Any]]  # newest evaluations: step, score; lower is better
    score_of: str | None  # "tasks": mean meta-loss; "classical": mean log10 gap
    best_step: int | None  # what checkpoints/BEST names
    best_score: float | None
    evaluations_failed: int
    evaluations_skipped: int  # checkpoints passed over because the evaluator was behind
    comparison: dict[str, float] | None  # start against end: start, end, difference, low, high
    records_lost: int  # metrics records that a full disk refused


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
    config = read_config(run_dir)
    files = {path.stem: _records(path) for path in sorted(run_dir.glob("metrics/*.jsonl"))}
    learner, launcher = files.get("learner-0", []), files.get("launcher-0", [])
    age = min((now - records[-1]["time"] for records in files.values() if records), default=None)
    age = None if age is None else max(0.0, age)
    task = _task(config)

    # The launcher's word counts; without it (one node of a fleet, an old run) the learner's.
    started = parts.last(launcher, "started")
    life = parts.this_life(learner, "learner_started")
    opened = life[0].get("time", 0.0) if life and life[0]["event"] == "learner_started" else 0.0
    begun = max(started.get("time", 0.0), opened)  # of this life
    end = parts.last(launcher, "started", "ended") or (learner[-1] if learner else {})
    state = "lost" if age is not None and age > _LOST else "running"
    if not end:
        state = "never started"
    elif end["event"] in ("ended", "finished", "stopped"):
        state = str(end.get("state", end["event"]))
    active = state in ACTIVE

    validated = parts.last(learner, "validation")
    validation_step = number(validated, "step")
    updates = [r for r in learner if r["event"] == "update" and number(r, "step") is not None]
    newest: Record = updates[-1] if updates else {}
    mine = [r for r in life if r["event"] == "update" and r["time"] >= started.get("time", 0.0)]
    recent, span = parts.recent(mine, now if active else None)
    saved_step, saved_time = evaluated.newest_checkpoint(run_dir, learner)
    judged = evaluated.read(run_dir)
    wanted = number(config, "updates") or number(newest, "updates")
    step = int(number(newest, "step") or saved_step or 0)
    speed = parts.rate(recent, "step", span)
    busy = sum(number(r, "seconds") or 0.0 for r in recent)
    work = {
        "physics_worker": parts.work(files, "physics_worker", "loss_seconds"),
        "evaluator": parts.work(files, "evaluator", "busy_seconds"),
    }
    pools = _newest(files, "actor")
    waits = [parts.whole(r["pool"], "quarantined") for r in pools if _says(r, "quarantined")]
    return Status(
        run_dir=str(run_dir),
        name=str(config.get("name", run_dir.resolve().name)),
        task=task,
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
        meta_loss=number(newest, "meta_loss"),
        meta_loss_tail=[x for x in (number(r, "meta_loss") for r in updates) if x is not None],
        validation=number(validated, "gap"),
        validation_step=None if validation_step is None else int(validation_step),
        evaluations=parts.whole(newest, "evaluations"),
        evaluations_per_second=parts.rate(recent, "evaluations", span),
        roles=parts.roles(config, files, now if active else math.inf, task.startswith("physics")),
        checkpoint_step=saved_step,
        checkpoint_age=None if saved_time is None else max(0.0, now - saved_time),
        max_age=max_age,
        stale=active and now - max(saved_time or 0.0, begun) > max_age,
        staleness_max=max((parts.whole(r, "staleness") for r in recent), default=None),
        waiting_share=sum(number(r, "waiting") or 0.0 for r in recent) / busy if busy else None,
        refused=parts.counts(newest, "refused"),
        failed=parts.whole(newest, "failed"),
        replies=_summed(_newest(files, "physics_worker"), "statuses"),
        work={role: found for role, found in work.items() if found and active},
        time_shares=parts.time_shares(recent, span, files) if active else {},
        calls=_summed(pools, "pool"),
        quarantined=sum(waits) if waits and active else None,
        scores=judged.scores,
        score_of=judged.score_of,
        best_step=judged.best_step,
        best_score=judged.best_score,
        evaluations_failed=judged.failed,
        evaluations_skipped=judged.skipped,
        comparison=judged.comparison,
        records_lost=sum(parts.whole(r, "lost") for records in files.values() for r in records),
    )


def read_config(run_dir: Path) -> dict[str, Any]:
    """`config.json` as it is, of whatever version; {} where it cannot be read."""
    try:
        with open(run_dir / "config.json", encoding="utf-8") as file:
            config = json.loads(file.read(_LONGEST_CONFIG))
    except (OSError, ValueError, RecursionError):
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
    return [r for r in found if isinstance(r.get("event"), str) and number(r, "time") is not None]


def _newest(files: dict[str, list[dict[str, Any]]], role: str) -> list[dict[str, Any]]:
    """The last record of every process of a role."""
    return [r[-1] for stem, r in files.items() if stem.startswith(f"{role}-") and r]


def _summed(records: list[dict[str, Any]], key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(parts.counts(record, key))
    for name in _NOW:
        total.pop(name, None)
    return dict(total)


def _says(record: Record, key: str) -> bool:
    pool = record.get("pool")
    return isinstance(pool, dict) and number(pool, key) is not None
