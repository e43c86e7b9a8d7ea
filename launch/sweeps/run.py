"""Runs the cells of a sweep, one after the other in this process, and keeps its table up to date.

One process, because the seeds of an arm then share what was compiled for the first.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from launch.runners import train
from launch.sweeps import Cell
from launch.sweeps import table as sweep_table
from launch.sweeps.state import finished, timed
from optimus.bench.figures import drawable


def run(
    cells: Sequence[Cell], out: Path, say: Callable[[str], None], tabulated: Sequence[Cell]
) -> bool:
    """Trains what is not finished; True when every cell is.

    Args:
      cells: to train, in order.
      out: the sweep's directory, for tables.
      say: takes lines for the user.
      tabulated: cells that the tables show.

    A cell that JAX cannot run (memory, for example) is reported and left out; the others go on.

    Raises:
      ConfigError, rundir.RunDirError, checkpoint.CheckpointError: one clear line each.
    """
    waiting = [cell for cell in cells if not finished(cell)]
    say(f"{len(cells)} cells in {out}, {len(cells) - len(waiting)} of them finished")
    failed: list[str] = []
    began = time.monotonic()
    for index, cell in enumerate(waiting):
        if index and cell.arm != waiting[index - 1].arm:
            jax.clear_caches()  # another arm shares no program with this one
        say(f"cell {index + 1}/{len(waiting)}: {cell.label}{_left(began, index, len(waiting))}")
        try:
            with timed(cell.run_dir):
                train.train(cell.config, cell.run_dir, "fused", lambda line: say(f"  {line}"))
        except jax.errors.JaxRuntimeError as error:
            failed.append(cell.label)
            say(f"  failed: {str(error).splitlines()[0]}")
            continue
        sweep_table.write(tabulated, out, pictures=False)
        if not finished(cell):
            say("stopped; the same command resumes")
            return False
    for path in sweep_table.write(tabulated, out, drawable(say)):
        say(f"wrote {path}")
    if failed:
        say(f"failed: {'; '.join(failed)}; the same command tries them again")
    return not failed


def _left(began: float, done: int, total: int) -> str:
    if not done:
        return ""
    seconds = (time.monotonic() - began) / done * (total - done)
    return f" (about {seconds / 60:.0f} min left)"
