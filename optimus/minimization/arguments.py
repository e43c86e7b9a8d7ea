"""What `minimize` is given, checked: each mistake is one clear `ValueError`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from optimus.minimization.objective import Point

SAFEGUARDS = ("lbfgs", "none")


def start(x0: Any) -> np.ndarray:
    """x0 as float64 [N]."""
    array = np.atleast_1d(np.asarray(x0))
    if array.dtype.kind not in "biufV" or array.ndim != 1:
        raise ValueError(
            f"x0 has shape {np.shape(x0)} and dtype {array.dtype}, must be [N] real numbers"
        )
    if array.size == 0:
        raise ValueError("x0 is empty: there is nothing to minimise over")
    result = array.astype(np.float64)
    if not np.isfinite(result).all():
        raise ValueError("x0 holds values that are not finite")
    return result


def scale(x_scale: Any, size: int) -> np.ndarray:
    """x_scale as float64 [N]."""
    result = np.asarray(x_scale, np.float64)
    if result.shape not in ((), (1,), (size,)):
        raise ValueError(f"x_scale has shape {result.shape}, must be a scalar or [{size}] like x0")
    if not (np.isfinite(result).all() and (result > 0.0).all()):
        raise ValueError("x_scale must be positive and finite")
    return np.broadcast_to(result, (size,)).copy()


def check(
    jac: Any, maxiter: Any, maxfev: Any, guard: Any, bounds: Any, gtol: Any, stop_history: Any
) -> None:
    """Everything that needs no look at x0."""
    if bounds is not None:
        raise ValueError(
            "bounds are not supported: transform the variables, or use scipy.optimize.minimize"
        )
    if not (jac is None or isinstance(jac, bool) or callable(jac)):
        raise ValueError(f"jac is {jac!r}, must be a function, True or None")
    if guard not in SAFEGUARDS:
        raise ValueError(f"safeguard is {guard!r}, must be one of {', '.join(SAFEGUARDS)}")
    for name, value, least in (
        ("maxiter", maxiter, 0),
        ("maxfev", maxfev, 1),
        ("stop_history", stop_history, 1),
    ):
        if value is None and name != "maxiter":
            continue
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} is {value!r}, must be an integer of at least {least}")
    if gtol is not None and not 0.0 <= gtol < np.inf:
        raise ValueError(f"gtol is {gtol!r}, must be at least 0 and finite, or None")


def check_hops(hops: Any, seed: Any) -> None:
    """What decides about hops."""
    for name, value in (("hops", hops), ("seed", seed)):
        if value is None and name == "hops":
            continue
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} is {value!r}, must be an integer of at least 0")


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
