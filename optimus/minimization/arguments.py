"""The arguments of `minimize`, checked: each mistake is one clear `ConfigError`."""

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from scipy.optimize import OptimizeResult

from optimus.errors import require, require_known
from optimus.minimization.objective import Point

Safeguard = Literal["lbfgs", "none"]


def start(x0: Any) -> np.ndarray:
    """x0 as float64 [N]."""
    array = np.atleast_1d(np.asarray(x0))
    real = array.dtype.kind in "biufV" and array.ndim == 1
    require(real, f"x0: got shape {np.shape(x0)} and dtype {array.dtype}, want [N] real numbers")
    require(array.size > 0, "x0: got an empty array, want at least one variable")
    result = array.astype(np.float64)
    require(bool(np.isfinite(result).all()), "x0: got values that are not finite")
    return result


def scale(x_scale: Any, size: int) -> np.ndarray:
    """x_scale as float64 [N]."""
    result = np.asarray(x_scale, np.float64)
    fits = result.shape in ((), (1,), (size,))
    require(fits, f"x_scale: got shape {result.shape}, want a scalar or [{size}] like x0")
    positive = bool(np.isfinite(result).all() and (result > 0.0).all())
    require(positive, "x_scale: want values that are positive and finite")
    return np.broadcast_to(result, (size,)).copy()


def check(jac: Any, safeguard: Any, bounds: Any, gtol: Any) -> None:
    """Checks those arguments of `minimize`.

    Args:
      jac: a function, true, false or None.
      safeguard: a `Safeguard`.
      bounds: None.
      gtol: at least 0 and finite, or None.

    Raises:
      ConfigError: one cannot be used; it is a `ValueError`.
    """
    instead = "transform the variables, or use scipy.optimize.minimize"
    require(bounds is None, f"bounds are not supported: {instead}")
    possible = jac is None or isinstance(jac, bool) or callable(jac)
    require(possible, f"jac: got {jac!r}, want a function, True or None")
    require_known(safeguard, get_args(Safeguard), "safeguard")
    possible = gtol is None or 0.0 <= gtol < np.inf
    require(possible, f"gtol: got {gtol!r}, want at least 0 and finite, or None")


def check_counts(least: int, *, optional: bool, **counts: Any) -> None:
    """Raises `ConfigError` unless each is an integer of at least `least`, or None if `optional`."""
    for name, value in counts.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        possible = (whole and value >= least) or (optional and value is None)
        require(possible, f"{name}: got {value!r}, want an integer of at least {least}")


def notifier(callback: Callable[..., Any] | None) -> Callable[[Point], None]:
    """Calls the user's callback with a point, in the one of SciPy's two ways it wants."""
    if callback is None:
        return lambda point: None
    user: Callable[..., Any] = callback
    try:
        by_name = list(inspect.signature(user).parameters) == ["intermediate_result"]
    except (TypeError, ValueError):  # builtins without a signature
        by_name = False

    def notify(point: Point) -> None:
        if by_name:
            user(intermediate_result=OptimizeResult(x=point.x.copy(), fun=point.fun))
        else:
            user(point.x.copy())

    return notify
