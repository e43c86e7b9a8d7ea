"""CUTEst in JAX, of the library sif2jax: unconstrained minimisation problems (Apache-2.0).

Importing the library builds every problem and takes a minute. The first start is the one that the
SIF file gives; further ones are moved by up to a tenth of max(1, |x|) in each coordinate.
"""

import functools
import zlib
from typing import Any

import jax
import jax.flatten_util
import numpy as np

from optimus.problems.presets import SUITE, Objective, Problem, arithmetic
from optimus.problems.suites import Case, library, problem_of

# By hand: variants of Rosenbrock's function, quadratics with known axes, waves on a quadratic.
RELATED = (
    *("CHNROSNB", "CHNRSNBM", "CUBE", "ERRINROS", "GENROSE", "LUKSAN11LS", "PRICE3", "ROSENBR"),
    *("HILBERTA", "HILBERTB", "ZANGWIL2", "EGGCRATE"),
)
FLOOR = 1e-9
MOVED = 0.1  # of max(1, |x|)


@functools.cache
def _all() -> tuple[Any, ...]:
    with arithmetic(SUITE.dtype):  # some problems make their constants when they are made
        return tuple(library("sif2jax").unconstrained_minimisation_problems)


def cases(least_dim: int, most_dim: int) -> list[Case]:
    """The problems with least_dim ... most_dim variables."""
    found = []
    with arithmetic(SUITE.dtype):
        for index, problem in enumerate(_all()):
            size = sum(int(np.size(leaf)) for leaf in jax.tree_util.tree_leaves(problem.y0))
            if least_dim <= size <= most_dim:
                name = str(problem.name)
                make = functools.partial(_problems, index)
                expected = problem.expected_objective_value
                value = None if expected is None else float(expected)
                found.append(Case("sif2jax", name, size, name in RELATED, make, value))
    return found


@functools.cache
def _objective(index: int) -> tuple[Objective, np.ndarray]:
    """(objective, start `[N]`), the same at every call so that compiled code is shared."""
    problem = _all()[index]
    start, unravel = jax.flatten_util.ravel_pytree(problem.y0)
    arguments = problem.args

    def objective(data: Any, x: jax.Array) -> jax.Array:
        return problem.objective(unravel(x), arguments).reshape(())

    return objective, np.asarray(start, np.float64)


def _problems(index: int, starts: int, seed: int) -> list[Problem]:
    name = str(_all()[index].name)
    with arithmetic(SUITE.dtype):
        objective, own = _objective(index)
    box = (float(own.min()) - 1.0, float(own.max()) + 1.0)
    shared: dict[str, Any] = {"box": box, "objective": objective}
    found = []
    for start in range(starts):
        random = np.random.default_rng([seed, zlib.crc32(name.encode()), start])
        moved = random.uniform(-MOVED, MOVED, own.size) * np.maximum(1.0, np.abs(own))
        x0 = own + moved if start else own.copy()
        data = {"start": np.asarray(float(start))}  # all of a batch have a leading dimension
        found.append(problem_of(name, seed, start, x0, FLOOR, data=data, **shared))
    return found
