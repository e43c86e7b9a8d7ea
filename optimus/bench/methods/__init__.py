"""Methods to compare with, behind one interface.

    traces = RIVALS["bfgs"](problems, steps)                    # problems of one cell
    trace, = RIVALS["adam"](problems[:1], steps, lr=0.1)

`max_evaluations=` caps the points evaluated; further options are each method's own. Those of
`LEARNED` need `model=`, a trained optimizer (`optimus.load`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from optimus.bench.methods import (
    bfgs_quadratic,
    blind,
    cma_es,
    first_order,
    global_rate,
    learned,
    multistart,
    optax_lbfgs,
    safeguarded,
    scipy_methods,
)
from optimus.bench.methods.trace import Trace
from optimus.problems.presets import Problem

RunAll = Callable[..., list[Trace]]  # (problems, steps, **options) -> a trace for each problem

LARGE = 250  # coordinates up to which SciPy's own BFGS, cubic in N, is bearable


def bfgs(problems: Sequence[Problem], steps: int, **options: Any) -> list[Trace]:
    """SciPy's own BFGS up to `LARGE` coordinates, beyond it the copy with an O(N²) update."""
    if problems[0].x0.size > LARGE:
        return bfgs_quadratic.run_all(problems, steps, **options)
    return scipy_methods.run_all(problems, steps, method="bfgs", **options)


RIVALS: dict[str, RunAll] = {
    "bfgs": bfgs,
    "bfgs_quadratic": bfgs_quadratic.run_all,
    "l_bfgs_b": scipy_methods.named("l_bfgs_b"),
    "newton_cg": scipy_methods.named("newton_cg"),
    "trust_ncg": scipy_methods.named("trust_ncg"),
    "adam": functools.partial(first_order.run_all, method="adam"),
    "adam_cosine": functools.partial(first_order.run_all, method="adam", schedule="cosine"),
    "momentum": functools.partial(first_order.run_all, method="momentum"),
    "adam_global": functools.partial(global_rate.run_all, method="adam"),
    "momentum_global": functools.partial(global_rate.run_all, method="momentum"),
    "optax_lbfgs": optax_lbfgs.run_all,
    "cma": cma_es.run_all,
    "cma_5x": functools.partial(cma_es.run_all, factor=5),
    "multistart_l_bfgs_b": multistart.run_all,
    "return_zero": blind.zero_all,
    "shrink": blind.shrink_all,
}
LEARNED: dict[str, RunAll] = {
    "optimus": learned.run_all,
    "adafactor_mlp": learned.run_all,
    "multistart_optimus": learned.multistart_all,
    "optimus_safeguarded": safeguarded.run_all,
    "optimus_hopping": functools.partial(safeguarded.run_all, hops=None),
}
# Learned methods whose code has computed other numbers since: kept cells of theirs do not count.
REVISIONS = {
    "optimus_safeguarded": 2,  # 1: told where the origin is; 2: a flat search ends sooner
    "optimus_hopping": 2,  # 1: keeps the memory over a hop, other ends; 2: every other one L-BFGS
}
