"""Methods against each other at equal evaluations, from the results of a classical benchmark.

    optimus bench classical --preset fair-shift --methods adam,l_bfgs_b,optimus --out runs/shift
    python -m benchmarks.compare_methods runs/shift/results.csv --against adam,l_bfgs_b

Prints a table with a row for each method and each that it is held against, over the cells (function
and dimension) that both have:

    better, level      cells whose mean gap over the starts, floored, is less; equal
    by median          the same for the median gap, which a few bad starts do not decide
    ratio              median over the cells of log10 of the ratio of the mean gaps
    ratio of medians   the same of the median gaps
    solved TAU         share of runs that get to TAU of the first gap, and over the other's share
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimus.bench.cells import TOLERANCES
from optimus.bench.methods.models import learned
from optimus.bench.storage import Row, markdown_table
from optimus.problems import presets


def read(path: Path) -> list[Row]:
    """The rows of `results.csv`, numbers as numbers."""
    with open(path, newline="") as file:
        return [
            row
            | {"dim": int(row["dim"]), "f_best": float(row["f_best"])}
            | {f"evals_to_{tau}": row[f"evals_to_{tau}"] or None for tau in TOLERANCES}
            for row in csv.DictReader(file)
        ]


def cells(rows: Sequence[Row]) -> dict[str, dict[tuple[str, int], Any]]:
    """method -> (function, dim) -> (floored mean gap, floored median gap, solved `[starts, 3]`).

    A run that ends in nothing finite counts as an infinite gap.
    """
    found: dict[str, dict[tuple[str, int], list[Row]]] = {}
    for row in rows:
        own = found.setdefault(row["method"], {})
        own.setdefault((row["function"], row["dim"]), []).append(row)
    return {
        method: {key: _cell(key, each) for key, each in own.items()}
        for method, own in found.items()
    }


def _cell(key: tuple[str, int], rows: Sequence[Row]) -> tuple[float, float, np.ndarray]:
    problem = presets.problem(rows[0]["preset"], *key, 0, 0)
    gaps = np.array([row["f_best"] for row in rows]) - problem.minimum
    gaps = np.where(np.isfinite(gaps), gaps, np.inf)
    mean, median = np.mean(gaps), np.quantile(gaps, 0.5, method="nearest")
    solved = np.array([[row[f"evals_to_{tau}"] is not None for tau in TOLERANCES] for row in rows])
    return max(float(mean), problem.floor), max(float(median), problem.floor), solved


def _log_ratios(own: Sequence[float], other: Sequence[float]) -> np.ndarray:
    """`[cells]`; two infinite gaps are equal."""
    pairs = zip(own, other, strict=True)
    return np.array([0.0 if a == b else np.log10(a) - np.log10(b) for a, b in pairs])


def against(own: dict[Any, Any], other: dict[Any, Any]) -> Row:
    """The numbers of one line of the table, of two methods' `cells`."""
    keys = [key for key in own if key in other]
    means, medians = (
        _log_ratios([own[key][index] for key in keys], [other[key][index] for key in keys])
        for index in (0, 1)
    )
    ours, theirs = (
        np.mean([np.mean(each[key][2], axis=0) for key in keys], axis=0) for each in (own, other)
    )
    row: Row = {
        "cells": len(keys),
        "better": int(np.sum(means < 0)),
        "level": int(np.sum(means == 0)),
        "by median": int(np.sum(medians < 0)),
        "ratio": float(np.median(means)),
        "ratio of medians": float(np.median(medians)),
    }
    for tau, share, base in zip(TOLERANCES, ours.tolist(), theirs.tolist()):
        row[f"solved {tau}"] = share
        row[f"over theirs {tau}"] = share / base if base else None
    return row


def compare(rows: Sequence[Row], methods: Sequence[str], baselines: Sequence[str]) -> list[Row]:
    """A row for each method and baseline that have cells in common.

    Args:
      rows: of one preset.
      methods: names; empty for all learned ones.
      baselines: names; those that did not run are left out.
    """
    found = cells(rows)
    return [
        {"method": method, "against": baseline, **against(found[method], found[baseline])}
        for method in methods or [name for name in found if learned(name)]
        for baseline in baselines
        if baseline in found and found[method].keys() & found[baseline].keys()
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="OUT/results.csv")
    parser.add_argument("--methods", default="", help="with commas between; default: all learned")
    parser.add_argument("--against", default="adam,l_bfgs_b,multistart_l_bfgs_b")
    options = parser.parse_args()
    methods = [name for name in options.methods.split(",") if name]
    print(
        "\n".join(
            markdown_table(compare(read(options.results), methods, options.against.split(",")))
        )
    )


if __name__ == "__main__":
    main()
