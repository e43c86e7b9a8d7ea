"""`optimus report`: collects, computes what is asked for, writes the page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from launch import Say
from optimus.errors import ConfigError, require
from optimus.files import refused

if TYPE_CHECKING:
    from launch.monitoring.report.page import Extras


@dataclass(frozen=True)
class Report:
    """Write one HTML page about a run; it needs no network and no other file.

    Curves, held-out evaluation, configuration and commands come from the run's files. Comparing the
    best checkpoint with baselines, and reconstructing a motion, are computed (minutes; kept in
    RUN_DIR/report, so the next time is quick). Examples:

      optimus report runs/physics-small
      optimus report runs/physics-small --quick --out page.html
    """

    run_dir: tyro.conf.Positional[Path]
    """The run's directory: running, finished or copied."""
    out: Path | None = None
    """The page; default RUN_DIR/report.html."""
    quick: bool = False
    """Only what is in the files: nothing is computed."""
    functions: str = "rosenbrock,rastrigin,ackley,levy,dixon_price"
    """Classical functions of the comparison, with commas between."""
    dims: str = "2,10"
    """Their dimensions."""
    starts: int = 8
    """Starts per function and dimension."""
    steps: int = 100
    """Evaluations per start, and of the motion."""

    def run(self, say: Say) -> int:
        """Exit code; clear errors are raised as for the other commands."""
        from launch.monitoring.report.data import collect

        found = collect(self.run_dir)  # a wrong path is answered before anything else is loaded
        from launch.monitoring.report.page import MARK, Extras, page
        from optimus.rundir.checkpoint import write_atomically

        out = self.out or self.run_dir / "report.html"
        ours = not out.is_file() or MARK in out.read_bytes()[:4096]
        require(ours, f"--out {out}: a file that is no report; remove it, or name another")
        skipped = "--quick: neither baselines nor motion were computed"
        extras = Extras(notes=(skipped,)) if self.quick else self._compute(say)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            text = page(found, extras, time.time())
            write_atomically(out, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise refused(out, error) from None
        say(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")
        return 0

    def _compute(self, say: Say) -> Extras:
        from launch.cli.evaluate import load
        from launch.monitoring.report.baselines import Plan, compare
        from launch.monitoring.report.motion import NoMotion, reconstruct
        from launch.monitoring.report.page import Extras
        from optimus import rundir, weights
        from optimus.bench.plan import dimensions, names, require_counts
        from optimus.config import PhysicsTask
        from optimus.problems.functions import FUNCTIONS

        functions = names(self.functions, FUNCTIONS, "function")
        require_counts(self.starts, self.steps)
        plan = Plan(functions, dimensions(self.dims), starts=self.starts, steps=self.steps)
        notes: list[str] = []
        baselines = motion = None
        work = self.run_dir / "report"
        try:
            config = rundir.load_config(self.run_dir / rundir.CONFIG)
            target, model = load(str(self.run_dir))
        except (weights.WeightsError, ConfigError) as error:
            return Extras(notes=(f"no comparison: {error}",))
        try:
            baselines = compare(model, work, plan, say)
            notes += baselines.problems
        except (ValueError, OSError) as error:
            notes.append(f"no comparison with baselines: {error}")
        if isinstance(config.task, PhysicsTask):
            say("reconstructing a motion")
            try:
                motion = reconstruct(config, Path(target.name), work, self.steps)
            except NoMotion as error:
                notes.append(f"no motion: {error}")
        shown = f"update {target.step}"
        return Extras(baselines=baselines, motion=motion, notes=tuple(notes), checkpoint=shown)
