"""The checkpoint against baselines on held-out classical functions: table, profile, trajectories.

The benchmark's own code and cells are used, in RUN/report/: what is there is not computed again.
"""

import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from launch.monitoring.report import BASELINES, METHODS, MINE
from optimus.bench import plan
from optimus.bench.cells import Method
from optimus.bench.classical import paper_figures, report
from optimus.bench.classical import run as classical
from optimus.bench.figures import draw_profiles, drawable
from optimus.bench.methods import learned
from optimus.bench.storage import Row
from optimus.weights import LearnedOptimizer

PRESET = "fair-shift"


@dataclass(frozen=True)
class Plan:
    """What is compared."""

    functions: tuple[str, ...]
    dims: tuple[int, ...]
    starts: int
    steps: int


@dataclass(frozen=True)
class Found:
    """Results: `table` is (function, dim) -> method -> mean log10 (best gap / first gap)."""

    table: dict[tuple[str, int], dict[str, float]]
    pictures: dict[str, Path] = field(default_factory=dict)  # "profile", "paths": PNG
    problems: tuple[str, ...] = ()


def compare(model: LearnedOptimizer, out: Path, wanted: Plan, say: Callable[[str], None]) -> Found:
    """Runs what is missing. Pictures need matplotlib; without it a line says so.

    Args:
      model: weights of the checkpoint.
      out: folder of the cells and pictures.
      wanted: what is compared.
      say: takes a line about what is under way.
    """
    run_all = functools.partial(learned.run_all, model=model)
    mine = Method(MINE, run_all, weights_hash=model.fingerprint)
    say(f"comparing with {', '.join(BASELINES)} on {len(wanted.functions)} functions")
    size = (wanted.functions, wanted.dims, [mine, *plan.methods_of(BASELINES)])
    silent = Console(file=io.StringIO())
    result = classical.run(PRESET, *size, wanted.starts, wanted.steps, 0, out, silent)
    rows = [row for row in result.rows if row["method"] in METHODS]
    problems = [*result.failed, *result.left_out]
    drawn = drawable(problems.append) and bool(rows)
    return Found(_table(rows), _pictures(rows, result, out) if drawn else {}, tuple(problems))


def _table(rows: Sequence[Row]) -> dict[tuple[str, int], dict[str, float]]:
    values: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        first, best = float(row["f0"]), float(row["f_best"])  # reported values: gaps, here
        ratio = max(best / first, 1e-8) if np.isfinite(best) and first > 0 else 1.0
        cell = values.setdefault((row["function"], row["dim"]), {})
        cell.setdefault(row["method"], []).append(min(0.0, float(np.log10(ratio))))
    means = ({m: float(np.mean(found)) for m, found in cell.items()} for cell in values.values())
    return dict(zip(values, means))


def _pictures(rows: Sequence[Row], result: classical.Result, out: Path) -> dict[str, Path]:
    found = {}
    profile = [r for r in report.profile_rows(rows) if r["profile"] == "performance"]
    if profile:
        found["profile"] = draw_profiles(profile, out / "profile.png")
    traces = {k: p for k, p in result.traces.items() if k[2] in METHODS}
    paths = paper_figures.path_rows(traces)
    if paths:
        least = min(row["dim"] for row in paths)
        chosen = [row for row in paths if row["dim"] == least]
        found["paths"] = paper_figures.draw_paths(chosen, PRESET, 0, out / "paths.png")
    return found
