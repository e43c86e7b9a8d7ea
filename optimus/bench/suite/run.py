"""Problems of other libraries, which no weights were trained on; resumable.

    from optimus.bench.suite import run as suite
    suite.main(suite="sif2jax", methods="l_bfgs_b,adam,optimus", out="runs/sif2jax")

writes OUT/results.csv, table.md, table.csv, profiles.csv, profiles.png (`report`), OUT/cells and
OUT/traces. Every method gets the same number of evaluations, and none is tuned on the suite: `adam`
and `momentum` have one rate for all problems, chosen on the fifteen classical functions
(`first_order.shared_rate`). `reference` is L-BFGS-B with ten times the budget: no competitor, it is
run so that "solved" does not depend on who competes.
"""

import contextlib
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console

from optimus.bench import cells, plan, printer, storage
from optimus.bench.cells import Cell, Method, Planned
from optimus.bench.figures import drawable
from optimus.bench.methods import BASELINES, first_order
from optimus.bench.methods.counting import Problems, Trace
from optimus.bench.methods.models import kind_in, learned
from optimus.bench.suite import report
from optimus.errors import require
from optimus.problems import suites
from optimus.problems.presets import Problem
from optimus.problems.suites import Case
from optimus.rundir.checkpoint import write_atomically

DEFAULT_METHODS = "l_bfgs_b,adam,optimus,optimus_safeguarded"
ONE_RATE = ("adam", "momentum")
CLASSICAL = ("bfgs", "l_bfgs_b", "optax_lbfgs")
NO_LEARNED = ("multistart_optimus",)  # there is no box to start from
REFERENCE_FACTOR = 10


def methods_of(chosen: Sequence[Method], steps: int, out: Path) -> list[Method]:
    """The methods as they run on a suite, and the reference; raises `ConfigError` for those that a
    suite does not have."""
    known = ", ".join((*CLASSICAL, *ONE_RATE, "optimus...", "adafactor_mlp..."))
    found = []
    for method in chosen:
        name = method.name
        if name in ONE_RATE:
            rate = _rate(cast(first_order.Name, name), steps, out)
            method = Method(name, BASELINES[name], {"lr": rate})
        elif name not in CLASSICAL:
            fits = learned(name) and kind_in(name) not in NO_LEARNED
            require(fits, f"no method {name!r} for suites; known: {known}")
        found.append(method)
    return [*found, Method(report.REFERENCE, _reference, {"factor": REFERENCE_FACTOR})]


def _reference(problems: Problems, steps: int, *, factor: int, max_evaluations: int) -> list[Trace]:
    more = {"max_evaluations": factor * max_evaluations, "ftol": 0.0, "gtol": 1e-10}
    return BASELINES["l_bfgs_b"](problems, factor * steps, **more)


def _rate(name: first_order.Name, steps: int, out: Path) -> float:
    """The rate for all problems, kept in `out`, since choosing it takes minutes."""
    path, key = out / "rates.json", f"{name} {steps} {json.dumps(dict(cells.versions()))}"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        text = path.read_text(encoding="utf-8")
        known = {each: float(rate) for each, rate in json.loads(text).items()}
    if key not in known:
        known[key] = first_order.shared_rate("fair-shift", name, steps)
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(known, indent=2) + "\n")
    return known[key]


def _problems(case: Case, starts: int, seed: int) -> list[Problem]:
    problems = case.problems(starts, seed)
    if not np.isfinite(cells.starting_values(problems)).all():
        raise ValueError("the value at a start is not finite")
    return problems


def main(
    suite: suites.Name = "sif2jax",
    methods: str | Sequence[str] = DEFAULT_METHODS,
    problems: str = "all",
    least_dim: int = 2,
    most_dim: int = suites.MOST_DIM,
    model: str = plan.DEFAULT_MODEL,
    adafactor_model: str = plan.DEFAULT_ADAFACTOR_MODEL,
    starts: int = 1,
    steps: int = 200,
    seed: int = 0,
    out: str | Path = "runs/suite",
    figures: bool = True,
    console: Console | None = None,
) -> int:
    """Runs a suite and writes the report; 0, or 1 where a cell failed.

    Args:
      suite: whose problems.
      methods, model, adafactor_model: as `plan.methods_of` takes them.
      problems: names with commas between.
      least_dim, most_dim: range of the number of variables.
      starts: per problem; the first is the suite's own.
      steps: evaluations of each start.
      seed: of the other starts.
      out: folder.
      figures: whether pictures are drawn, where matplotlib is installed.
      console: shows progress; default: on standard error.

    Raises:
      ConfigError, WeightsError, SuiteMissing: a mistake in the arguments, or a library that is not
        installed; one line.
    """
    say, out = printer(console or Console(stderr=True)), Path(out)
    plan.require_counts(starts, steps, seed)
    names = () if problems == "all" else tuple(each.strip() for each in problems.split(","))
    chosen = suites.cases(suite, names, least_dim, most_dim)
    found = methods_of(plan.methods_of(methods, model, adafactor_model), steps, out)
    planned: dict[Cell, Planned] = {}
    cases: dict[Cell, Case] = {}
    for case in chosen:
        for method in found:
            cell = Cell(suite, case.name, case.dim, method.name, starts, steps, seed)
            made = functools.partial(_problems, case, starts, seed)
            planned[cell], cases[cell] = Planned(cell, method, made), case
    outcome = cells.run_cells(out, planned.values(), say)
    rows: list[storage.Row] = []
    traces: dict[storage.Key, Path] = {}
    for cell, own in outcome.rows.items():
        case, name = cases[cell], cell.name(planned[cell].method)
        more = dict(suite=suite, related=case.related, expected=case.expected, steps=steps)
        rows += [row | more for row in own]
        traces[cell.function, cell.dim, cell.method] = storage.trace_path(out, name)
    for line in outcome.failed:
        say(f"failed: {line}")
    for path in report.write(rows, traces, out, figures and drawable(say)):
        say(f"wrote {path}")
    return 1 if outcome.failed else 0
