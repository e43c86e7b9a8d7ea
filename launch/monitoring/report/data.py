"""What the report is made of, read from the run directory with bounded memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.evaluation import records
from launch.monitoring.readings import clock, count, number, read_config, sound
from launch.monitoring.status import Status, read_status
from launch.monitoring.watch import damage
from optimus.rundir import checkpoint, metrics

MOST = 1000  # points of a curve
_SHOWN = 30  # checkpoints in the table


@dataclass(frozen=True)
class Collected:
    """Numbers of one run.

    Attributes:
      status: where it is. config: as written, any version. updates: at most `MOST` update records.
      judged: newest evaluations of the newest protocol, by step. manifest: of the newest readable
        checkpoint, {} without any. checkpoints: (step, bytes, time s since 1970) of each folder.
      problems: what could not be read, a line each.
    """

    status: Status
    config: dict[str, Any]
    updates: list[dict[str, Any]]
    judged: list[dict[str, Any]]
    manifest: dict[str, Any]
    checkpoints: list[tuple[int, int | None, float | None]]
    problems: list[str]

    def curve(self, key: str) -> list[tuple[float, float]]:
        """(update, value) of a field of the update records."""
        points = ((number(r, "step"), number(r, key)) for r in self.updates)
        return [(x, y) for x, y in points if x is not None and y is not None]


def collect(run_dir: Path) -> Collected:
    """Reads a run; raises `NotARun`."""
    status = read_status(run_dir)
    lost = status.lines_damaged
    problems = [f"damaged lines: {damage(lost)}"] if lost else []
    updates: list[dict[str, Any]] = []
    try:
        updates = metrics.thinned(run_dir / "metrics" / "learner-0.jsonl", "update", MOST)
    except OSError as error:
        problems.append(f"no updates: {error.strerror}: {error.filename}")
    # A step that was made again after a restart counts as it was made last.
    of_step = {record["step"]: record for record in updates if sound(record)}
    found = records.of_newest_protocol(records.evaluations(run_dir))
    judged = records.judged(run_dir, found)
    manifest: dict[str, Any] = {}
    rows: list[tuple[int, int | None, float | None]] = []
    folder = run_dir / "checkpoints"
    for step in checkpoint.steps(folder):
        says: dict[str, Any] = {}
        try:
            says = manifest = checkpoint.read_manifest(folder / str(step))
        except checkpoint.CheckpointError as error:
            problems.append(str(error))
        rows.append((step, count(says, "bytes"), clock(says, "time")))
    return Collected(
        status=status,
        config=read_config(run_dir),
        updates=[of_step[step] for step in sorted(of_step)],
        judged=[dict(record) for record in judged.values()],
        manifest=manifest,
        checkpoints=rows[-_SHOWN:],
        problems=problems,
    )
