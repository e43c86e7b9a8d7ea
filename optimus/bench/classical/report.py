"""What the benchmark shows: Table 4 beside the print, profiles, figures. Every picture has a CSV.

OUT/table4.md, table4.csv     mean ± standard error, the printed value, agreement, verdict
OUT/verdict.md, verdict.csv   counts of learned methods, against the print or their rivals
OUT/per_function.png          Fig. 5, mean against N (from table4.csv)
OUT/profiles.csv, .png        Dolan-Moré for τ = 1e-1, 1e-3, 1e-6; data profiles; value profile
OUT/fig4.csv, .png            Fig. 4, loss against evaluations on Rosenbrock
OUT/paths.csv, paths-N.png    Fig. 6, trajectories on Rosenbrock
OUT/curves/FUNCTION.png       mean best-so-far against evaluations (from OUT/traces)
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from optimus.bench import profiles, reads
from optimus.bench.cells import TOLERANCES
from optimus.bench.classical import paper_figures as paper
from optimus.bench.classical import verdict, verdict_table
from optimus.bench.classical.table import markdown
from optimus.bench.methods.labels import printed_as
from optimus.bench.storage import Row
from optimus.problems import presets
from optimus.rundir.checkpoint import write_atomically

TABLE_COLUMNS = (
    *("preset", "function", "dim", "method", "starts", "mean", "error", "median", "q10", "q90"),
    *("printed", "agreement", "share", "verdict"),
)
PROFILE_COLUMNS = ("profile", "tau", "problems", "at", "method", "share")
AT = {  # where the profiles are drawn
    "performance": np.geomspace(1, 100, 101),
    "data": np.geomspace(0.01, 200, 101),
    "value": np.geomspace(1, 1e6, 101),
}


def summarise(rows: Sequence[Row]) -> list[Row]:
    """A row per cell, `TABLE_COLUMNS`; with the print under `paper` only, where it is comparable.

    What is not finite in a cell counts as infinite: it makes the mean infinite, not the median.
    """
    cells: dict[tuple[str, str, int, str], list[float]] = {}
    for row in rows:
        key = (row["preset"], row["function"], row["dim"], row["method"])
        value = float(row["f_best"])
        cells.setdefault(key, []).append(value if np.isfinite(value) else np.inf)
    summary = []
    for (preset, function, dim, method), values in cells.items():
        reference = verdict.printed().get((function, dim, printed_as(method)))
        line: Row = dict.fromkeys(TABLE_COLUMNS)
        line |= dict(preset=preset, function=function, dim=dim, method=method, starts=len(values))
        with np.errstate(invalid="ignore"):
            line |= dict(
                mean=float(np.mean(values)), error=verdict.standard_error(np.array(values))
            )
            for name, share in (("median", 0.5), ("q10", 0.1), ("q90", 0.9)):
                line[name] = float(np.quantile(values, share, method="nearest"))
        if presets.preset(preset).slips and reference is not None:
            problem = presets.problem(preset, function, dim, 0, 0)
            found = verdict.compare(values, reference, problem.minimum, problem.floor)
            line |= dict(printed=reference, agreement=found.agreement, share=found.share)
            line["verdict"] = found.verdict
        summary.append(line)
    return summary


def profile_rows(rows: Sequence[Row]) -> list[Row]:
    """All profiles in long form, `PROFILE_COLUMNS`, over the problems that every method has."""
    found = []

    def add(kind: str, tau: str, table: profiles.Table, shares: np.ndarray) -> None:
        shared: Row = dict(profile=kind, tau=tau, problems=len(table.problems))
        for at, line in zip(AT[kind], shares):
            for method, share in zip(table.methods, line):
                found.append(shared | dict(at=float(at), method=method, share=share))

    for tau in TOLERANCES:
        costs = profiles.table(rows, f"evals_to_{tau}")
        if len(costs.problems):
            add("performance", tau, costs, profiles.performance(costs, AT["performance"]))
            add("data", tau, costs, profiles.data(costs, AT["data"]))
    best = profiles.table(rows, "f_best")
    if len(best.problems):
        shares = profiles.value(best, rows[0]["preset"], AT["value"])
        add("value", "", best, shares)
    return found


def _csv(path: Path, columns: Iterable[str], rows: Sequence[Row]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
    return path


def write(
    rows: Sequence[Row],
    out: Path,
    traces: Mapping[tuple[str, int, str], Path] | None = None,
    figures: bool = True,
) -> list[Path]:
    """Writes the report of rows of one preset; returns the files.

    `traces`: (function, dim, method) -> npz of that cell, for the curves. Pictures need matplotlib;
    without it the tables and CSVs are written all the same.
    """
    if not rows:
        return []
    traces = traces or {}
    out.mkdir(parents=True, exist_ok=True)
    summary, lines = summarise(rows), profile_rows(rows)
    loss, paths = paper.evaluation_rows(traces), paper.path_rows(traces)
    write_atomically(out / "table4.md", markdown(summary))
    written = [out / "table4.md"]
    judged = verdict_table.verdict_rows(rows, summary, reads.said(rows, out))
    if judged:
        write_atomically(out / "verdict.md", verdict_table.markdown(judged))
        written += [out / "verdict.md", _csv(out / "verdict.csv", judged[0].keys(), judged)]
    for name, columns, content in (
        ("table4.csv", TABLE_COLUMNS, summary),
        ("profiles.csv", PROFILE_COLUMNS, lines),
        ("fig4.csv", paper.EVALUATION_COLUMNS, loss),
        ("paths.csv", paper.PATH_COLUMNS, paths),
    ):
        if content:
            written.append(_csv(out / name, columns, content))
    if figures and importlib.util.find_spec("matplotlib"):
        from optimus.bench import figures as drawing

        written.append(paper.draw_per_function(summary, out / "per_function.png"))
        if lines:
            written.append(drawing.draw_profiles(lines, out / "profiles.png"))
        if loss:
            written.append(paper.draw_evaluations(loss, out / "fig4.png"))
        for dim in dict.fromkeys(row["dim"] for row in paths):
            chosen = [row for row in paths if row["dim"] == dim]
            picture = out / f"paths-{dim}.png"
            written.append(paper.draw_paths(chosen, rows[0]["preset"], rows[0]["seed"], picture))
        written += drawing.draw_curves(traces, out / "curves")
    return written
