"""BFGS and L-BFGS for `bench runtime`: updates alone, and whole iterations without the function."""

from __future__ import annotations

import functools
import time
import warnings

import numpy as np
import scipy.optimize

from optimus.bench.methods import bfgs_quadratic
from optimus.bench.runtime.timing import Timed, clocked
from optimus.problems import presets


def _pair(dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, s, y) of a convex quadratic."""
    random = np.random.default_rng(0)
    s = random.standard_normal(dim)
    return np.eye(dim), s, s * random.uniform(1, 10, dim)


def cubic_update(inverse: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """BFGS's new inverse Hessian as SciPy forms it: two products of N × N matrices."""
    identity, rho = np.eye(s.size), 1 / (y @ s)
    left = identity - s[:, np.newaxis] * y[np.newaxis, :] * rho
    right = identity - y[:, np.newaxis] * s[np.newaxis, :] * rho
    outer = rho * s[:, np.newaxis] * s[np.newaxis, :]
    return np.dot(left, np.dot(inverse, right)) + outer


def scipy_update(dim: int) -> Timed:
    """SciPy's update of the inverse Hessian alone."""
    inverse, s, y = _pair(dim)
    flops = 4.0 * dim**3 + 8.0 * dim**2
    return Timed(lambda: clocked(lambda: cubic_update(inverse, s, y)), 1, 0.0, flops)


def quadratic_update(dim: int) -> Timed:
    """The same update multiplied out, `rivals.bfgs_quadratic`."""
    inverse, s, y = _pair(dim)
    # In place: a fixed point of the update.
    update_once = functools.partial(bfgs_quadratic.update_inverse, inverse, s, y)
    return Timed(lambda: clocked(update_once), 1, 0.0, 5.0 * dim**2)


def scipy_iteration(dim: int, method: str) -> Timed:
    """A whole iteration of `scipy.optimize.minimize` on Rosenbrock, time in the function taken out.

    The start is that of the benchmark; up to 50 iterations up to N = 100, else 10.
    """
    iterations = 50 if dim <= 100 else 10
    x0 = presets.problem("paper", "rosenbrock", dim, 0, 0).x0.astype(np.float64)
    inside = 0.0

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal inside
        started = time.perf_counter()
        result = scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)
        inside += time.perf_counter() - started
        return result

    def minimise() -> tuple[float, int]:
        nonlocal inside
        inside = 0.0
        started = time.perf_counter()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            options = {"maxiter": iterations}
            found = scipy.optimize.minimize(
                value_and_gradient, x0, jac=True, method=method, options=options
            )
        return time.perf_counter() - started - inside, found.nit

    done = max(minimise()[1], 1)
    flops = 4.0 * dim**3 + 10.0 * dim**2 if method == "BFGS" else 4.0 * 10 * dim
    return Timed(lambda: minimise()[0], done, 0.0, flops)
