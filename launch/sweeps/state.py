"""What the directory of a sweep's cell says: whether it is finished, and what it cost."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from launch import alongside
from launch.monitoring.readings import number
from launch.sweeps import Cell
from optimus import rundir
from optimus.config import config_hash
from optimus.rundir import checkpoint, metrics

COMPUTE = "compute.jsonl"  # processor time of each life of a cell, s
_EVERY = 10.0  # s between records: what a killed process loses at most


def finished(cell: Cell) -> bool:
    """Whether the cell's directory holds exactly this run, done.

    Raises:
      RunDirError: it holds more updates than the budget allows now.
    """
    path = cell.run_dir / rundir.CONFIG
    if not path.exists():
        return False
    done = checkpoint.latest_step(cell.run_dir / "checkpoints") or 0
    if done > cell.config.updates:
        budget = f"the sweep's budget is {cell.config.updates}; use another --out"
        raise rundir.RunDirError(f"{cell.run_dir} has {done} updates, {budget}")
    same = config_hash(rundir.load_config(path)) == config_hash(cell.config)
    return same and done == cell.config.updates


@contextmanager
def timed(run_dir: Path) -> Iterator[None]:
    """Records this process's processor time while the block runs; not where another runs it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    began, life = time.process_time(), time.time_ns()

    def record() -> None:
        spent = round(time.process_time() - began, 3)
        with open(run_dir / COMPUTE, "a", encoding="utf-8") as file:
            file.write(json.dumps({"life": life, "core_seconds": spent}) + "\n")

    def keep_recording(wait: Callable[[float], bool]) -> None:
        while not wait(_EVERY):
            record()

    mine = True
    try:
        with alongside(keep_recording):
            yield
    except rundir.RunDirError:
        mine = False
        raise
    finally:
        if mine:
            record()


def core_seconds(run_dir: Path) -> float:
    """Processor seconds of all lives of a cell, compilation and validation included."""
    lives: dict[int, float] = {}
    if (run_dir / COMPUTE).is_file():
        for record in metrics.read(run_dir / COMPUTE):
            seconds = number(record, "core_seconds")
            if isinstance(record.get("life"), int) and seconds is not None:
                lives[record["life"]] = seconds
    return sum(lives.values())
