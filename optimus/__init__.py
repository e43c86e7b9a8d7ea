"""Optimus, a learned optimizer.

    result = optimus.minimize(fun, x0)                 as scipy.optimize.minimize
    transform = optimus.as_optax("optimus-classical")    an optax.GradientTransformationExtraArgs
    model = optimus.load("optimus-classical")            trained weights by name or path

    config = optimus.PAPER                             or PLUS; other sizes: dataclasses.replace
    params = optimus.init_params(config, key)          the optimizer itself, a pure pair
    state = optimus.init_state(config, x)
    step, state = optimus.update(config, params, state, x, gradient)

These names are the public ones. They are imported when first used, so that `import optimus` costs
nothing and needs no JAX; `optimus watch`, which reads files only, lives on that.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from optimus.minimization import minimize
    from optimus.model.config import CONFIGURATIONS, PAPER, PLUS, OptimizerConfig
    from optimus.model.optimizer import init_params, init_state, update
    from optimus.optax_adapter import as_optax
    from optimus.weights import LearnedOptimizer, WeightsError, load, save

__all__ = ["minimize", "as_optax", "__version__"]
__all__ += ["load", "save", "LearnedOptimizer", "WeightsError"]
__all__ += ["OptimizerConfig", "PAPER", "PLUS", "CONFIGURATIONS"]
__all__ += ["init_params", "init_state", "update"]

_HOME = {
    "minimize": "minimization",
    "as_optax": "optax_adapter",
    **dict.fromkeys(("load", "save", "LearnedOptimizer", "WeightsError"), "weights"),
    **dict.fromkeys(("OptimizerConfig", "PAPER", "PLUS", "CONFIGURATIONS"), "model.config"),
    **dict.fromkeys(("init_params", "init_state", "update"), "model.optimizer"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from optimus.installation import DISTRIBUTION, version_of

        # Where it was never installed, it is run from a folder of sources.
        return globals().setdefault(name, version_of(DISTRIBUTION) or "0+unknown")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
