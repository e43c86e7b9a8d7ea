"""BBOB of COCO (library coco-experiment, BSD-3): smooth functions, a new instance for each start.

The functions are compiled C without gradients. Ours are central differences with step
ε^(1/3) max(1, |x|): a point counts as one evaluation, as everywhere in the benchmark, and costs
2N + 1 calls of the function for every method alike. So numbers compare gradient methods with each
other, not with methods that need no gradient. Starts are uniform in ±4, as BBOB has it.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.errors import require
from optimus.problems.presets import Objective, Problem
from optimus.problems.suites import Case, library, problem_of

DIMS = (2, 3, 5, 10, 20, 40)
# Left out, as they have no gradient that means something: 5 (a slope with a kink at the edge of
# the box), 7 (steps), 13 (a ridge), 16 (Weierstrass), 23 (Katsuura).
SMOOTH = (1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14, 15, 17, 18, 19, 20, 21, 22, 24)
# Weighted quadratics, Rastrigin's, Rosenbrock's, sums of powers, Griewank of Rosenbrock.
RELATED = (1, 2, 3, 4, 8, 9, 10, 11, 12, 14, 15, 19, 24)
INSTANCES = 15
FLOOR = 1e-8  # COCO's own target
HALF_WIDTH, START_HALF_WIDTH = 5.0, 4.0
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)


def cases(least_dim: int, most_dim: int) -> list[Case]:
    """The smooth functions, f1 ... f24, in COCO's dimensions within the range."""
    library("coco")
    found = []
    for dim in DIMS:
        for number in SMOOTH if least_dim <= dim <= most_dim else ():
            make = functools.partial(_problems, number, dim)
            found.append(Case("coco", f"f{number}", dim, number in RELATED, make))
    return found


@functools.cache
def _suite() -> Any:
    dims = ",".join(map(str, DIMS))
    return library("coco").Suite("bbob", f"instances:1-{INSTANCES}", f"dimensions:{dims}")


@functools.cache
def _function(number: int, dim: int, instance: int) -> Any:
    return _suite().get_problem_by_function_dimension_instance(number, dim, instance)


def value_and_gradient(
    number: int, dim: int, instance: int, x: np.ndarray
) -> tuple[float, np.ndarray]:
    """f and its central differences at x; NaN where x is not finite.

    Args:
      number: of the function, a member of `SMOOTH`.
      dim: N, a member of `DIMS`.
      instance: 1 ... `INSTANCES`.
      x: float64 `[N]`.

    Returns:
      (value, gradient float64 `[N]`).
    """
    if not np.isfinite(x).all():
        return float("nan"), np.full(dim, np.nan)
    function, steps = _function(number, dim, instance), STEP * np.maximum(1.0, np.abs(x))
    gradient = np.empty(dim)
    for i, step in enumerate(steps):
        moved = np.zeros(dim)
        moved[i] = step
        ahead, behind = x + moved, x - moved
        gradient[i] = (function(ahead) - function(behind)) / (ahead[i] - behind[i])
    return float(function(x)), gradient


@functools.cache
def _objective(number: int, dim: int) -> Objective:
    """data["instance"] chooses the function, so that all starts share compiled code."""

    def both(bits: Any) -> np.ndarray:
        instance, *x = np.ascontiguousarray(bits, np.uint32).view(np.float64)[:, 0]
        value, gradient = value_and_gradient(number, dim, int(instance), np.asarray(x))
        return np.append(gradient, value).view(np.uint32).reshape(dim + 1, 2)

    def called(instance: jax.Array, x: jax.Array) -> Any:
        # As bits: JAX may call from a thread in which 64-bit numbers are off, and would round them.
        bits = jax.lax.bitcast_convert_type(jnp.append(instance, x), jnp.uint32)
        shape = jax.ShapeDtypeStruct((dim + 1, 2), jnp.uint32)
        found = jax.pure_callback(both, shape, bits, vmap_method="sequential")
        numbers = jax.lax.bitcast_convert_type(found, x.dtype)
        return numbers[-1], numbers[:-1]

    @jax.custom_vjp
    def value(instance: jax.Array, x: jax.Array) -> jax.Array:
        return called(instance, x)[0]

    def forward(instance: jax.Array, x: jax.Array) -> Any:
        found, gradient = called(instance, x)
        return found, gradient

    def backward(gradient: jax.Array, cotangent: jax.Array) -> Any:
        return jnp.zeros((), gradient.dtype), cotangent * gradient

    value.defvjp(forward, backward)
    return lambda data, x: value(data["instance"], x)


def _problems(number: int, dim: int, starts: int, seed: int) -> list[Problem]:
    most = INSTANCES
    require(starts <= most, f"coco has {most} instances of a function: starts {starts}")
    box = (-HALF_WIDTH, HALF_WIDTH)
    shared: dict[str, Any] = {"box": box, "objective": _objective(number, dim)}
    found = []
    for start in range(starts):
        random = np.random.default_rng([seed, number, dim, start])
        x0 = random.uniform(-START_HALF_WIDTH, START_HALF_WIDTH, dim)
        data = {"instance": np.asarray(float(start + 1))}
        found.append(problem_of(f"f{number}", seed, start, x0, FLOOR, data=data, **shared))
    return found
