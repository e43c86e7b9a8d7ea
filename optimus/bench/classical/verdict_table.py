"""What the numbers say of each learned method, counted: OUT/verdict.csv and OUT/verdict.md.

Fact sheet `benchmark.md`, section 11. Under `paper`: cells no worse than the printed column
(P >= 0.5), clearly better, worse, clearly worse; cells in which it is best of the paper's five, all
run here, ties at the floor counting for all. Under the fair presets: against each rival with the
same budget of evaluations, per cell by the floored mean over starts (and by the floored median,
which a few bad starts do not decide), and by the share of runs that solve their problem. Weights
"NAME-s0", "NAME-s1", ... are one model: medians over the seeds follow.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from optimus.bench.cells import TOLERANCES
from optimus.bench.classical import verdict
from optimus.bench.classical.table import centred
from optimus.bench.methods.labels import base_and_seed, kind_in, learned, printed_as
from optimus.bench.storage import Row
from optimus.problems import presets

HEAD = ("preset", "method", "seed", "weights", "functions", "dims", "starts")
RIVALS = ("adam", "adam_global", "l_bfgs_b", "multistart_l_bfgs_b")
RANGES = {"10-250": (10, 252), "all": (0, 1 << 62)}  # Powell has 12 and 252 for 10 and 250
BLIND = ("return_zero", "shrink")
_COUNTS = ("no_worse", "better", "better_by_median")  # shown with their share of the cells too
Means = Mapping[tuple[str, int], Mapping[str, Row]]


def verdict_rows(
    rows: Sequence[Row], summary: Sequence[Row], weights: Mapping[str, str]
) -> list[Row]:
    """A row per learned method, functions, range of N (and rival), and medians over seeds.

    Args:
      rows, summary: of one preset (`results.csv` and `report.summarise`).
      weights: method -> arm and hash in words.
    """
    methods = [each for each in dict.fromkeys(line["method"] for line in summary) if learned(each)]
    if not methods:
        return []
    preset = summary[0]["preset"]
    paper = presets.preset(preset).slips
    cells: dict[tuple[str, int], dict[str, Row]] = {}
    for line in summary:
        cells.setdefault((line["function"], line["dim"]), {})[line["method"]] = line
    solved = {} if paper else _solved(rows)
    found: list[Row] = []
    for method in methods:
        base, seed = base_and_seed(method)
        for functions, dims, chosen in _choices(preset, cells, method, paper):
            starts = max(each[method]["starts"] for each in chosen.values())
            head = (preset, base, seed, weights.get(method, ""), functions, dims, starts)
            shared = dict(zip(HEAD, head, strict=True))
            if paper:
                found.append(shared | _against_print(chosen, method))
                continue
            for rival in RIVALS:
                both = {key: each for key, each in chosen.items() if rival in each}
                if both:
                    found.append(shared | _against(preset, both, method, rival, solved))
    return found + _medians(found)


def _choices(
    preset: str, cells: Means, method: str, paper: bool
) -> Iterable[tuple[str, str, dict[tuple[str, int], Mapping[str, Row]]]]:
    """(which functions, which N, cells): Perm is counted where it is a function of its own."""
    own = {key: each for key, each in cells.items() if method in each}
    own = {key: each for key, each in own.items() if not (paper and key[0] == "perm")}
    groups = {"all": own}
    if paper:
        groups["off-centre"] = {key: v for key, v in own.items() if not centred(preset, key[0])}
    for functions, group in groups.items():
        for dims, (low, high) in RANGES.items():
            chosen = {key: each for key, each in group.items() if low <= key[1] <= high}
            if chosen:
                yield functions, dims, chosen


def _level(preset: str, key: tuple[str, int]) -> tuple[float, float]:
    problem = presets.problem(preset, *key, 0, 0)
    return problem.minimum, problem.floor


def _against_print(cells: Means, method: str) -> Row:
    tally = [each[method]["verdict"] for each in cells.values() if each[method]["verdict"]]
    better, worse = tally.count("clearly better"), tally.count("clearly worse")
    row: Row = {
        "cells": len(tally),
        "no_worse": tally.count("no worse") + better,
        "clearly_better": better,
        "worse": tally.count("worse") + worse,
        "clearly_worse": worse,
    }
    best = dict.fromkeys(("of_five", "best_of_five", *BLIND), 0)
    for key, each in cells.items():
        five = _five(each, method)
        if five is None:
            continue
        minimum, floor = _level(each[method]["preset"], key)
        values = {name: max(line["mean"], minimum + floor) for name, line in each.items()}
        least = min(values[name] for name in five)
        best["of_five"] += 1
        best["best_of_five"] += values[method] <= least
        for name in BLIND:
            best[name] += values.get(name, np.inf) <= least
    return row | best


def _five(present: Mapping[str, Row], method: str) -> list[str] | None:
    """The columns that stand for the paper's five beside `method`, which stands for its own; of
    the other learned kind its plain name, or the first of its models. None: one is missing."""
    found = []
    for column in verdict.PRINTED_METHODS:
        alike = sorted((name for name in present if kind_in(name) == column), key=len)
        if printed_as(method) == column:
            alike = [method]
        if not alike:
            return None
        found.append(alike[0])
    return found


def _solved(rows: Sequence[Row]) -> dict[tuple[str, int, str], np.ndarray]:
    """(function, dim, method) -> share of starts that got to each of `TOLERANCES`."""
    found: dict[tuple[str, int, str], list[list[bool]]] = {}
    for row in rows:
        reached = [row[f"evals_to_{tolerance}"] is not None for tolerance in TOLERANCES]
        found.setdefault((row["function"], row["dim"], row["method"]), []).append(reached)
    return {key: np.mean(each, axis=0) for key, each in found.items()}


def _against(
    preset: str,
    cells: Means,
    method: str,
    rival: str,
    solved: Mapping[tuple[str, int, str], np.ndarray],
) -> Row:
    ratios: dict[str, list[float]] = {"mean": [], "median": []}
    for key, each in cells.items():
        minimum, floor = _level(preset, key)
        for name, of in ratios.items():
            own, other = (max(each[who][name] - minimum, floor) for who in (method, rival))
            of.append(0.0 if own == other else float(np.log10(own) - np.log10(other)))
    means = np.asarray(ratios["mean"])
    row: Row = {
        "rival": rival,
        "cells": len(cells),
        "better": int(np.sum(means < 0)),
        "level": int(np.sum(means == 0)),
        "better_by_median": int(np.sum(np.asarray(ratios["median"]) < 0)),
        "log10_ratio": float(np.median(means)),
        "log10_ratio_of_medians": float(np.median(ratios["median"])),
    }
    shares = {
        who: np.mean([solved[function, dim, who] for function, dim in cells], axis=0)
        for who in (method, rival)
    }
    for index, tolerance in enumerate(TOLERANCES):
        own, other = (float(shares[who][index]) for who in (method, rival))
        row[f"solved_{tolerance}"] = own
        row[f"solved_ratio_{tolerance}"] = own / other if other else None
    return row


def _medians(rows: Sequence[Row]) -> list[Row]:
    """Of each model with several seeds, the median of every number over them."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["seed"] is not None:
            key = (row["method"], row["functions"], row["dims"], row.get("rival"))
            groups.setdefault(key, []).append(row)
    found = []
    for group in groups.values():
        seeds = sorted(row["seed"] for row in group)
        if len(seeds) < 2:
            continue
        middle = dict(group[0]) | {"seed": f"median of {len(seeds)}", "weights": ""}
        for name, value in group[0].items():
            if name not in (*HEAD, "rival") and isinstance(value, int | float):
                known = [row[name] for row in group if row[name] is not None]
                middle[name] = statistics.median(known)
        found.append(middle)
    return found


