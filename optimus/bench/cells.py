"""One cell of a benchmark: a method on all starts of a (preset, function, dim), kept in a file.

A cell's file name holds a hash of everything that decides its numbers, so that an interrupted
benchmark resumes and a changed one computes anew.
"""

import functools
import hashlib
import importlib.metadata
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optimus.bench import storage
from optimus.bench.methods.counting import RunAll, Trace, compiled_value
from optimus.bench.storage import Row
from optimus.problems import presets
from optimus.problems.presets import Problem

logger = logging.getLogger(__name__)
SCHEMA = 2  # raise when functions, presets, counting or a method change what they compute
CELLS_BETWEEN = 24  # computed ones, after which all compiled programs and traces are dropped
LIBRARIES = ("jax", "optax", "scipy", "numpy")
TOLERANCES = ("1e-1", "1e-3", "1e-6")
COLUMNS = (
    *("preset", "function", "dim", "method", "start", "f0", "f_star", "f_best", "f_last"),
    *("n_f", "n_g", "n_hvp", *(f"evals_to_{tolerance}" for tolerance in TOLERANCES)),
    *("status", "lr", "precision", "seed", "weights_hash", "seconds"),
)


@dataclass(frozen=True)
class Method:
    """What a benchmark runs.

    Attributes:
      name: snake_case, as in the tables.
      run_all: (problems of one cell, steps, max_evaluations=, **options) -> their traces.
      options: keyword arguments of `run_all`, JSON values; part of the hash.
      weights_hash: of learned methods; part of the hash.
      unseen: of weights that were trained without some groups of functions, those groups; None of
        all others.
    """

    name: str
    run_all: RunAll
    options: Mapping[str, Any] = field(default_factory=dict)
    weights_hash: str = ""
    unseen: tuple[str, ...] | None = None

    def decides(self) -> dict[str, Any]:
        """What of the method decides the numbers of its cells; JSON values."""
        return {"options": dict(self.options), "weights_hash": self.weights_hash}


@functools.cache
def versions() -> Mapping[str, str]:
    """Of the libraries that decide numbers; part of the hash."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


@dataclass(frozen=True)
class Cell:
    """What decides the numbers of a cell, the method's options and weights apart.

    Attributes:
      preset: of the classical benchmark, or the name of another library's suite.
      function, dim: the problem.
      method: name.
      starts, steps, seed: of the benchmark.
    """

    preset: str
    function: str
    dim: int
    method: str
    starts: int
    steps: int
    seed: int

    def decides(self) -> dict[str, Any]:
        """All that decides the numbers, the method's own options and weights apart; JSON values."""
        rules = presets.PRESETS.get(self.preset)
        return asdict(self) | {
            "schema": SCHEMA,
            "preset": asdict(rules) if rules else self.preset,
            "libraries": dict(versions()),
        }

    def name(self, method: Method) -> str:
        """File name without suffix."""
        text = json.dumps(self.decides() | method.decides(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return f"{self.preset}-{self.function}-{self.dim}-{self.method}-{digest}"


def starting_values(problems: Sequence[Problem]) -> np.ndarray:
    """Reported values at the starts of problems that share an objective, float64 `[S]`."""
    with presets.arithmetic(problems[0].dtype):
        value = compiled_value(problems[0].objective)
        return np.asarray([float(value(each.data, each.x0)) for each in problems])


def row(cell: Cell, method: Method, problem: Problem, f0: float, trace: Trace) -> Row:
    """One row of `results.csv`.

    f0, f_best and f_last are reported values: f minus `f_star`. Evaluations are to the true gap:
    until f_best − minimum <= τ (f0 − minimum), None where that is never reached.

    Args:
      cell: the cell it is of.
      method: what ran.
      problem: one start.
      f0: reported value there.
      trace: of the run.
    """
    minimum, gap = problem.minimum, f0 - problem.minimum
    reached = [trace.evaluations_to(minimum + float(tau) * gap) for tau in TOLERANCES]
    values = (
        *(cell.preset, cell.function, cell.dim, cell.method, problem.start),
        *(f0, problem.f_star, float(trace.best[-1]), float(trace.iterates[-1])),
        *(trace.n_f, trace.n_g, trace.n_hvp, *reached, trace.status, trace.lr),
        *(problem.dtype, cell.seed, method.weights_hash, trace.seconds),
    )
    return dict(zip(COLUMNS, values, strict=True))


def padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays `[K, ...]` as `[S, longest K, ...]`, each continued with its last value."""
    longest = max(len(array) for array in arrays)
    return np.stack([array[np.minimum(np.arange(longest), len(array) - 1)] for array in arrays])


def compute(
    cell: Cell, method: Method, problems: Sequence[Problem]
) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows of the cell, and its arrays: `best` `[S, P]` by evaluation, `best_by_iteration` and
    `iterates` `[S, K + 1]`, each continued with its last value; `n_f`, `non_finite` `[S]`; where
    the method keeps it, `path` `[S, K + 1, 2]`, the iterates' first two coordinates.
    """
    values = starting_values(problems)
    options = dict(method.options)
    if presets.preset(problems[0].preset).counts_evaluations:
        options["max_evaluations"] = cell.steps
    traces = method.run_all(problems, cell.steps, **options)
    rows = [
        row(cell, method, problem, f0, trace)
        for problem, f0, trace in zip(problems, values.tolist(), traces, strict=True)
    ]
    series = ["best", "best_by_iteration", "iterates"]
    series += ["path"] if all(trace.path is not None for trace in traces) else []
    arrays = {name: padded([getattr(trace, name) for trace in traces]) for name in series}
    for name in ("n_f", "non_finite"):
        arrays[name] = np.asarray([getattr(trace, name) for trace in traces])
    return rows, arrays


@dataclass(frozen=True)
class Planned:
    """A cell that is wanted.

    Attributes:
      cell, method: which.
      problems: makes its problems, one for each start.
    """

    cell: Cell
    method: Method
    problems: Callable[[], Sequence[Problem]]


@dataclass
class Outcome:
    """What happened to the planned cells.

    Attributes:
      rows: of each cell that is there.
      computed, cached: how many were computed, how many were there.
      non_finite: values that were not finite.
      failed: a line for each cell that raised.
    """

    rows: dict[Cell, list[Row]] = field(default_factory=dict)
    computed: int = 0
    cached: int = 0
    non_finite: int = 0
    failed: list[str] = field(default_factory=list)


_computed = itertools.count(1)  # cells, in this process


def run_cells(out: Path, planned: Iterable[Planned], say: Callable[[str], None]) -> Outcome:
    """Computes the cells that `out` does not have; `say` takes a line about each of them.

    A cell that fails is noted; the others go on.
    """
    outcome = Outcome()
    for each in planned:
        cell, name = each.cell, each.cell.name(each.method)
        words = f"{cell.function} {cell.dim} {cell.method}"
        stored = storage.load(out, name)
        try:
            if stored is None:
                say(words)
                rows, arrays = compute(cell, each.method, each.problems())
                decides = cell.decides() | each.method.decides()
                stored = storage.store(out, name, rows, arrays, decides)
                outcome.computed += 1
                if next(_computed) % CELLS_BETWEEN == 0:
                    jax.clear_caches()  # JAX 0.6 keeps the traces of what is let go
            else:
                outcome.cached += 1
        except Exception as error:  # one cell must not take the others with it
            logger.debug("cell failed: %s", cell, exc_info=True)
            outcome.failed.append(f"{words}: {type(error).__name__}: {error}".splitlines()[0])
            continue
        outcome.rows[cell] = stored.rows
        outcome.non_finite += stored.non_finite
    return outcome
