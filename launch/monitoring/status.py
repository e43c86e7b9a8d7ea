"""Where a run is, from its files alone: running, finished and copied run directories, half-written
files. Imports neither JAX nor TensorFlow nor Launchpad, and reads only the tail of each file,
however long the run.
"""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.evaluation.records import FILE, KIND, judged, of_newest_protocol, score_of, understood
from launch.monitoring import readings
from launch.monitoring.readings import Files, Record, number
from optimus.errors import UserError
from optimus.rundir import checkpoint, metrics
from optimus.rundir.metrics import Damaged

MAX_AGE = 120.0  # s, age from which the newest checkpoint of a running run is too old
_LOST = 30.0  # s without a record of anybody: the run is probably dead
_TAIL = 256 * 1024  # bytes read of eval.jsonl
_SCORES = 50  # newest ones that are kept
ACTIVE = ("running", "lost")
_BUSY = {"physics_worker": "loss_seconds", "evaluator": "busy_seconds"}  # s of work, by role
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
    refused_calls: dict[str, int]  # of the head by others, by reason, since it started
    failed: int  # samples of lanes whose loss failed, since the learner started
    replies: dict[str, int]  # of physics workers, by status ("ok", "busy", "nonfinite", ...)
    work: dict[str, dict[str, float]]  # role -> {"busy": how many, "share": of their time}
    time_shares: dict[str, float]  # see `readings.time_shares`
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
    lines_damaged: dict[str, int]  # by file: lines that were passed over, of those that are read


def read_status(run_dir: Path, now: float | None = None, max_age: float = MAX_AGE) -> Status:
    """Reads a run directory; raises `NotARun`.

    Args:
      run_dir: the run's directory.
      now: seconds since 1970 that count as now.
      max_age: s, see `Status.stale`.
    """
    now = time.time() if now is None else now
    _require_run(run_dir)
    config, damaged = readings.read_config(run_dir), Damaged()
    files = readings.read_files(run_dir, damaged)
    task = readings.task_of(config)
    life, began = _life(files, now)
    state, active = life["state"], life["state"] in ACTIVE
    learner = files.get("learner-0", [])
    updates = [r for r in learner if r["event"] == "update"]
    update: Record = updates[-1] if updates else {}
    recent, seconds = _recent(files, now if active else None)
    saved, saved_at = _newest_checkpoint(run_dir / "checkpoints", learner)
    step = readings.whole(update, "step") or saved or 0
    wanted = readings.whole(config, "updates") or readings.whole(update, "updates") or None
    speed = readings.rate(recent, "step", seconds)
    left = max(0, wanted - step) / speed if wanted and speed and state == "running" else None
    losses = [number(record, "meta_loss") for record in updates]
    course = [r for r in learner if saved is None or readings.whole(r, "step") <= saved]
    validated = readings.last(course, "validation")
    pools = readings.newest(files, "actor")
    alive_at = now if active else math.inf
    lost = sum(readings.whole(r, "lost") for found in files.values() for r in found)
    return Status(
        run_dir=str(run_dir),
        name=str(config.get("name", run_dir.resolve().name)),
        task=task,
        **life,
        step=step,
        updates=wanted,
        updates_per_second=speed,
        eta_seconds=left,
        meta_loss=number(update, "meta_loss"),
        meta_loss_tail=[loss for loss in losses if loss is not None],
        validation=number(validated, "gap"),
        validation_step=readings.whole(validated, "step") if validated else None,
        evaluations=readings.whole(update, "evaluations"),
        evaluations_per_second=readings.rate(recent, "evaluations", seconds),
        roles=readings.roles(config, files, alive_at, task.startswith("physics")),
        checkpoint_step=saved,
        checkpoint_age=None if saved_at is None else readings.age(now, saved_at),
        max_age=max_age,
        stale=active and min(readings.age(now, t) for t in (saved_at or 0.0, began)) > max_age,
        staleness_max=max((readings.whole(r, "staleness") for r in recent), default=None),
        waiting_share=_waiting_share(recent),
        refused=readings.counts(update, "refused"),
        refused_calls=_refused_calls(readings.newest(files, "coordinator"), update),
        failed=readings.whole(update, "failed"),
        replies=_summed(readings.newest(files, "physics_worker"), "statuses"),
        work=_work(files) if active else {},
        time_shares=readings.time_shares(recent, seconds, files) if active else {},
        calls=_summed(pools, "pool"),
        quarantined=_quarantined(pools) if active else None,
        records_lost=lost + readings.whole(update, "ledger_lost"),
        **_evaluations(run_dir, damaged),
        lines_damaged=dict(damaged),
    )


def _require_run(run_dir: Path) -> None:
    if not run_dir.is_dir():
        raise NotARun(f"{run_dir}: no such directory; want the --run-dir of an optimus train")
    if not (run_dir / "config.json").is_file() and not (run_dir / "metrics").is_dir():
        raise NotARun(f"{run_dir} is not a run directory: it holds no config.json and no metrics/")


# -- state and progress ----------------------------------------------------------------------------


