"""Tables and data profiles of a suite (Moré and Wild 2009).

Minima are not known for all problems, so f_L is the least value that any method found from that
start, the reference with ten times the budget included. A run has solved its problem to τ once
f <= f_L + τ (f0 − f_L); what is left of the first gap, (f − f_L) / (f0 − f_L), counts as at least
1e-9. "Unrelated" leaves out what shares its formula with a classical function.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from optimus.bench import profiles
from optimus.bench.cells import TOLERANCES
from optimus.bench.figures import draw_profiles
from optimus.bench.profiles import problem_of
from optimus.bench.storage import Row, Traces, markdown_table, write_csv
from optimus.rundir.checkpoint import write_atomically

COLUMNS = (
    *("suite", "function", "dim", "related", "method", "start", "f0", "f_best", "f_last"),
    *("f_least", "expected", "left", "n_f", "n_g", *(f"evals_to_{each}" for each in TOLERANCES)),
    *("status", "lr", "seed", "steps", "weights_hash", "seconds"),
)
REFERENCE = "reference"
FLOOR = 1e-9
AGAINST = "l_bfgs_b"
AT = {"data": np.geomspace(0.01, 100, 101)}  # evaluations / (N + 1)


def completed(rows: Sequence[Row], traces: Traces) -> list[Row]:
    """Rows without the reference's, with what follows from all methods together; `COLUMNS`."""
    least: dict[tuple[str, int, int], float] = {}
    for row in rows:
        key, value = problem_of(row), float(row["f_best"])
        least[key] = min(least.get(key, math.inf), value if math.isfinite(value) else math.inf)
    found = []
    for key, path in traces.items():
        own = [row for row in rows if (row["function"], row["dim"], row["method"]) == key]
        with np.load(path) as arrays:
            curves = arrays["best"]
        for row, best in zip(own, curves, strict=True):
            if row["method"] == REFERENCE:
                continue
            f0, low = float(row["f0"]), least[problem_of(row)]
            line = dict.fromkeys(COLUMNS) | row | {"f_least": low}
            line["left"] = left(float(row["f_best"]), f0, low)
            for tolerance in TOLERANCES:
                reached = np.flatnonzero(best <= low + float(tolerance) * (f0 - low))
                line[f"evals_to_{tolerance}"] = int(reached[0]) + 1 if len(reached) else None
            found.append(line)
    return found


def left(value: float, f0: float, least: float) -> float:
    """Share of the first gap that is left, 1e-9 ... 1."""
    if not math.isfinite(value):
        return 1.0
    return min(1.0, max((value - least) / (f0 - least), FLOOR)) if f0 > least else FLOOR


def table_rows(rows: Sequence[Row]) -> list[Row]:
    """A row per method, for all problems and for the unrelated ones."""
    found = []
    for which in ("all", "unrelated"):
        chosen = [row for row in rows if which == "all" or not row["related"]]
        by: dict[str, dict[tuple[str, int, int], Row]] = {}
        for row in chosen:
            by.setdefault(row["method"], {})[problem_of(row)] = row
        shared = set.intersection(*(set(each) for each in by.values())) if by else set()
        for name in by if shared else ():
            own = [by[name][key] for key in shared]
            logs = np.log10([row["left"] for row in own])
            weights = own[0]["weights_hash"]
            line: Row = {"problems": which, "method": name, "weights": weights, "runs": len(own)}
            for tolerance in TOLERANCES:
                solved = [row[f"evals_to_{tolerance}"] is not None for row in own]
                line[f"solved_{tolerance}"] = float(np.mean(solved))
            line["median_log10_left"] = float(np.median(logs))
            if AGAINST in by:
                ratios = logs - np.log10([by[AGAINST][key]["left"] for key in shared])
                line["better_than_l_bfgs_b"] = int(np.sum(ratios < 0))
                line["level_with_l_bfgs_b"] = int(np.sum(ratios == 0))
                line["median_log10_ratio"] = float(np.median(ratios))
            found.append(line)
    return found


def markdown(rows: Sequence[Row], lines: Sequence[Row]) -> str:
    """`table.md`: the counts, then what each method leaves of the gap on each problem."""
    first = rows[0]
    kept = len({(row["function"], row["dim"]) for row in rows})
    text = [f"# Suite {first['suite']}: {kept} problems, {first['steps']} evaluations", ""]
    text += markdown_table(lines)
    methods = tuple(dict.fromkeys(row["method"] for row in rows))
    text += ["", "Median over starts of log10 of what is left of the first gap (* related):", ""]
    cells: dict[tuple[str, int, bool], dict[str, list[float]]] = {}
    for row in rows:
        key = (row["function"], row["dim"], bool(row["related"]))
        cells.setdefault(key, {}).setdefault(row["method"], []).append(math.log10(row["left"]))
    by_problem: list[Row] = []
    for (name, dim, related), found in sorted(cells.items(), key=lambda item: item[0][1::-1]):
        line: Row = {"problem": name + ("*" if related else ""), "N": dim}
        for method in methods:
            line[method] = round(float(np.median(found[method])), 2) if method in found else None
        by_problem.append(line)
    return "\n".join([*text, *markdown_table(by_problem), ""])


def write(rows: Sequence[Row], traces: Traces, out: Path, figures: bool = True) -> list[Path]:
    """Writes the report of `suite.run`'s rows; returns the files.

    Args:
      rows: of all cells, the reference's too.
      traces: (problem, dim, method) -> npz of that cell.
      out: folder.
      figures: whether pictures are drawn, which needs matplotlib.
    """
    full = completed(rows, traces)
    if not full:
        return []
    lines, shares = table_rows(full), profiles.cost_rows(full, AT)
    written = [write_csv(out / "results.csv", full, COLUMNS)]
    if lines:
        write_atomically(out / "table.md", markdown(full, lines))
        written += [out / "table.md", write_csv(out / "table.csv", lines)]
    if shares:
        written.append(write_csv(out / "profiles.csv", shares))
        if figures:
            written.append(draw_profiles(shares, out / "profiles.png"))
    return written
