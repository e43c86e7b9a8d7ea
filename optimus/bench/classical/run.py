"""The classical benchmark: functions × dimensions × methods × starts, resumable.

    from optimus.bench.classical import run as classical
    classical.main(preset="paper", methods="bfgs,adam", dims="2,10", out="runs/classical")

writes
    OUT/results.csv     a row per (preset, function, dim, method, start); `cells.COLUMNS`; of all
                        cells of the preset in OUT, those of earlier calls too (see `gather`)
    OUT/cells/          a file per cell; what is there is not computed again
    OUT/traces/         best-so-far by evaluation and by iteration, and iterates, as npz
    OUT/test_reads.jsonl   a line whenever weights are about to be scored (see `reads`)
    OUT/table4.md ...   what `report` makes of them
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from optimus.bench import cells, reads
from optimus.bench.cells import COLUMNS, Row
from optimus.bench.classical import gather
from optimus.bench.methods import sources
from optimus.bench.plan import (
    DEFAULT_METHODS,
    DIMS,
    METHODS,
    dimensions,
    method_names,
    names,
    plan_cells,
)
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS
from optimus.rundir.checkpoint import write_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """Rows of all cells in OUT, in the order of `results.csv`, and what happened on the way.

    `traces` leads from (function, dim, method) to the npz of that cell. `computed`, `cached`,
    `failed` and `non_finite` are about the cells of this call, `stale` about unused ones in OUT.
    """

    rows: list[Row]
    traces: dict[tuple[str, int, str], Path]
    stale: int
    computed: int
    cached: int
    left_out: tuple[str, ...]
    failed: tuple[str, ...]
    non_finite: int


def run(
    preset: str,
    functions: Sequence[str],
    dims: Sequence[int],
    methods: Sequence[str],
    starts: int,
    steps: int,
    seed: int,
    out: Path,
    console: Console | None = None,
    arm: str = "",
) -> Result:
    """Computes what is not yet there and writes `out/results.csv` with all that is.

    A cell that fails is reported and left out; the others go on. Interrupted, the rows done so far
    are written, and the same call goes on from there.

    Raises:
      ValueError: unknown names, numbers that make no benchmark, or weights that may not be scored
        on a function (`sources.check` with `arm`).
    """
    presets.preset(preset)
    functions = names(functions, FUNCTIONS, "function")
    methods = method_names(methods)
    if starts < 1 or steps < 1 or seed < 0:
        raise ValueError(f"need starts >= 1, steps >= 1, seed >= 0: {starts}, {steps}, {seed}")
    if starts > presets.TUNING_START:
        raise ValueError(f"starts from {presets.TUNING_START} on are for tuning: {starts}")
    planned, left_out = plan_cells(preset, functions, dims, methods, starts, steps, seed)
    if not planned:
        raise ValueError("nothing to run: " + "; ".join(left_out))
    for name in methods:
        seen = dict.fromkeys(cell.function for cell in planned if cell.method == name)
        sources.check(name, METHODS[name].sources, seen, arm)
    out.mkdir(parents=True, exist_ok=True)
    reads.note_cells(out, planned, METHODS)
    failed: list[str] = []
    computed = cached = non_finite = 0
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
    )
    try:
        with bar:
            task = bar.add_task(preset, total=len(planned))
            for cell in planned:
                try:
                    _, bad, fresh = cells.compute_or_load(
                        out,
                        cell,
                        METHODS[cell.method],
                        lambda text: bar.update(task, description=text),
                    )
                except Exception as error:  # one cell must not take the others with it
                    logger.exception("cell failed: %s", cell)
                    words = f"{cell.function} {cell.dim} {cell.method}"
                    failed.append(f"{words}: {type(error).__name__}: {error}".splitlines()[0])
                else:
                    non_finite += bad
                    computed, cached = computed + fresh, cached + (not fresh)
                bar.advance(task)
    finally:
        found = gather.gather(out, preset, starts, steps, seed, methods, METHODS)
        write_rows(out / "results.csv", found.rows)
    return Result(
        rows=found.rows,
        traces=found.traces,
        stale=found.stale,
        computed=computed,
        cached=cached,
        left_out=tuple(left_out),
        failed=tuple(failed),
        non_finite=non_finite,
    )


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes `results.csv`; what is None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def main(
    preset: str = "paper",
    functions: str | Sequence[str] = "all",
    dims: str | Sequence[int] = DIMS,
    methods: str | Sequence[str] = DEFAULT_METHODS,
    starts: int = 64,
    steps: int = 200,
    seed: int = 0,
    out: str | Path = "runs/classical",
    figures: bool = True,
    console: Console | None = None,
    arm: str = "",
) -> int:
    """Runs the benchmark and writes the report; 0, or 1 where a cell failed.

    Raises:
      ValueError: a mistake in the arguments, in one line.
    """
    from optimus.bench.classical import report

    console = console or Console(stderr=True)
    out = Path(out)
    result = run(
        preset,
        names(functions, FUNCTIONS, "function"),
        dimensions(dims),
        method_names(methods),
        starts,
        steps,
        seed,
        out,
        console,
        arm,
    )
    for line in result.left_out:
        console.print(f"left out: {line}", highlight=False, markup=False)
    for line in result.failed:
        console.print(f"failed: {line}", highlight=False, markup=False)
    others = len(result.traces) - result.computed - result.cached
    console.print(
        f"{result.computed} cells computed, {result.cached} found, {others} of earlier calls; "
        f"{result.non_finite} values that are not finite; {out / 'results.csv'}",
        highlight=False,
    )
    if result.stale:
        console.print(
            f"{result.stale} cells in {out / 'cells'} not used: other starts, steps, seed, options,"
            " weights or versions",
            highlight=False,
        )
    for method, said in reads.said(result.rows, out).items():
        console.print(f"{method}: {said}", highlight=False, markup=False)
    for path in report.write(result.rows, out, result.traces, figures):
        console.print(f"wrote {path}", highlight=False)
    return 1 if result.failed else 0
