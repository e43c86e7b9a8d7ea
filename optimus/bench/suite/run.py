"""Arm D: suites that nothing here was trained on, resumable like the classical benchmark.

    from optimus.bench.suite import run as suite
    suite.main(suite="sif2jax", methods="l_bfgs_b,adam,optimus", out="runs/sif2jax")

writes OUT/results.csv, table.md, table.csv, profiles.csv, profiles.png (`suite_report`), OUT/cells,
OUT/traces and OUT/test_reads.jsonl. Every method gets the same number of evaluations. `adam` and
`momentum` have one rate for all problems, chosen on the fifteen classical functions
(`rivals.global_rate`). `reference` is L-BFGS-B with ten times the budget: no competitor, it is run
so that "solved" does not depend on who competes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from optimus.bench import cells, reads, storage
from optimus.bench.cells import Method
from optimus.bench.storage import Row
from optimus.bench.suite import report as suite_report
from optimus.bench.suite.methods import REFERENCE, methods_of
from optimus.problems import suites
from optimus.problems.suites import Case

logger = logging.getLogger(__name__)
DEFAULT_METHODS = "l_bfgs_b,adam,optimus,optimus_safeguarded"
SCHEMA = 1


@dataclass(frozen=True)
class SuiteCell:
    """What decides the numbers of a cell, the method's options and weights apart."""

    suite: str
    function: str
    dim: int
    method: str
    starts: int
    steps: int
    seed: int

    def name(self, method: Method) -> str:
        """File name without suffix."""
        digest = hashlib.sha256(json.dumps(self.decides(method), sort_keys=True).encode())
        words = f"{self.suite}-{self.function}-{self.dim}-{self.method}"
        return f"{words}-{digest.hexdigest()[:16]}"

    def decides(self, method: Method) -> dict[str, Any]:
        """All that decides the numbers; JSON values."""
        numbers = {"schema": SCHEMA, "libraries": dict(cells.versions())}
        return asdict(self) | numbers | method.decides()


def _compute(cell: SuiteCell, method: Method, case: Case, out: Path) -> None:
    problems = case.problems(cell.starts, cell.seed)
    values = cells.starting_values(problems)
    if not np.isfinite(values).all():
        raise ValueError("the value at a start is not finite")
    traces = method.run_all(problems, cell.steps, max_evaluations=cell.steps, **method.options)
    rows = [
        {
            **asdict(cell),
            "start": problem.start,
            "related": case.related,
            "expected": case.expected,
            "f0": f0,
            "f_best": float(trace.best[-1]),
            "f_last": float(trace.iterates[-1]),
            "n_f": trace.n_f,
            "n_g": trace.n_g,
            "status": trace.status,
            "lr": trace.lr,
            "weights_hash": method.weights_hash,
            "seconds": trace.seconds,
        }
        for problem, f0, trace in zip(problems, values.tolist(), traces, strict=True)
    ]
    arrays = {
        "best": cells.padded([trace.best for trace in traces]),
        "non_finite": np.asarray([trace.non_finite for trace in traces]),
    }
    storage.store(out, cell.name(method), rows, arrays, cell.decides(method))


def run(
    suite: str,
    methods: Sequence[Method],
    chosen: Sequence[Case],
    starts: int,
    steps: int,
    seed: int,
    out: Path,
    console: Console,
) -> tuple[list[Row], dict[tuple[str, int, str], Path], list[str]]:
    """Computes the cells that are not there: (rows, (problem, dim, method) -> traces, failures)."""
    rows: list[Row] = []
    traces: dict[tuple[str, int, str], Path] = {}
    failed: list[str] = []
    planned = {
        method.name: [
            (case, SuiteCell(suite, case.name, case.dim, method.name, starts, steps, seed))
            for case in chosen
        ]
        for method in methods
    }
    for method in methods:
        own = [cell for _, cell in planned[method.name]]
        new = [cell for cell in own if not storage.exists(out, cell.name(method))]
        if new and method.sources:
            keys = [(cell.function, cell.dim) for cell in new]
            settings = dict(set=f"suite {suite}", starts=starts, steps=steps, seed=seed)
            reads.note(out, method.name, method.weights_hash, method.sources, keys, **settings)
    for index, case in enumerate(chosen):
        for method in methods:
            cell = planned[method.name][index][1]
            name = cell.name(method)
            if storage.load(out, name) is None:
                console.print(f"{index + 1}/{len(chosen)} {case.name} {case.dim} {method.name}")
                try:
                    _compute(cell, method, case, out)
                except Exception as error:  # one cell must not take the others with it
                    logger.debug("cell failed: %s", cell, exc_info=True)
                    words = f"{case.name} {case.dim} {method.name}: {type(error).__name__}: {error}"
                    failed.append(words.splitlines()[0])
                    continue
            stored = storage.load(out, name)
            if stored is not None:
                rows += stored.rows
                traces[case.name, case.dim, method.name] = storage.trace_path(out, name)
    return rows, traces, failed


def main(
    suite: str = "sif2jax",
    methods: str | Sequence[str] = DEFAULT_METHODS,
    problems: str = "all",
    least_dim: int = 2,
    most_dim: int = suites.MOST_DIM,
    starts: int = 1,
    steps: int = 200,
    seed: int = 0,
    out: str | Path = "runs/suite",
    figures: bool = True,
    console: Console | None = None,
) -> int:
    """Runs a suite and writes the report; 0, or 1 where a cell failed.

    Raises:
      ValueError: a mistake in the arguments, or a library that is not installed; one line.
    """
    console, out = console or Console(stderr=True, highlight=False, markup=False), Path(out)
    if starts < 1 or steps < 1 or seed < 0:
        raise ValueError(f"need starts >= 1, steps >= 1, seed >= 0: {starts}, {steps}, {seed}")
    names = () if problems == "all" else tuple(each.strip() for each in problems.split(","))
    chosen = suites.cases(suite, names, least_dim, most_dim)
    found = methods_of(methods, steps, out)
    rows, traces, failed = run(suite, found, chosen, starts, steps, seed, out, console)
    for line in failed:
        console.print(f"failed: {line}")
    for method, said in reads.said(rows, out).items():
        console.print(f"{method}: {said}; arm D here")
    for path in suite_report.write(rows, traces, out, REFERENCE, reads.said(rows, out), figures):
        console.print(f"wrote {path}")
    return 1 if failed else 0
