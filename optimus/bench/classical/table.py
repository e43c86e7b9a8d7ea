"""Table 4 in the paper's form: functions and dimensions down, its five methods across, and counts.

Perm, which is Sum of Squares once more in the print, is not counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf, isfinite

from optimus.bench.classical import printed
from optimus.bench.methods import BLIND
from optimus.bench.storage import Key, Row, markdown_table
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS

MARKS = {"better": "<", "round-off": "≈", "agrees": "=", "spread": "~", "worse": ">"}
LEGEND = """\
Each entry: our mean ± standard error, a mark, the printed value, P; the printed value in brackets
where we have none. Lower is better. Marks: < better than the print; > worse; the others are equal:
≈ both at round-off, = within 10 % or within 2 combined standard errors and a factor of 10, ~ within
2 combined standard errors only. P: share of resamples of 64 starts that are no worse than the
print. No worse: P >= 0.5; clearly better: below the print in 95 % of the resamples; clearly worse:
P <= 0.05."""
BEST = """\
How often each of the paper's five, where all of them ran, has the least mean, ties after the floor
counting for all; and how often a method that never looks is as good as the best of them."""


def centred(preset: str, function: str) -> bool:
    """Whether the optimum is the centre of the start box, as return-zero would like it."""
    dim = 4 if function != "perm" else 2
    return not presets.problem(preset, function, dim, 0, 0).minimiser.any()


def _groups(lines: Sequence[Row]) -> dict[str, list[Row]]:
    """All functions but Perm, and those of them whose optimum is off the centre."""
    counted = [line for line in lines if line["function"] != "perm"]
    off = [line for line in counted if not centred(line["preset"], line["function"])]
    return {"all but perm": counted, "optimum off the centre": off}


def comparison_counts(summary: Sequence[Row]) -> list[Row]:
    """Per method that the paper has, how many cells have which mark, and are no worse."""
    found: list[Row] = []
    for method in dict.fromkeys(line["method"] for line in summary if line["comparison"]):
        own = [line for line in summary if line["method"] == method and line["comparison"]]
        for functions, lines in _groups(own).items():
            agreement = Counter(line["agreement"] for line in lines)
            outcome = Counter(line["comparison"] for line in lines)
            row: Row = {"method": method, "functions": functions, "cells": len(lines)}
            row |= {f"{mark} {name}": agreement[name] for name, mark in MARKS.items()}
            row["no worse"] = outcome["no worse"] + outcome["clearly better"]
            row |= {name: outcome[name] for name in ("clearly better", "clearly worse")}
            found += [row] if lines else []
    return found


def best_counts(summary: Sequence[Row]) -> list[Row]:
    """What `BEST` says, a row for all functions and one for those off the centre."""
    means: dict[tuple[str, int], dict[str, float]] = {}
    for line in summary:
        means.setdefault((line["function"], line["dim"]), {})[line["method"]] = line["mean"]
    preset = summary[0]["preset"]
    whole = [
        {"preset": preset, "function": function, "dim": dim, "means": found}
        for (function, dim), found in means.items()
        if all(method in found for method in printed.METHODS)
    ]
    rows: list[Row] = []
    for functions, lines in _groups(whole).items():
        tally: Counter[str] = Counter()
        for line in lines:
            problem = presets.problem(preset, line["function"], line["dim"], 0, 0)
            level = problem.minimum + problem.floor
            floored = {method: max(mean, level) for method, mean in line["means"].items()}
            least = min(floored[method] for method in printed.METHODS)
            tally.update(method for method, mean in floored.items() if mean <= least < inf)
        counts = {method: tally[method] for method in (*printed.METHODS, *BLIND)}
        rows += [{"functions": functions, "cells": len(lines), **counts}] if lines else []
    return rows


def _beside_print(line: Row | None, reference: float | None) -> str:
    if line is None:
        return "" if reference is None else f"({reference:.3g})"
    ours = f"{line['mean']:.3g}" + (f" ± {line['error']:.1g}" if isfinite(line["error"]) else "")
    if line["printed"] is None:
        return ours if reference is None else f"{ours} ({reference:.3g})"
    return f"{ours} {MARKS[line['agreement']]} {line['printed']:.3g} (P {line['share']:.2f})"


def _table(
    summary: Sequence[Row], methods: Sequence[str], references: Mapping[Key, float]
) -> list[str]:
    lines = {(line["function"], line["dim"], line["method"]): line for line in summary}
    order = list(FUNCTIONS)
    keys = sorted({key[:2] for key in lines}, key=lambda key: (order.index(key[0]), key[1]))
    rows: list[Row] = []
    for key in keys:
        cells = [(*key, method) for method in methods]
        entries = [_beside_print(lines.get(cell), references.get(cell)) for cell in cells]
        rows.append({"function": key[0], "dim": key[1], **dict(zip(methods, entries))})
    return [*markdown_table(rows), ""]


def markdown(summary: Sequence[Row]) -> str:
    """`table4.md` of a summary (`report.summarise`) of one preset."""
    preset = summary[0]["preset"]
    starts = " or ".join(map(str, sorted({line["starts"] for line in summary})))
    methods = tuple(dict.fromkeys(line["method"] for line in summary))
    counts, best = comparison_counts(summary), best_counts(summary)
    text = [f"# Table 4, preset {preset}, {starts} starts", ""]
    if presets.preset(preset).slips:
        text += [LEGEND, "", *(markdown_table(counts) if counts else ()), ""]
    text += [BEST, "", *markdown_table(best), ""] if best else []
    if presets.preset(preset).slips:
        text += ["## The paper's methods", ""]
        text += _table(summary, printed.METHODS, printed.table4())
        methods = tuple(name for name in methods if name not in printed.METHODS)
        text += ["## Other methods", ""] if methods else []
    text += _table(summary, methods, {}) if methods else []
    return "\n".join(text)