def _life(files: Files, now: float) -> tuple[dict[str, Any], float]:
    """(fields of `Status`, s since 1970 when it began) of the newest life of a run: from a start to
    an end, or until now. The launcher's word counts; without it (one node of a fleet, an old run)
    the learner's."""
    learner, launcher = files.get("learner-0", []), files.get("launcher-0", [])
    started = readings.last(launcher, "started")
    opened = readings.last(learner, "learner_started")
    end = readings.last(launcher, "started", "ended") or (learner[-1] if learner else {})
    ages = [readings.age(now, records[-1]["time"]) for records in files.values() if records]
    age = min(ages, default=None)
    if not end:
        state = "never started"
    elif end["event"] in ("ended", "finished", "stopped"):
        state = str(end.get("state", end["event"]))
    else:
        state = "lost" if age is not None and age > _LOST else "running"
    launch = str(started["launch"]) if "launch" in started else None
    life = {"launch": launch, "state": state, "cause": str(end.get("cause", ""))}
    began = max(started.get("time", 0.0), opened.get("time", 0.0))
    return {**life, "last_record_age": age}, began


def _recent(files: Files, now: float | None) -> tuple[list[dict[str, Any]], float]:
    """`readings.recent` of the updates of this life."""
    mine = readings.this_life(files.get("learner-0", []), "learner_started")
    started = readings.last(files.get("launcher-0", []), "started").get("time", 0.0)
    mine = [r for r in mine if r["event"] == "update" and r["time"] >= started]
    return readings.recent(mine, now)


# -- work and calls --------------------------------------------------------------------------------


def _waiting_share(recent: Sequence[Record]) -> float | None:
    seconds = sum(number(r, "seconds") or 0.0 for r in recent)
    waiting = sum(number(r, "waiting") or 0.0 for r in recent)
    return min(1.0, waiting / seconds) if seconds else None


def _work(files: Files) -> dict[str, dict[str, float]]:
    work = {role: readings.work(files, role, key) for role, key in _BUSY.items()}
    return {role: found for role, found in work.items() if found}


def _summed(records: Sequence[Record], key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(readings.counts(record, key))
    for name in _NOW:
        total.pop(name, None)
    return dict(total)


def _refused_calls(coordinators: Sequence[Record], update: Record) -> dict[str, int]:
    learners = readings.counts(update, "refused_calls")
    return dict(Counter(_summed(coordinators, "reasons")) + Counter(learners))


def _quarantined(pools: Sequence[Record]) -> int | None:
    found = [readings.mapping(record, "pool") for record in pools]
    known = [readings.whole(pool, "quarantined") for pool in found if "quarantined" in pool]
    return sum(known) if known else None


# -- checkpoints and evaluations -------------------------------------------------------------------


def _newest_checkpoint(folder: Path, learner: Sequence[Record]) -> tuple[int | None, float | None]:
    """(step, s since 1970 when it was written) of the checkpoint to resume from."""
    step = None
    with contextlib.suppress(OSError):
        step = checkpoint.latest_step(folder)
    if step is None:
        return None, None
    for record in reversed(learner):  # the event outlives copying, a file's time may not
        if record["event"] == "checkpoint" and record.get("step") == step:
            return step, record["time"]
    with contextlib.suppress(checkpoint.CheckpointError):
        written = readings.clock(checkpoint.read_manifest(folder / str(step)), "time")
        if written is not None:
            return step, written
    with contextlib.suppress(OSError):
        return step, (folder / str(step) / checkpoint.MANIFEST).stat().st_mtime
    return step, None


def _evaluations(run_dir: Path, damaged: Damaged) -> dict[str, Any]:
    """What `eval.jsonl` and `BEST` say, as fields of `Status`; foreign lines are passed over.

    Only evaluations of the newest protocol count, and of the scores the finite ones.
    """
    records: list[dict[str, Any]] = []
    with contextlib.suppress(OSError):
        records = metrics.tail(run_dir / FILE, _TAIL, damaged, readings.sound_evaluation)
    mine = of_newest_protocol(r for r in records if r.get("kind") == KIND and understood(r))
    of_step = {step: score_of(r) for step, r in judged(run_dir, mine).items()}
    finite = [{"step": step, "score": score} for step, score in of_step.items() if score < math.inf]
    best = checkpoint.best_step(run_dir / "checkpoints")
    best_score = of_step.get(best, math.inf) if best is not None else math.inf
    skipped = [r["skipped"] for r in mine if isinstance(r.get("skipped"), list)]
    return {
        "scores": finite[-_SCORES:],
        "score_of": next((str(r["score_of"]) for r in reversed(mine) if "score_of" in r), None),
        "best_step": best,
        "best_score": best_score if best_score < math.inf else None,
        "evaluations_failed": sum("error" in r for r in mine),
        "evaluations_skipped": sum(map(len, skipped)),
        "comparison": _comparison(run_dir, records),
    }


def _comparison(run_dir: Path, records: list[dict[str, Any]]) -> dict[str, float] | None:
    of_step = [r for r in records if "kind" not in r and isinstance(r.get("step"), int)]
    for record in reversed(judged(run_dir, of_step).values()):
        found = readings.numbers({"compared": record}, "compared")
        if found.keys() >= set(readings.COMPARED):
            return {key: found[key] for key in readings.COMPARED}
    return None
