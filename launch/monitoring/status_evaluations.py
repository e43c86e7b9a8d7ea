"""What a run's checkpoints are worth, from its files: part of `launch.monitoring.status`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.evaluation import records as evaluate_records
from launch.monitoring.status_parts import Record, number
from optimus.rundir import checkpoint, metrics

_TAIL = 256 * 1024  # bytes read of eval.jsonl
_SHOWN = 50


@dataclass(frozen=True)
class Evaluations:
    """Newest evaluations of one protocol, and the comparison of start and end, where there are."""

    scores: list[dict[str, Any]] = field(default_factory=list)  # step, score: finite, newest last
    score_of: str | None = None  # "tasks" (mean meta-loss) or "classical" (mean log10 gap)
    failed: int = 0  # of those read
    skipped: int = 0
    best_step: int | None = None  # what BEST names
    best_score: float | None = None
    comparison: dict[str, float] | None = None  # start, end, low, high, tasks of the newest


def read(run_dir: Path) -> Evaluations:
    """Reads `eval.jsonl` and `BEST`; foreign lines are passed over."""
    try:
        records = metrics.tail(run_dir / evaluate_records.FILE, _TAIL)
    except OSError:
        records = []
    judged = [
        r
        for r in records
        if r.get("kind") == evaluate_records.KIND and isinstance(r.get("step"), int)
    ]
    protocol = judged[-1].get("protocol") if judged else None
    mine = [record for record in judged if record.get("protocol") == protocol]
    of_step = {r["step"]: evaluate_records.score_of(r) for r in mine}
    finite = [{"step": step, "score": score} for step, score in of_step.items() if score < math.inf]
    best = checkpoint.best_step(run_dir / "checkpoints")
    best_score = of_step.get(best, math.inf) if best is not None else math.inf
    return Evaluations(
        scores=finite[-_SHOWN:],
        score_of=next((str(r["score_of"]) for r in reversed(mine) if "score_of" in r), None),
        failed=sum("error" in r for r in mine),
        skipped=sum(len(r["skipped"]) for r in mine if isinstance(r.get("skipped"), list)),
        best_step=best,
        best_score=best_score if best_score < math.inf else None,
        comparison=_comparison(records),
    )


def _comparison(records: list[dict[str, Any]]) -> dict[str, float] | None:
    wanted = ("start", "end", "difference", "low", "high", "tasks")
    for record in reversed(records):
        found = {key: number(record, key) for key in wanted}
        if "kind" not in record and None not in found.values():
            return {key: value for key, value in found.items() if value is not None}
    return None


def newest_checkpoint(
    run_dir: Path, learner: list[dict[str, Any]]
) -> tuple[int | None, float | None]:
    """Step and time (s since 1970) of the checkpoint to resume from."""
    folder = run_dir / "checkpoints"
    try:
        step = checkpoint.latest_step(folder)
    except OSError:
        return None, None
    if step is None:
        return None, None
    for record in reversed(learner):  # the event outlives copying, a file's time may not
        if record["event"] == "checkpoint" and record.get("step") == step:
            return step, record["time"]
    try:
        manifest: Record = checkpoint.read_manifest(folder / str(step))
    except checkpoint.CheckpointError:
        manifest = {}
    written = number(manifest, "time")
    if written is not None:
        return step, written
    try:
        return step, (folder / str(step) / checkpoint.MANIFEST).stat().st_mtime
    except OSError:
        return step, None
