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

__all__ = [
    "minimize",
    "as_optax",
    "load",
    "save",
    "LearnedOptimizer",
    "WeightsError",
    "OptimizerConfig",
    "PAPER",
    "PLUS",
    "CONFIGURATIONS",
    "init_params",
    "init_state",
    "update",
    "__version__",
]

_HOME = {
    "minimize": "minimization",
    "as_optax": "optax_adapter",
    **dict.fromkeys(("load", "save", "LearnedOptimizer", "WeightsError"), "weights"),
    **dict.fromkeys(("OptimizerConfig", "PAPER", "PLUS", "CONFIGURATIONS"), "model.config"),
    **dict.fromkeys(("init_params", "init_state", "update"), "model.optimizer"),
}


_DISTRIBUTION = "optimus-learned-optimizer"
_NOT_INSTALLED = "0+unknown"  # run from a folder of sources that was never installed


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return _NOT_INSTALLED


def __getattr__(name: str) -> Any:
    if name == "__version__":
        globals()[name] = _version()
        return globals()[name]
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
