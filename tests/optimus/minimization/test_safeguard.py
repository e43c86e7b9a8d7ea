"""The safeguard: its L-BFGS memory, its test of a learned step, its line search."""

import numpy as np

from optimus.minimization import safeguard
from optimus.minimization.objective import Objective, Point
from optimus.minimization.safeguard import line_search


def make_objective(fun, size):
    return Objective(fun, True, (), np.zeros(size), np.ones(size), None)


def test_lbfgs_direction_is_newtons_on_a_quadratic_once_the_memory_spans_it():
    random = np.random.default_rng(0)
    root = random.normal(size=(4, 4))
    matrix = root @ root.T + np.eye(4)
    pairs = safeguard.new_pairs()
    conjugate = np.linalg.inv(np.linalg.cholesky(matrix)).T  # columns are A-conjugate
    for column in conjugate.T:
        old = Point(np.zeros(4), np.zeros(4), 0.0, np.zeros(4))
        safeguard.remember(pairs, old, Point(column, column, 0.0, matrix @ column))
    gradient = random.normal(size=4)
    expected = -np.linalg.solve(matrix, gradient)
    np.testing.assert_allclose(safeguard.direction(pairs, gradient), expected, rtol=1e-9)


def test_pairs_without_positive_curvature_are_left_out():
    zero = Point(np.zeros(2), np.zeros(2), 0.0, np.zeros(2))
    pairs = safeguard.new_pairs()
    for y in ([-1.0, 0.0], [0.0, 1.0], [np.inf, 0.0], [np.nan, 0.0], [0.0, 0.0]):
        safeguard.remember(pairs, zero, Point(np.ones(2), np.eye(2)[0], 0.0, np.array(y)))
    assert not pairs


def test_a_step_is_taken_halved_or_replaced():
    x = np.array([1.0, 0.0])
    for factor, evaluations, learned in ((-1.0, 1, True), (-3.0, 2, True), (2.0, None, False)):
        objective = make_objective(lambda z: (float(z @ z), 2 * z), 2)
        point = Point(x, x, 1.0, 2 * x)
        pairs = safeguard.new_pairs()
        found, taken = safeguard.guarded_step(objective, pairs, [1.0], point, factor * x)
        assert taken is learned and found.fun < 1.0 and len(pairs) == 1
        if evaluations:
            assert objective.nfev == evaluations
            expected = x + factor * x / evaluations
            np.testing.assert_array_equal(found.z, expected)
        else:
            assert objective.nfev > 2


def test_the_test_is_non_monotone_but_forgets_a_huge_first_value():
    x = np.array([1.0])
    for recent, learned in (([9.0, 9.0, 1.0], True), ([1e6, 2.0, 1.0], False), ([9, 1.0], False)):
        objective = make_objective(lambda z: (float(z @ z), 2 * z), 1)
        point = Point(x, x, 1.0, 2 * x)
        _, taken = safeguard.guarded_step(
            objective, safeguard.new_pairs(), recent, point, np.array([1.0])
        )
        assert taken is learned  # to f = 4, or halved to 2.25


def test_a_mirror_image_of_the_start_is_no_flat_function():
    """f is the same at x and at -x; the search must go on to what is between."""
    point = Point(np.ones(2), np.ones(2), 2.0, np.full(2, 2.0))
    found = line_search(
        make_objective(lambda z: (float(z @ z), 2 * z), 2), point, np.full(2, -2.0), -8.0
    )
    assert found is not None and found.fun == 0.0
