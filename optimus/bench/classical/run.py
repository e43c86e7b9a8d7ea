"""The classical benchmark: functions × dimensions × methods × starts, resumable.

    from optimus.bench.classical import run as classical
    classical.main(preset="paper", methods="bfgs,adam", dims="2,10", out="runs/classical")

writes
    OUT/results.csv     a row per (preset, function, dim, method, start); `cells.COLUMNS`; of all
                        cells of the preset in OUT, those of earlier calls too (see `gather`)
    OUT/cells/          a file per cell; what is there is not computed again
    OUT/traces/         best-so-far by evaluation and by iteration, and iterates, as npz
    OUT/table4.md ...   what `report` makes of them
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import TimeRemainingColumn

from optimus.bench import cells, plan, printer, progress_bar, storage
from optimus.bench.cells import COLUMNS, Method
from optimus.bench.classical import report
from optimus.bench.classical.gather import Gathered, gather
from optimus.bench.figures import drawable
from optimus.bench.methods import models
from optimus.errors import require
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS

Split = Literal["held-out", "any"]


@dataclass(frozen=True)
class Result(Gathered):
    """All cells in OUT, and what happened on the way.

    Attributes:
      left_out, failed: a line for each cell that was not run, that raised.
      computed, cached: cells of this call that were computed, that were there.
      non_finite: values of this call that were not finite.
    """

    left_out: tuple[str, ...]
    failed: tuple[str, ...]
    computed: int
    cached: int
    non_finite: int


def run(
    preset: str,
    functions: Sequence[str],
    dims: Sequence[int],
    methods: Sequence[Method],
    starts: int,
    steps: int,
    seed: int,
    out: Path,
    console: Console | None = None,
    split: Split = "held-out",
) -> Result:
    """Computes what is not yet there and writes `out/results.csv` with all that is.

    A cell that fails is reported and left out; the others go on. Interrupted, the rows done so far
    are written, and the same call goes on from there.

    Args:
      preset: a key of `presets.PRESETS`.
      functions: names of `FUNCTIONS`.
      dims: dimensions as asked for.
      methods: what runs.
      starts: random starts of each cell.
      steps: iterations, under the fair presets evaluations, of each start.
      seed: of the starts.
      out: folder.
      console: shows progress; default: on standard error.
      split: "held-out": weights that were trained without some groups of functions are scored on
        those groups only; "any": on everything.

    Raises:
      ConfigError: unknown names, numbers that make no benchmark, or weights that would be scored on
        what they have seen.
    """
    presets.preset(preset)
    functions = plan.names(functions, FUNCTIONS, "function")
    plan.require_counts(starts, steps, seed)
    counts = (starts, steps, seed)
    methods, absent = plan.installed(methods)
    planned, left_out = plan.plan_cells(preset, functions, dims, methods, counts)
    left_out = [*absent, *left_out]
    require(bool(planned), "nothing to run: " + "; ".join(left_out))
    for method in methods if split == "held-out" else ():
        seen = (each.cell.function for each in planned if each.method is method)
        models.require_unseen(method, tuple(dict.fromkeys(seen)))
    out.mkdir(parents=True, exist_ok=True)
    bar = progress_bar(console or Console(stderr=True), TimeRemainingColumn())
    try:
        with bar:
            task = bar.add_task(preset, total=len(planned))
            tracked = bar.track(planned, task_id=task)
            outcome = cells.run_cells(out, tracked, lambda text: bar.update(task, description=text))
    finally:
        found = gather(out, preset, counts, methods)
        storage.write_csv(out / "results.csv", found.rows, COLUMNS)
    lines = (tuple(left_out), tuple(outcome.failed))
    counted = (outcome.computed, outcome.cached, outcome.non_finite)
    return Result(found.rows, found.traces, found.stale, *lines, *counted)


def main(
    preset: str = "paper",
    functions: str | Sequence[str] = "all",
    dims: str | Sequence[int] = plan.DIMS,
    methods: str | Sequence[str] = plan.DEFAULT_METHODS,
    model: str = plan.DEFAULT_MODEL,
    adafactor_model: str = plan.DEFAULT_ADAFACTOR_MODEL,
    starts: int = 64,
    steps: int = 200,
    seed: int = 0,
    split: Split = "held-out",
    out: str | Path = "runs/classical",
    figures: bool = True,
    console: Console | None = None,
) -> int:
    """Runs the benchmark and writes the report; 0, or 1 where a cell failed.

    Args:
      preset, starts, steps, seed, split, out, console: as `run` takes them.
      functions, dims: as typed.
      methods, model, adafactor_model: as `plan.methods_of` takes them.
      figures: whether pictures are drawn, where matplotlib is installed.

    Raises:
      ConfigError, WeightsError: a mistake in the arguments, in one line.
    """
    console = console or Console(stderr=True)
    out = Path(out)
    chosen = plan.methods_of(methods, model, adafactor_model)
    numbers = (starts, steps, seed, out, console, split)
    result = run(preset, functions, plan.dimensions(dims), chosen, *numbers)
    others = len(result.traces) - result.computed - result.cached
    lines = [f"left out: {line}" for line in result.left_out]
    lines += [f"failed: {line}" for line in result.failed]
    lines.append(
        f"{result.computed} cells computed, {result.cached} found, {others} of earlier calls; "
        f"{result.non_finite} values that are not finite; {out / 'results.csv'}"
    )
    if result.stale:
        lines.append(
            f"{result.stale} cells in {out / 'cells'} not used: other starts, steps, seed, "
            "options, weights or versions"
        )
    hashes = {row["method"]: row["weights_hash"] for row in result.rows if row["weights_hash"]}
    lines += [f"{method}: weights {weights_hash}" for method, weights_hash in hashes.items()]
    say = printer(console)
    for line in lines:
        say(line)
    for path in report.write(result.rows, out, result.traces, figures and drawable(say)):
        say(f"wrote {path}")
    return 1 if result.failed else 0
