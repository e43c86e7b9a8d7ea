"""Small problems with the interfaces of sif2jax and cocoex, in place of the libraries."""

import types

import jax.numpy as jnp
import numpy as np

from optimus.problems.suites import coco, sif2jax


class Quartic:
    """As sif2jax has problems; y is a tree."""

    name, args, expected_objective_value = "QUARTIC", 2.0, 0.0

    @property
    def y0(self):
        return {"a": jnp.full(2, 3.0), "b": jnp.asarray(1.0)}

    def objective(self, y, args):
        return jnp.sum((y["a"] - args) ** 4) + y["b"] ** 2


class Rosenbrock:
    name, args, expected_objective_value = "ROSENBR", None, None
    y0 = np.array([-1.2, 1.0])

    def objective(self, y, args):
        return 100 * (y[1] - y[0] ** 2) ** 2 + (1 - y[0]) ** 2


class Large(Rosenbrock):
    name, y0 = "LARGE", np.zeros(101)


class Broken(Rosenbrock):
    name = "BROKEN"

    def objective(self, y, args):
        return jnp.log(-1.0 - y[0] ** 2)


class Bbob:
    """As cocoex has functions: instance i is a quadratic around (i, ..., i) at height 100."""

    def __init__(self, *arguments):
        self.instance = 0

    def get_problem_by_function_dimension_instance(self, number, dim, instance):
        return lambda x: 100.0 + float(np.sum((x - instance) ** 2))


def in_place_of_libraries(monkeypatch):
    """For a fixture: both libraries are these until the test ends."""
    made = {
        "sif2jax": types.SimpleNamespace(
            unconstrained_minimisation_problems=(Large(), Quartic(), Rosenbrock(), Broken())
        ),
        "coco": types.SimpleNamespace(Suite=Bbob),
    }
    for module in (sif2jax, coco):
        monkeypatch.setattr(module, "library", made.__getitem__)
    caches = (sif2jax._all, sif2jax._objective, coco._suite, coco._function, coco._objective)
    for each in caches:
        each.cache_clear()
    yield made
    for each in caches:
        each.cache_clear()
