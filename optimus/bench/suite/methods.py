"""What competes on a suite: methods that need no tuning on it, and the reference beside them."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

from optimus.bench import cells, plan
from optimus.bench.cells import Method
from optimus.bench.methods import RIVALS, first_order, global_rate
from optimus.bench.methods.labels import kind_in, learned
from optimus.bench.methods.trace import Trace
from optimus.problems.presets import Problem
from optimus.rundir.checkpoint import write_atomically

REFERENCE = "reference"
REFERENCE_FACTOR = 10
CLASSICAL = ("bfgs", "l_bfgs_b", "optax_lbfgs")
ONE_RATE = ("adam", "momentum")
NO_LEARNED = ("multistart_optimus",)  # there is no box to start from


def methods_of(text: str | Sequence[str], steps: int, out: Path) -> list[Method]:
    """The methods by name, and the reference; raises `ValueError` for those it does not have."""
    found = []
    for name in plan.method_names(text):
        if name in ONE_RATE:
            rate = _rate(name, steps, out)
            run_all = functools.partial(first_order.run_all, method=name)
            found.append(Method(name, run_all, {"lr": rate}))
        elif name in CLASSICAL or (learned(name) and kind_in(name) not in NO_LEARNED):
            found.append(plan.METHODS[name])
        else:
            known = ", ".join((*CLASSICAL, *ONE_RATE, "optimus...", "adafactor_mlp..."))
            raise ValueError(f"no method {name!r} for suites; known: {known}")
    more = {"factor": REFERENCE_FACTOR}
    return [*found, Method(REFERENCE, _reference, more)]


def _reference(
    problems: Sequence[Problem], steps: int, *, factor: int, max_evaluations: int
) -> list[Trace]:
    return RIVALS["l_bfgs_b"](
        problems,
        factor * steps,
        max_evaluations=factor * max_evaluations,
        ftol=0.0,
        gtol=1e-10,
    )


def _rate(name: str, steps: int, out: Path) -> float:
    """The rate for all problems, kept in `out`, since choosing it takes minutes."""
    path, key = out / "rates.json", f"{name} {steps} {json.dumps(dict(cells.versions()))}"
    known = json.loads(path.read_text()) if path.is_file() else {}
    if key not in known:
        # No function is called "": the choice is made on all fifteen.
        known[key] = global_rate.rate_for("fair-shift", "", 0, name, steps)
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(known, indent=2) + "\n")
    return float(known[key])
