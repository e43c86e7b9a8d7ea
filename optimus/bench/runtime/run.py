"""The paper's Fig. 1: time of one optimizer step against N, everything in one run.

    OUT/runtime.csv     a row per (N, method), `COLUMNS`
    OUT/runtime.md      the same as tables, with ratios to a whole iteration of SciPy's BFGS
    OUT/runtime.png     log-log, with matplotlib

The command line runs all of it on one thread (`launch.program.environment`); from Python, with all
cores:

    from optimus.bench.runtime import run as runtime
    runtime.main(dims="2,100", out="runs/runtime")

Methods are measured in interleaved rounds, so that what else the machine does falls on all of
them; compilation is apart. The floor is the step's floating-point operations at the rate of a
1024³ float32 matrix product timed in the same rounds: no program that multiplies matrices on this
machine is faster. A row stops being sampled when its time is up; how often it was is in the table.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import TimeElapsedColumn

from optimus.bench import printer, progress_bar
from optimus.bench.figures import drawable
from optimus.bench.plan import DIMS, dimensions
from optimus.bench.runtime.report import draw, markdown
from optimus.bench.runtime.steps import BUILDERS, REFERENCE, Builders, gemm
from optimus.bench.runtime.timing import Timed, TooLarge, compiling_anew
from optimus.bench.storage import Row, write_csv
from optimus.errors import require, require_positive, require_size
from optimus.rundir.checkpoint import write_atomically

COLUMNS = (
    *("N", "method", "median_ms", "q10_ms", "q90_ms", "samples", "compile_s", "flops", "floor_ms"),
    *("times_floor", "times_scipy_bfgs"),
)
MOST_DIM = 5000  # a dense B or H of more is beyond a quick benchmark
LEAST_SAMPLE = 2e-3  # seconds; shorter calls are repeated within a sample


@dataclass(eq=False)
class _Series:
    """Samples of one row, and what is left of its time."""

    timed: Timed
    calls: int = 1
    left: float = math.inf  # seconds
    samples: list[float] = field(default_factory=list)

    def warm(self, budget: float) -> None:
        """One or two calls not counted; decides how many calls make a sample."""
        each = self.timed.sample() * self.timed.steps
        if each < budget / 10:  # the first call is slow by itself
            each = self.timed.sample() * self.timed.steps
        self.calls = max(1, min(1000, math.ceil(LEAST_SAMPLE / max(each, 1e-9))))
        self.left = budget

    def sample(self) -> None:
        """One more sample, unless the time is up; the first is always taken."""
        if self.samples and self.left <= 0:
            return
        seconds = self.timed.sample(self.calls)
        self.samples.append(seconds)
        self.left -= seconds * self.timed.steps * self.calls


def _row(dim: int, name: str, series: _Series, rate: float, reference: float) -> Row:
    milliseconds = 1e3 * np.asarray(series.samples)
    median, q10, q90 = (float(np.quantile(milliseconds, share)) for share in (0.5, 0.1, 0.9))
    floor = 1e3 * series.timed.flops / rate
    values = (
        *(dim, name, median, q10, q90, len(milliseconds), series.timed.compile_seconds),
        *(series.timed.flops, floor, median / floor, median / reference),
    )
    return dict(zip(COLUMNS, values, strict=True))


def measure(
    dims: Sequence[int], repeats: int, budget: float, console: Console, builders: Builders
) -> tuple[list[Row], list[str], dict[int, float]]:
    """Times everything in interleaved rounds.

    Args:
      dims: dimensions.
      repeats: rounds.
      budget: seconds a row may be sampled for in each dimension.
      console: shows progress.
      builders: what is timed, by name.

    Returns:
      (rows, what was skipped and why, FLOP/s of the matrix product in each dimension's rounds).
    """
    rows: list[Row] = []
    skipped: list[str] = []
    rates: dict[int, float] = {}
    with progress_bar(console, TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=len(dims) * repeats)
        yardstick = _Series(gemm())
        yardstick.warm(math.inf)
        for dim in dims:
            series: dict[str, _Series] = {}
            for name, build in builders.items():
                bar.update(task, description=f"N = {dim}: {name}")
                try:
                    series[name] = _Series(build(dim))
                except TooLarge as error:
                    skipped.append(f"{name} N = {dim}: {error}")
                    continue
                series[name].warm(budget)
            yardstick.samples.clear()
            for turn in range(repeats):
                bar.update(task, description=f"N = {dim}: round {turn + 1}")
                for each in (yardstick, *series.values()):
                    each.sample()
                bar.advance(task)
            rates[dim] = yardstick.timed.flops / float(np.median(yardstick.samples))
            samples = series[REFERENCE].samples if REFERENCE in series else math.nan
            reference = 1e3 * float(np.median(samples))
            rows += [_row(dim, name, each, rates[dim], reference) for name, each in series.items()]
    return rows, skipped, rates


def main(
    dims: str | Sequence[int] = DIMS,
    repeats: int = 15,
    budget: float = 6.0,
    out: str | Path = "runs/runtime",
    console: Console | None = None,
    builders: Builders = BUILDERS,
) -> int:
    """Measures, writes the files, prints the table; 0.

    Args:
      dims: dimensions, at least 2 (Rosenbrock).
      repeats: rounds.
      budget: seconds a row may be sampled for in each dimension.
      out: folder.
      console: shows progress; default: on standard error.
      builders: what is timed, by name.

    Raises:
      ConfigError: a mistake in the arguments, in one line.
    """
    console = console or Console(stderr=True)
    chosen = dimensions(dims)
    fits = min(chosen) >= 2 and max(chosen) <= MOST_DIM
    require(fits, f"dims must be within 2 and {MOST_DIM}: {dims}")
    require_size(repeats, "repeats", 1, 10**5)
    require_positive(budget, "budget", 1e6)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    before = os.getloadavg()[0]
    with compiling_anew():
        rows, skipped, rates = measure(chosen, repeats, budget, console, builders)
    written = [write_csv(out / "runtime.csv", rows, COLUMNS), out / "runtime.md"]
    write_atomically(written[1], markdown(rows, skipped, rates, (before, os.getloadavg()[0])))
    say = printer(console)
    if drawable(say):
        written.append(draw(rows, out / "runtime.png"))
    for line in (*(f"skipped: {each}" for each in skipped), *(f"wrote {path}" for path in written)):
        say(line)
    return 0
