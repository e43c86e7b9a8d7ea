"""`eval.jsonl` of a run: what the evaluator and `optimus eval` found, and which checkpoint is best.

One JSON object a line. Those of kind "evaluation" are written here; other kinds, and lines of
before there were kinds, belong to others and are left alone. A line is of the weights whose sha256
it has: after a run went back, other weights may be those of its step.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from optimus.rundir import checkpoint
from optimus.rundir.metrics import finite, is_number, is_step, read

FILE, KIND, FORMAT = "eval.jsonl", "evaluation", 1
_ROUNDED = 1.0  # s by which a line may seem older than what it is of
Record = Mapping[str, Any]


def evaluations(run_dir: Path, protocol: str | None = None) -> list[dict[str, Any]]:
    """Records of kind "evaluation" that this version understands, in the order of the file; of one
    protocol, or all."""
    try:
        found = [r for r in read(run_dir / FILE) if r.get("kind") == KIND and understood(r)]
    except OSError:
        return []
    return [r for r in found if protocol is None or r.get("protocol") == protocol]


def of_newest_protocol(lines: Iterable[Record]) -> list[Record]:
    """Those of the protocol of the last: scores of different protocols do not compare."""
    known = list(lines)
    return [r for r in known if r.get("protocol") == known[-1].get("protocol")]


def understood(record: Record) -> bool:
    """Whether an evaluation has a step and is of a format that this version reads."""
    step, version = record.get("step"), record.get("format")
    return is_step(step) and isinstance(version, int) and version <= FORMAT


def is_of(record: Record, path: Path) -> bool:
    """Whether a line is of the checkpoint at `path`, or was of one that was pruned there. Lines of
    before they had a sha256 count unless the checkpoint is younger."""
    if not path.is_dir():
        return True
    try:
        manifest = checkpoint.read_manifest(path)
    except checkpoint.CheckpointError:
        manifest = {}
    if "sha256" in record:
        return bool(record["sha256"] == manifest.get("sha256"))
    try:
        return bool(record["time"] >= manifest["time"] - _ROUNDED)
    except (KeyError, TypeError):
        return True


def judged(run_dir: Path, lines: Iterable[Record]) -> dict[int, Record]:
    """Step -> its newest line that is of its checkpoint, by step; what lies past `LATEST` is of a
    course that was left."""
    folder = run_dir / "checkpoints"
    newest, found = checkpoint.pointed(folder, checkpoint.LATEST), {}
    for record in lines:
        step = record["step"]
        if (newest is None or step <= newest) and is_of(record, folder / str(step)):
            found[step] = record
    return {step: found[step] for step in sorted(found)}


def validations(run_dir: Path) -> list[dict[str, Any]]:
    """A fused run's records of its validations by step, of the course that it is on: a step that
    is validated again ends the course that had come to it before."""
    path = run_dir / "metrics" / "learner-0.jsonl"
    course: list[dict[str, Any]] = []
    for record in read(path) if path.exists() else ():
        whole = is_step(record.get("step")) and is_number(record.get("gap"))
        if record.get("event") == "validation" and whole:
            while course and course[-1]["step"] >= record["step"]:
                course.pop()
            course.append(record)
    newest = checkpoint.latest_step(run_dir / "checkpoints")
    return [record for record in course if newest is None or record["step"] <= newest]


def score_of(record: Record) -> float:
    """Its score, lower is better; infinite for a failed evaluation."""
    score = record.get("score")
    if isinstance(score, (int, float)) and is_number(score) and math.isfinite(score):
        return float(score)
    return math.inf


def append(run_dir: Path, record: Record) -> None:
    """Adds a line of kind "evaluation", as `add` does."""
    add(run_dir, {"kind": KIND, "format": FORMAT, **record})


def add(run_dir: Path, record: Record) -> None:
    """Adds a line, synced; half a line that a killed process left is closed first."""
    line = (json.dumps(finite(dict(record))) + "\n").encode()
    with open(run_dir / FILE, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def best(lines: Iterable[Record]) -> Record | None:
    """The record of the lowest score, the newest record of each step counting; None without a
    finite one. Scores of different protocols do not compare: that of the last line counts."""
    of_step = {r["step"]: r for r in of_newest_protocol(lines)}
    finite_ones = [r for r in of_step.values() if score_of(r) < math.inf]
    return min(finite_ones, key=lambda r: (score_of(r), r["step"]), default=None)


def move_best(run_dir: Path, protocol: str) -> int | None:
    """Points `BEST` at the best evaluated checkpoint that is still there; its step, or None.

    A fused run chooses its own best by validation: its `BEST` is left alone.
    """
    folder = run_dir / "checkpoints"
    mine = judged(run_dir, evaluations(run_dir, protocol))
    found = best(mine[step] for step in checkpoint.steps(folder) if step in mine)
    if found is None or _fused(folder / str(found["step"])):
        return None
    step = int(found["step"])
    if checkpoint.best_step(folder) != step:
        checkpoint.mark_best(folder, step)
    return step


def _fused(path: Path) -> bool:
    try:
        return bool(checkpoint.read_manifest(path).get("launch") == "fused")
    except checkpoint.CheckpointError:
        return False
