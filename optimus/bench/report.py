"""What the benchmark shows: Table 4 beside the print, profiles, curves. Every picture has a CSV.

OUT/table4.md, table4.csv     mean ± standard error, the printed value, agreement, verdict
OUT/profiles.csv, .png        Dolan-Moré for τ = 1e-1, 1e-3, 1e-6; data profiles; value profile
OUT/curves/FUNCTION.png       mean best-so-far against evaluations (from OUT/traces)
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimus import presets
from optimus.bench import profiles, verdict
from optimus.bench.cells import TOLERANCES
from optimus.checkpoint import write_atomically
from optimus.functions import FUNCTIONS

TABLE_COLUMNS = (
    *("preset", "function", "dim", "method", "starts", "mean", "error", "median", "q10", "q90"),
    *("printed", "agreement", "share", "verdict"),
)
AT = {  # where the profiles are drawn
    "performance": np.geomspace(1, 100, 101),
    "data": np.geomspace(0.01, 200, 101),
    "value": np.geomspace(1, 1e6, 101),
}
Row = dict[str, Any]


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
        reference = verdict.printed().get((function, dim, method))
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


def centred(preset: str, function: str) -> bool:
    """Whether the optimum is the centre of the start box, as return-zero would like it."""
    return not presets.problem(
        preset, function, 4 if function != "perm" else 2, 0, 0
    ).minimiser.any()


def counts(summary: Sequence[Row]) -> list[str]:
    """Agreement and verdicts counted per method, for all rows and for off-centre functions.

    Perm, which is Sum of Squares once more in the print, is not counted.
    """
    lines = []
    for method in dict.fromkeys(line["method"] for line in summary):
        compared = [line for line in summary if line["method"] == method and line["verdict"]]
        compared = [line for line in compared if line["function"] != "perm"]
        off = [line for line in compared if not centred(line["preset"], line["function"])]
        for title, chosen in (
            ("all functions but perm", compared),
            ("optimum off the centre", off),
        ):
            if not chosen:
                continue
            above = [line for line in chosen if line["agreement"] != "round-off"]
            agree = sum(line["agreement"] == "agrees" for line in above)
            tally = [line["verdict"] for line in chosen]
            no_worse = tally.count("no worse") + tally.count("clearly better")
            different = [
                f"{line['function']} {line['dim']}"
                for line in above
                if line["agreement"] == "differs"
            ]
            lines.append(
                f"{method}, {title}: {agree} of {len(above)} cells above round-off agree, "
                f"{len(chosen) - len(above)} at round-off; no worse {no_worse}, "
                f"clearly better {tally.count('clearly better')}, "
                f"clearly worse {tally.count('clearly worse')} of {len(chosen)}"
                + (f"; differ: {', '.join(different)}" if different else "")
            )
    return lines


def _entry(line: Row | None) -> str:
    if line is None:
        return ""
    ours = f"{line['mean']:.3g} ± {line['error']:.1g}"
    if line["printed"] is None:
        return ours
    mark = {"round-off": "≈", "agrees": "=", "differs": "≠"}[line["agreement"]]
    return f"{ours} {mark} {line['printed']:.3g} (P {line['share']:.2f})"


def markdown(summary: Sequence[Row]) -> str:
    """The table in the paper's form: functions and dimensions down, methods across."""
    methods = list(dict.fromkeys(line["method"] for line in summary))
    by_cell = {(line["function"], line["dim"], line["method"]): line for line in summary}
    preset, starts = summary[0]["preset"], max(line["starts"] for line in summary)
    text = [f"# Table 4, preset {preset}, {starts} starts", ""]
    if presets.preset(preset).slips:
        text += [
            "Each entry: our mean ± standard error, the printed value, P. Marks: ≈ both at",
            "round-off, = within 10 %, or 2 standard errors and a factor of 10, ≠ neither.",
            "P: share of resamples of 64 starts that are no worse than the print.",
        ]
        if starts < verdict.WANTED_STARTS:
            text.append(f"The verdict wants {verdict.WANTED_STARTS} starts; here are {starts}.")
        text += ["", *(f"* {line}" for line in counts(summary)), ""]
    text += ["| function | dim | " + " | ".join(methods) + " |", "|---" * (len(methods) + 2) + "|"]
    rows = dict.fromkeys((line["function"], line["dim"]) for line in summary)
    for function, dim in sorted(rows, key=lambda key: (list(FUNCTIONS).index(key[0]), key[1])):
        entries = [_entry(by_cell.get((function, dim, method))) for method in methods]
        text.append(f"| {function} | {dim} | " + " | ".join(entries) + " |")
    return "\n".join(text) + "\n"


def profile_rows(rows: Sequence[Row]) -> list[Row]:
    """All profiles in long form: profile, tolerance, at, method, share."""
    found = []

    def add(kind: str, tau: str, methods: Sequence[str], shares: np.ndarray) -> None:
        for at, line in zip(AT[kind], shares):
            for method, share in zip(methods, line):
                found.append(dict(profile=kind, tau=tau, at=float(at), method=method, share=share))

    for tau in TOLERANCES:
        costs = profiles.table(rows, f"evals_to_{tau}")
        if len(costs.problems):
            add("performance", tau, costs.methods, profiles.performance(costs, AT["performance"]))
            add("data", tau, costs.methods, profiles.data(costs, AT["data"]))
    best = profiles.table(rows, "f_best")
    if len(best.problems):
        shares = profiles.value(best, rows[0]["preset"], AT["value"])
        add("value", "", best.methods, shares)
    return found


def _csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
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
    out.mkdir(parents=True, exist_ok=True)
    summary, lines = summarise(rows), profile_rows(rows)
    write_atomically(out / "table4.md", markdown(summary))
    written = [out / "table4.md", _csv(out / "table4.csv", TABLE_COLUMNS, summary)]
    written.append(_csv(out / "profiles.csv", ("profile", "tau", "at", "method", "share"), lines))
    if figures and importlib.util.find_spec("matplotlib"):
        from optimus.bench import figures as drawing

        if lines:
            written.append(drawing.draw_profiles(lines, out / "profiles.png"))
        written += drawing.draw_curves(traces or {}, out / "curves")
    return written
