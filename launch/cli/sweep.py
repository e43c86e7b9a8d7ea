"""`optimus sweep`: many short runs at one budget, and their table."""

import dataclasses
import fnmatch
from dataclasses import dataclass
from pathlib import Path

import tyro

from launch import Say
from optimus.errors import ConfigError, require
from optimus.files import folder_of


@dataclass(frozen=True)
class Sweep:
    """Train every cell of a sweep, one after the other, and tabulate what came out.

    Resumes in the same directory: finished cells are passed over. Examples:

      optimus sweep table3
      optimus sweep ablations --seeds 0 --arms base 'rank_one=*'
      optimus sweep ablations --table
    """

    name: tyro.conf.Positional[str]
    """A name (table3, ablations), or the path of a Python file with `get_sweep()`."""
    out: Path | None = None
    """Where cells, table.csv, table.md and curves.png go; default runs/sweep-<name>."""
    seeds: tuple[int, ...] = ()
    """Meta-seeds in place of the sweep's own."""
    arms: tuple[str, ...] = ()
    """Patterns of the arms to take; default all."""
    inner_steps: int | None = None
    """Another budget for every cell, in inner steps."""
    list: bool = False
    """Only list the cells and what each would do."""
    table: bool = False
    """Only write the tables and the picture of what is there."""

    def run(self, say: Say) -> int:
        """Exit code; a mistake in the arguments is a `ConfigError`."""
        from launch import configs
        from launch.sweeps import inner_steps_at

        sweep = configs.find_sweep(self.name)
        if self.seeds:
            sweep = dataclasses.replace(sweep, seeds=self.seeds)
        if self.inner_steps is not None:
            sweep = dataclasses.replace(sweep, inner_steps=self.inner_steps, updates=0)
        out = folder_of(self.out or f"runs/sweep-{sweep.name}", "--out").resolve()
        patterns = self.arms or ("*",)
        for pattern in patterns:
            if not fnmatch.filter([arm.name for arm in sweep.arms], pattern):
                known = ", ".join(arm.name for arm in sweep.arms)
                raise ConfigError(f"--arms {pattern}: no such arm; known: {known}")
        every = sweep.cells(out)
        cells = [c for c in every if any(fnmatch.fnmatch(c.arm.name, p) for p in patterns)]
        if self.list:
            for cell in cells:
                updates = cell.config.updates
                steps = inner_steps_at(cell.config, updates)
                say(f"{cell.label}: {updates} updates, {steps} inner steps")
            return 0

        from launch.sweeps import run as sweep_run
        from launch.sweeps import table as sweep_table
        from optimus.bench.figures import drawable

        if not self.table:
            # The table holds all cells that are there, also those of earlier calls.
            return 0 if sweep_run.run(cells, out, say, tabulated=every) else 1
        written = sweep_table.write(every, out, drawable(say))
        require(bool(written), f"--table: no cell of this sweep has begun in {out}")
        for path in written:
            say(f"wrote {path}")
        return 0
