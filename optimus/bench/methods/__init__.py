"""Methods to compare, behind one interface.

    traces = BASELINES["bfgs"](problems, steps)                    # problems of one cell
    trace, = BASELINES["adam"](problems[:1], steps, lr=0.1)

`max_evaluations=` caps the points evaluated; further options are each method's own. Those of
`LEARNED` need `model=`, a trained optimizer (`optimus.load`).
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType

from optimus.bench.methods import cma_es, first_order, learned, optax_lbfgs, scipy_methods
from optimus.bench.methods.counting import RunAll, one_by_one

BASELINES: Mapping[str, RunAll] = MappingProxyType(
    {
        "bfgs": scipy_methods.bfgs,
        "l_bfgs_b": scipy_methods.named("l_bfgs_b"),
        "newton_cg": scipy_methods.named("newton_cg"),
        "trust_ncg": scipy_methods.named("trust_ncg"),
        "adam": functools.partial(first_order.run_all, method="adam"),
        "adam_cosine": functools.partial(first_order.run_all, method="adam_cosine"),
        "momentum": functools.partial(first_order.run_all, method="momentum"),
        "optax_lbfgs": optax_lbfgs.run_all,
        "cma": cma_es.run_all,
        "cma_5x": functools.partial(cma_es.run_all, factor=5),
        "multistart_l_bfgs_b": one_by_one(scipy_methods.multistart),
        "return_zero": first_order.zero_all,
        "shrink": first_order.shrink_all,
    }
)
LEARNED: Mapping[str, RunAll] = MappingProxyType(
    {
        "optimus": learned.run_all,
        "adafactor_mlp": learned.run_all,
        "multistart_optimus": learned.multistart_all,
        "optimus_safeguarded": learned.safeguarded_all,
        "optimus_hopping": functools.partial(learned.safeguarded_all, hops=None),
    }
)
NEED_CMA = ("cma", "cma_5x")  # the package, of the extra [bench]
BLIND = ("return_zero", "shrink")  # these never look at the function
