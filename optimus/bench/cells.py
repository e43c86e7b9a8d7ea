"""One cell of the benchmark: a method on all starts of a (preset, function, dim), kept in a file.

A cell's file name holds a hash of everything that decides its numbers, so that an interrupted
benchmark resumes and a changed one computes anew.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from optimus import presets
from optimus.checkpoint import write_atomically
from optimus.presets import Problem
from optimus.rivals import RunAll
from optimus.rivals.counting import compiled_value
from optimus.rivals.trace import Trace

SCHEMA = 1  # raise when functions, presets, counting or a rival change what they compute
LIBRARIES = ("jax", "optax", "scipy", "numpy")
TOLERANCES = ("1e-1", "1e-3", "1e-6")
COLUMNS = (
    *("preset", "function", "dim", "method", "start", "f0", "f_star", "f_best", "f_last"),
    *("n_f", "n_g", "n_hvp", *(f"evals_to_{tolerance}" for tolerance in TOLERANCES)),
    *("status", "lr", "precision", "seed", "weights_hash", "seconds"),
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """What the benchmark runs.

    Attributes:
      name: snake_case, as in the tables.
      run_all: (problems of one cell, steps, max_evaluations=, **options) -> their traces.
      options: keyword arguments of `run_all`, JSON values; part of the hash.
      weights_hash: of learned methods; part of the hash.
      most_dim: largest dimension it is run in, where there is one.
      precision: of its own arithmetic where that is not the preset's.
    """

    name: str
    run_all: RunAll
    options: Mapping[str, Any] = field(default_factory=dict)
    weights_hash: str = ""
    most_dim: int | None = None
    precision: str = ""


@dataclass(frozen=True)
class Cell:
    """What decides the numbers of a cell, the method's options apart."""

    preset: str
    function: str
    dim: int
    method: str
    starts: int
    steps: int
    seed: int

    def name(self, method: Method) -> str:
        """File name without suffix."""
        decides = asdict(self) | {
            "schema": SCHEMA,
            "options": dict(method.options),
            "weights_hash": method.weights_hash,
            "preset": asdict(presets.preset(self.preset)),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        }
        text = json.dumps(decides, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return f"{self.preset}-{self.function}-{self.dim}-{self.method}-{digest}"


def starting_values(problems: Sequence[Problem]) -> np.ndarray:
    """Reported values at the starts, float64 `[S]`."""
    with presets.arithmetic(presets.preset(problems[0].preset).dtype):
        value = compiled_value(problems[0].objective)
        return np.asarray([float(value(each.data, each.x0)) for each in problems])


def row(cell: Cell, method: Method, problem: Problem, f0: float, trace: Trace) -> Row:
    """One row of `results.csv`.

    f0, f_best and f_last are reported values: f minus `f_star`. Evaluations are to the true gap:
    until f_best − minimum <= τ (f0 − minimum), None where that is never reached.
    """
    minimum, gap = problem.minimum, f0 - problem.minimum
    reached = [trace.evaluations_to(minimum + float(tau) * gap) for tau in TOLERANCES]
    return dict(
        zip(
            COLUMNS,
            (
                *(cell.preset, cell.function, cell.dim, cell.method, problem.start),
                *(f0, problem.f_star, float(trace.best[-1]), float(trace.iterates[-1])),
                *(trace.n_f, trace.n_g, trace.n_hvp, *reached, trace.status, trace.lr),
                method.precision or presets.preset(cell.preset).dtype,
                *(cell.seed, method.weights_hash, trace.seconds),
            ),
            strict=True,
        )
    )


def _padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """`[S, longest]`, each continued with its last value."""
    longest = max(len(array) for array in arrays)
    return np.stack([np.pad(array, (0, longest - len(array)), mode="edge") for array in arrays])


def compute(cell: Cell, method: Method) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows of the cell, and its arrays: `best` `[S, P]` by evaluation, `best_by_iteration` and
    `iterates` `[S, K + 1]`, each continued with its last value; `n_f`, `non_finite` `[S]`."""
    problems = [
        presets.problem(cell.preset, cell.function, cell.dim, cell.seed, start)
        for start in range(cell.starts)
    ]
    capped = presets.preset(cell.preset).counts_evaluations
    options = dict(method.options) | ({"max_evaluations": cell.steps} if capped else {})
    traces = method.run_all(problems, cell.steps, **options)
    values = starting_values(problems)
    rows = [
        row(cell, method, problem, f0, trace)
        for problem, f0, trace in zip(problems, values, traces, strict=True)
    ]
    arrays = {
        "best": _padded([trace.best for trace in traces]),
        "best_by_iteration": _padded([trace.best_by_iteration for trace in traces]),
        "iterates": _padded([trace.iterates for trace in traces]),
        "n_f": np.asarray([trace.n_f for trace in traces]),
        "non_finite": np.asarray([trace.non_finite for trace in traces]),
    }
    return rows, arrays


def _json(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become strings."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def store(out: Path, name: str, rows: Sequence[Row], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `traces/<name>.npz`, then `cells/<name>.json`: a cell that exists is complete."""
    for folder in ("cells", "traces"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    temporary = out / "traces" / f".{name}.{os.getpid()}.npz"
    try:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, out / "traces" / f"{name}.npz")
    finally:
        temporary.unlink(missing_ok=True)
    document = {
        "non_finite": int(arrays["non_finite"].sum()),
        "rows": [{key: _json(value) for key, value in each.items()} for each in rows],
    }
    write_atomically(out / "cells" / f"{name}.json", json.dumps(document))


def load(out: Path, name: str) -> tuple[list[Row], int] | None:
    """Rows of a stored cell and its count of non-finite values; None if there is none."""
    path = out / "cells" / f"{name}.json"
    try:
        document = json.loads(path.read_text())
        rows = [
            {key: float(value) if _is_number(key, value) else value for key, value in each.items()}
            for each in document["rows"]
        ]
        return rows, int(document["non_finite"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: computed anew


def _is_number(key: str, value: Any) -> bool:
    return key in ("f0", "f_best", "f_last", "f_star", "lr", "seconds") and value is not None


def compute_or_load(
    out: Path, cell: Cell, method: Method, progress: Callable[[str], None] = lambda text: None
) -> tuple[list[Row], int, bool]:
    """(rows, non-finite values, whether it had to be computed)."""
    name = cell.name(method)
    stored = load(out, name)
    if stored is not None:
        return (*stored, False)
    progress(f"{cell.function} {cell.dim} {cell.method}")
    rows, arrays = compute(cell, method)
    store(out, name, rows, arrays)
    return rows, int(arrays["non_finite"].sum()), True