def markdown(rows: Sequence[Row]) -> str:
    """`verdict.md` of `verdict_rows`."""
    preset, starts = rows[0]["preset"], max(row["starts"] for row in rows)
    text = [f"# Verdict, preset {preset}, {starts} starts", ""]
    if presets.preset(preset).slips and starts < verdict.WANTED_STARTS:
        text += [f"The rule wants {verdict.WANTED_STARTS} starts; here are {starts}.", ""]
    for row in rows:
        if row["seed"] is None or isinstance(row["seed"], int):
            line = f"* {_title(row)}: {row['weights'] or 'weights not logged in this folder'}"
            text += [] if line in text else [line]
    rest = [name for name in rows[0] if name not in ("preset", "weights", "starts")]
    text += ["", "| " + " | ".join(rest) + " |", "|---" * len(rest) + "|"]
    text += ["| " + " | ".join(_entry(row, name) for name in rest) + " |" for row in rows]
    return "\n".join([*text, ""])


def _title(row: Row) -> str:
    return row["method"] if row["seed"] is None else f"{row['method']}-s{row['seed']}"


def _entry(row: Row, name: str) -> str:
    value = row[name]
    if value is None:
        return ""
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    of = "of_five" if name == "best_of_five" else "cells" if name in _COUNTS else None
    return f"{text} ({value / row[of]:.0%})" if of and row[of] else text
