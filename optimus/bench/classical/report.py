"""What the benchmark shows: Table 4 beside the print, profiles, figures. Every picture has a CSV.

OUT/table4.md, table4.csv     mean ± standard error, the printed value and the comparison with it
OUT/per_function.png          Fig. 5, mean against N (from table4.csv)
OUT/profiles.csv, .png        Dolan-Moré for τ = 1e-1, 1e-3, 1e-6; data profiles; value profile
OUT/fig4.csv, .png            Fig. 4, loss against evaluations on Rosenbrock
OUT/paths.csv, paths-N.png    Fig. 6, trajectories on Rosenbrock
OUT/curves/FUNCTION.png       mean best-so-far against evaluations (from OUT/traces)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from optimus.bench import profiles
from optimus.bench.classical import paper_figures, printed, table
from optimus.bench.figures import draw_curves, draw_profiles
from optimus.bench.methods import models
from optimus.bench.storage import Row, Traces, write_csv
from optimus.problems import presets
from optimus.rundir.checkpoint import write_atomically

TABLE_COLUMNS = (
    *("preset", "function", "dim", "method", "starts", "mean", "error", "median", "q10", "q90"),
    *("printed", "agreement", "share", "comparison"),
)
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
        reference = printed.table4().get((function, dim, models.column_of(method)))
        line: Row = dict.fromkeys(TABLE_COLUMNS)
        line |= dict(preset=preset, function=function, dim=dim, method=method, starts=len(values))
        line |= dict(mean=float(np.mean(values)), error=printed.standard_error(np.array(values)))
        for name, share in (("median", 0.5), ("q10", 0.1), ("q90", 0.9)):
            line[name] = float(np.quantile(values, share, method="nearest"))
        if presets.preset(preset).slips and reference is not None:
            problem = presets.problem(preset, function, dim, 0, 0)
            found = printed.compare(values, reference, problem.minimum, problem.floor)
            line |= dict(printed=reference, agreement=found.agreement, share=found.share)
            line["comparison"] = found.outcome
        summary.append(line)
    return summary


def profile_rows(rows: Sequence[Row]) -> list[Row]:
    """All profiles in long form, over the problems that every method has."""
    found = profiles.cost_rows(rows, AT)
    best = profiles.table(rows, "f_best")
    if len(best.problems):
        shares = profiles.value(best, rows[0]["preset"], AT["value"])
        found += profiles.long_form("value", "", best, AT["value"], shares)
    return found


def write(
    rows: Sequence[Row], out: Path, traces: Traces | None = None, figures: bool = True
) -> list[Path]:
    """Writes the report of rows of one preset; returns the files.

    Args:
      rows: of `results.csv`.
      out: folder.
      traces: (function, dim, method) -> npz of that cell, for the curves.
      figures: whether pictures are drawn, which needs matplotlib.
    """
    if not rows:
        return []
    traces = traces or {}
    out.mkdir(parents=True, exist_ok=True)
    summary, lines = summarise(rows), profile_rows(rows)
    loss, paths = paper_figures.evaluation_rows(traces), paper_figures.path_rows(traces)
    write_atomically(out / "table4.md", table.markdown(summary))
    written = [out / "table4.md"]
    tables = {"table4": summary, "profiles": lines, "fig4": loss, "paths": paths}
    written += [write_csv(out / f"{name}.csv", found) for name, found in tables.items() if found]
    if figures:
        written.append(paper_figures.draw_per_function(summary, out / "per_function.png"))
        if lines:
            written.append(draw_profiles(lines, out / "profiles.png"))
        if loss:
            written.append(paper_figures.draw_evaluations(loss, out / "fig4.png"))
        for dim in dict.fromkeys(row["dim"] for row in paths):
            chosen = [row for row in paths if row["dim"] == dim]
            target = out / f"paths-{dim}.png"
            seed = rows[0]["seed"]
            written.append(paper_figures.draw_paths(chosen, rows[0]["preset"], seed, target))
        written += draw_curves(traces, out / "curves")
    return written
