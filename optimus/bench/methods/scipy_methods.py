"""SciPy's BFGS, L-BFGS-B, Newton-CG and trust-ncg, with counted evaluations and SciPy's defaults.

BFGS is the paper's: gtol 1e-5, dense, H0 = I. Of float32 objectives SciPy sees values and
gradients as float64 numbers; its own arithmetic is float64. Multistart L-BFGS-B goes from one start
to another, the first shared with the other methods, then uniform in the start box.
"""

import functools
import itertools
import warnings
from typing import Any, Literal

import numpy as np
import scipy.optimize

from optimus.bench.methods import bfgs_quadratic, counting
from optimus.bench.methods.counting import Cap, Counted, Problems, RunAll, Status, Trace, one_by_one
from optimus.problems.presets import Problem, arithmetic

Name = Literal["bfgs", "l_bfgs_b", "newton_cg", "trust_ncg"]
SCIPY_NAMES: dict[Name, str] = {
    "bfgs": "BFGS",
    "l_bfgs_b": "L-BFGS-B",
    "newton_cg": "Newton-CG",
    "trust_ncg": "trust-ncg",
}
SECOND_ORDER = ("newton_cg", "trust_ncg")
LARGE = 250  # coordinates up to which SciPy's own BFGS, cubic in N, is bearable


def minimise(counted: Counted, method: Name, x0: np.ndarray, steps: int, **options: Any) -> Status:
    """Runs a SciPy method; returns its status.

    Args:
      counted: the function, which keeps the record.
      method: which.
      x0: start `[N]`.
      steps: most iterations.
      **options: for SciPy, by SciPy's names.
    """

    options = {"maxiter": steps, **options}
    if method == "l_bfgs_b":
        options.setdefault("maxfun", 100 * steps)  # iterations are the budget, not SciPy's 15000
    slopes = {"jac": counted.gradient, "hessp": counted.hvp if method in SECOND_ORDER else None}
    how = {"method": SCIPY_NAMES[method], "callback": counted.noted, "options": options}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a failed line search shows in the status
            start = np.asarray(x0, np.float64)
            result = scipy.optimize.minimize(counted.value, start, **slopes, **how)
    except counting.BudgetSpent:
        return "evaluations"
    except (ValueError, FloatingPointError, np.linalg.LinAlgError):
        return "stalled"  # SciPy refuses numbers that are not finite in the middle of a run
    if result.success:
        return "converged"
    return "steps" if result.nit >= steps else "stalled"


def run(
    problem: Problem, steps: int, *, method: Name, max_evaluations: Cap = None, **options: Any
) -> Trace:
    """One problem.

    Args:
      problem: what to minimise.
      steps: most iterations.
      method: which.
      max_evaluations: most points.
      **options: for SciPy, by SciPy's names.
    """
    with arithmetic(problem.dtype):
        counted = Counted(problem, max_evaluations, hvp=method in SECOND_ORDER)
        return counted.trace(minimise(counted, method, problem.x0, steps, **options))


def named(method: Name) -> RunAll:
    """`run_all` of one SciPy method."""
    return one_by_one(functools.partial(run, method=method))


def bfgs(problems: Problems, steps: int, **options: Any) -> list[Trace]:
    """SciPy's own BFGS up to `LARGE` coordinates, beyond it the one with an O(N²) update."""
    if problems[0].x0.size > LARGE:
        return bfgs_quadratic.run_all(problems, steps, **options)
    return named("bfgs")(problems, steps, **options)


def multistart(problem: Problem, steps: int, *, max_evaluations: Cap = None, **more: Any) -> Trace:
    """L-BFGS-B, restarted until `max_evaluations` points, or `steps` where no cap is given, are
    spent.

    Under a budget of iterations the points are capped at that number all the same: a restart is
    not a way around the budget. Further options are SciPy's for L-BFGS-B.
    """
    with arithmetic(problem.dtype):
        counted = Counted(problem, max_evaluations or steps)
        for x0 in itertools.chain([problem.x0], counting.further_starts(problem)):
            if minimise(counted, "l_bfgs_b", x0, steps, **more) == "evaluations":
                break
        return counted.trace("evaluations")
