"""One cell of the benchmark: a method on all starts of a (preset, function, dim), kept in a file.

A cell's file name holds a hash of everything that decides its numbers, so that an interrupted
benchmark resumes and a changed one computes anew.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from optimus.bench import storage
from optimus.bench.methods import RunAll
from optimus.bench.methods.counting import compiled_value
from optimus.bench.methods.sources import Source
from optimus.bench.methods.trace import Trace
from optimus.bench.storage import Row
from optimus.problems import presets
from optimus.problems.presets import Problem

SCHEMA = 2  # raise when functions, presets, counting or a method change what they compute
LIBRARIES = ("jax", "optax", "scipy", "numpy")
TOLERANCES = ("1e-1", "1e-3", "1e-6")
COLUMNS = (
    *("preset", "function", "dim", "method", "start", "f0", "f_star", "f_best", "f_last"),
    *("n_f", "n_g", "n_hvp", *(f"evals_to_{tolerance}" for tolerance in TOLERANCES)),
    *("status", "lr", "precision", "seed", "weights_hash", "seconds"),
)


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
      sources: of learned methods: weights by the group of functions they score, or under "".
      revision: of its own code, raised when that computes other numbers; part of the hash.
    """

    name: str
    run_all: RunAll
    options: Mapping[str, Any] = field(default_factory=dict)
    weights_hash: str = ""
    most_dim: int | None = None
    precision: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict)
    revision: int = 0

    def decides(self) -> dict[str, Any]:
        """What of the method decides the numbers of its cells; JSON values."""
        found = {"options": dict(self.options), "weights_hash": self.weights_hash}
        return found | ({"method_revision": self.revision} if self.revision else {})


@functools.cache
def versions() -> Mapping[str, str]:
    """Of the libraries that decide numbers; part of the hash."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


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

    def decides(self) -> dict[str, Any]:
        """All that decides the numbers, the method's own options and weights apart; JSON values."""
        return asdict(self) | {
            "schema": SCHEMA,
            "preset": asdict(presets.preset(self.preset)),
            "libraries": dict(versions()),
        }

    def name(self, method: Method) -> str:
        """File name without suffix."""
        decides = self.decides() | method.decides()
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


def padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """`[S, longest, ...]`, each continued with its last value."""
    longest = max(len(array) for array in arrays)
    return np.stack([array[np.minimum(np.arange(longest), len(array) - 1)] for array in arrays])


def compute(cell: Cell, method: Method) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows of the cell, and its arrays: `best` `[S, P]` by evaluation, `best_by_iteration` and
    `iterates` `[S, K + 1]`, each continued with its last value; `n_f`, `non_finite` `[S]`; where
    the method keeps it, `path` `[S, K + 1, 2]`, the iterates' first two coordinates."""
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
        "best": padded([trace.best for trace in traces]),
        "best_by_iteration": padded([trace.best_by_iteration for trace in traces]),
        "iterates": padded([trace.iterates for trace in traces]),
        "n_f": np.asarray([trace.n_f for trace in traces]),
        "non_finite": np.asarray([trace.non_finite for trace in traces]),
    }
    paths = [trace.path for trace in traces if trace.path is not None]
    if len(paths) == len(traces):
        arrays["path"] = padded(paths)
    return rows, arrays


def compute_or_load(
    out: Path, cell: Cell, method: Method, progress: Callable[[str], None] = lambda text: None
) -> tuple[list[Row], int, bool]:
    """(rows, non-finite values, whether it had to be computed)."""
    name = cell.name(method)
    stored = storage.load(out, name)
    if stored is not None:
        return stored.rows, stored.non_finite, False
    progress(f"{cell.function} {cell.dim} {cell.method}")
    rows, arrays = compute(cell, method)
    storage.store(out, name, rows, arrays, cell.decides() | method.decides())
    return rows, int(arrays["non_finite"].sum()), True
