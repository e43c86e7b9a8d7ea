"""SciPy's BFGS, L-BFGS-B, Newton-CG and trust-ncg, with counted evaluations and SciPy's defaults.

BFGS is the paper's: gtol 1e-5, dense, H0 = I. Of float32 objectives SciPy sees values and
gradients as float64 numbers; its own arithmetic is float64.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.optimize

from optimus.bench.methods.counting import BudgetSpent, Counted
from optimus.bench.methods.trace import Trace
from optimus.problems.presets import Problem, arithmetic, preset

SCIPY_NAMES = {
    "bfgs": "BFGS",
    "l_bfgs_b": "L-BFGS-B",
    "newton_cg": "Newton-CG",
    "trust_ncg": "trust-ncg",
}


def _status(method: str, result: scipy.optimize.OptimizeResult, steps: int) -> str:
    if result.success:
        return "converged"
    return "steps" if result.nit >= steps else "stalled"


def minimise(counted: Counted, method: str, x0: np.ndarray, steps: int, **options: Any) -> str:
    """Runs a SciPy method from x0 for at most `steps` iterations; returns its status.

    `counted` keeps the record. Further options go to SciPy, by SciPy's names.
    """
    second_order = method in ("newton_cg", "trust_ncg")

    def iterated(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        counted.iterated(intermediate_result.fun, intermediate_result.x)

    if method == "l_bfgs_b":
        options.setdefault("maxfun", 100 * steps)  # iterations are the budget, not SciPy's 15000
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a failed line search shows in the status
            result = scipy.optimize.minimize(
                counted.value,
                np.asarray(x0, np.float64),
                jac=counted.gradient,
                hessp=counted.hvp if second_order else None,
                method=SCIPY_NAMES[method],
                callback=iterated,
                options={"maxiter": steps, **options},
            )
    except BudgetSpent:
        return "evaluations"
    except (ValueError, FloatingPointError, np.linalg.LinAlgError):
        return "stalled"  # SciPy refuses numbers that are not finite in the middle of a run
    return _status(method, result, steps)


def run(
    problem: Problem,
    steps: int,
    *,
    method: str = "bfgs",
    max_evaluations: int | None = None,
    **options: Any,
) -> Trace:
    """One problem, at most `steps` iterations and `max_evaluations` points."""
    with arithmetic(preset(problem.preset).dtype):
        counted = Counted(problem, max_evaluations, hvp=method in ("newton_cg", "trust_ncg"))
        status = minimise(counted, method, problem.x0, steps, **options)
        return counted.trace(status)


def run_all(problems: Sequence[Problem], steps: int, **options: Any) -> list[Trace]:
    """The problems one after the other; options as for `run`."""
    return [run(problem, steps, **options) for problem in problems]


def named(method: str) -> Callable[..., list[Trace]]:
    """`run_all` of one SciPy method."""
    return functools.partial(run_all, method=method)
