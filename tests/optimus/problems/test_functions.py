"""The 15 functions: minima, gradients, hand-computed values and dtypes."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.problems.functions import FUNCTIONS, function
from optimus.problems.presets import arithmetic

NAMES = sorted(FUNCTIONS)


@functools.cache
def compiled(name):
    return jax.jit(jax.value_and_grad(FUNCTIONS[name].value))


def evaluate(name, x):
    """Value and gradient in float64."""
    with arithmetic("float64"):
        value, gradient = compiled(name)(np.asarray(x, np.float64))
        assert value.dtype == np.float64 and value.shape == ()
        return float(value), np.asarray(gradient)


def dims(name):
    return (4, 12) if name == "powell" else (2, 10) if name == "perm" else (2, 7, 20)


def test_there_are_the_fifteen_of_the_paper():
    assert len(FUNCTIONS) == 15 and all(FUNCTIONS[name].name == name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_minimum_is_where_and_what_it_says_and_flat(name):
    for dim in dims(name):
        at = FUNCTIONS[name].minimiser(dim)
        assert at.shape == (dim,) and at.dtype == np.float64
        value, gradient = evaluate(name, at)
        size = 1 + abs(FUNCTIONS[name].minimum(dim))
        assert value == pytest.approx(FUNCTIONS[name].minimum(dim), abs=1e-13 * size)
        assert np.abs(gradient).max() < 1e-8


@pytest.mark.parametrize("name", NAMES)
def test_nothing_near_the_minimiser_or_in_the_box_is_lower(name):
    random = np.random.default_rng(1)
    for dim in dims(name):
        at, (low, high) = FUNCTIONS[name].minimiser(dim), FUNCTIONS[name].box(dim)
        least = FUNCTIONS[name].minimum(dim)
        for _ in range(5):
            assert evaluate(name, at + 0.01 * random.standard_normal(dim))[0] > least
            assert evaluate(name, random.uniform(low, high, dim))[0] > least


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_central_differences(name):
    random = np.random.default_rng(2)
    dim = dims(name)[0]
    x = random.uniform(-1.5, 1.5, dim)
    gradient = evaluate(name, x)[1]
    for i, direction in enumerate(np.eye(dim)):
        step = 1e-5 * direction
        slope = (evaluate(name, x + step)[0] - evaluate(name, x - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-6)


# Worked out by hand from the formulas of the SFU library.
BY_HAND = [
    ("ackley", [3.0, 3.0], -20 * math.exp(-0.6) - math.e + 20 + math.e),
    ("dixon_price", [2.0, 3.0, -1.0], 1 + 2 * 16**2 + 3 * (2 - 3) ** 2),
    ("griewank", [0.0, math.pi * math.sqrt(2)], 2 * math.pi**2 / 4000 + 2),
    ("levy", [5.0, 5.0], 0 + 1 + 10 * math.sin(1) ** 2 + 1),
    ("perm", [0.0, 0.0], (-11 - 12 / 2) ** 2 + (-11 - 12 / 4) ** 2),
    ("perm", [1.0, -0.5], 12**2),
    ("powell", [1.0, 2.0, 3.0, 5.0], 21**2 + 5 * 4 + 4**4 + 10 * 4**4),
    ("rastrigin", [1.0, 0.5], 20 + 1 - 10 + 0.25 + 10),
    ("rosenbrock", [-1.0, 2.0, 1.0], 100 * 1 + 4 + 100 * 9 + 1),
    ("rotated_hyper_ellipsoid", [1.0, 2.0, 3.0], 1 + 5 + 14),
    ("sphere", [1.0, -2.0, 3.0], 14),
    ("styblinski_tang", [1.0, 2.0], 0.5 * (1 - 16 + 5) + 0.5 * (16 - 64 + 10)),
    ("sum_of_powers", [-2.0, -2.0, 3.0], 4 + 8 + 81),
    ("sum_of_squares", [1.0, 2.0, 3.0], 1 + 8 + 27),
    ("trid", [1.0, 3.0, -2.0], 0 + 4 + 9 - 3 + 6),
    ("zakharov", [1.0, -2.0, 1.0], 6 + 0),
    ("zakharov", [1.0, 1.0], 2 + 1.5**2 + 1.5**4),
]


@pytest.mark.parametrize(("name", "x", "expected"), BY_HAND)
def test_values_worked_out_by_hand(name, x, expected):
    assert evaluate(name, x)[0] == pytest.approx(expected, rel=1e-13)


def test_every_function_has_a_value_by_hand():
    assert {name for name, _, _ in BY_HAND} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_dtype_of_x_is_the_dtype_of_the_value(name):
    value = FUNCTIONS[name].value(jnp.full(4, 0.5, jnp.float32))
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(evaluate(name, np.full(4, 0.5))[0], rel=1e-4, abs=1e-4)


def test_trid_and_styblinski_tang_have_the_published_minima():
    assert FUNCTIONS["trid"].minimum(6) == -50 and FUNCTIONS["trid"].minimum(10) == -210
    assert FUNCTIONS["styblinski_tang"].minimum(1) == pytest.approx(-39.16616570377)


def test_what_is_not_defined_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"unknown function 'rosen'.*rosenbrock"):
        function("rosen")
    with pytest.raises(ValueError, match="powell needs a dimension that is a multiple of 4: 10"):
        function("powell").check(10)
    with pytest.raises(ValueError, match="multiple of 4: 2"):
        FUNCTIONS["powell"].value(jnp.zeros(2))
    with pytest.raises(ValueError, match="rosenbrock needs a dimension of at least 2: 1"):
        function("rosenbrock").check(1)
