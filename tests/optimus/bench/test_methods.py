"""Baselines: honest counts, budgets, and known answers."""

import numpy as np
import pytest
import scipy.optimize

from optimus.bench.methods import BASELINES, bfgs_quadratic, first_order
from optimus.bench.methods.counting import (
    STATUSES,
    BudgetSpent,
    Counted,
    Trace,
    best_so_far,
    one_point_a_step,
)
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS

HOST = ("bfgs", "l_bfgs_b", "newton_cg", "trust_ncg")
STEP = ("adam", "adam_cosine", "momentum", "shrink")
CHEAP = {"adam": {"lr": 0.1}, "adam_cosine": {"lr": 0.1}, "momentum": {"lr": 1e-4}}
ALL = BASELINES | {"bfgs_quadratic": bfgs_quadratic.run_all}
PATHLESS = ("cma", "cma_5x")


def problems(function="rosenbrock", dim=4, count=2, preset="fair-shift"):
    return [presets.problem(preset, function, dim, 0, start) for start in range(count)]


@pytest.mark.parametrize("name", ALL)
def test_every_baseline_keeps_the_contract(name):
    if name.startswith("cma"):
        pytest.importorskip("cma")
    steps, cap = 30, 25
    given = problems()
    traces = ALL[name](given, steps, max_evaluations=cap, **CHEAP.get(name, {}))
    assert len(traces) == 2
    for problem, trace in zip(given, traces):
        allowed = 5 * cap if name == "cma_5x" else cap
        assert 1 <= trace.n_f == len(trace.points) <= allowed and trace.n_g <= trace.n_f
        assert trace.status in STATUSES and trace.seconds >= 0
        assert len(trace.iterates) == len(trace.evaluations) <= steps + 1
        assert trace.evaluations[0] == 1 and trace.evaluations[-1] <= trace.n_f
        assert (np.diff(trace.evaluations) >= 0).all() and (np.diff(trace.best) <= 0).all()
        assert (trace.path is None) == (name in PATHLESS)
        if trace.path is not None:  # the problem is Rosenbrock's
            assert trace.path.shape == (len(trace.iterates), 2) and trace.path.dtype == np.float64
            first = 0 * problem.x0 if name == "return_zero" else problem.x0
            np.testing.assert_array_equal(trace.path[0], first[:2])
        finite = np.isfinite(trace.iterates)
        assert (trace.best_by_iteration <= trace.iterates)[finite].all()
        with presets.arithmetic("float64"):
            start = float(problem.value(0 * problem.x0 if name == "return_zero" else problem.x0))
        assert trace.points[0] == pytest.approx(start, rel=1e-12)
    assert not np.array_equal(traces[0].points, traces[1].points)


@pytest.mark.parametrize("name", [*HOST, "bfgs_quadratic", "optax_lbfgs", "multistart_l_bfgs_b"])
def test_local_methods_solve_a_quadratic(name):
    traces = ALL[name](problems("sum_of_squares", 6), 100)
    for trace in traces:
        assert trace.best[-1] < 1e-8
        assert trace.status == ("evaluations" if name.startswith("multi") else "converged")


@pytest.mark.parametrize("name", HOST)
def test_counts_are_scipys(name):
    """With a function that never asks twice, SciPy's own counts must be ours."""
    problem, second = problems("rosenbrock", 4, 1)[0], name in ("newton_cg", "trust_ncg")
    (trace,) = ALL[name]([problem], 50)
    with presets.arithmetic("float64"):
        counted, products = Counted(problem), []
        result = scipy.optimize.minimize(
            counted.value,
            problem.x0,
            jac=counted.gradient,
            hessp=(lambda x, v: products.append(1) or counted.hvp(x, v)) if second else None,
            method={"bfgs": "BFGS", "l_bfgs_b": "L-BFGS-B"}.get(name, name.replace("_", "-")),
            options={"maxiter": 50},
        )
    assert (trace.n_f, trace.n_g) == (result.nfev, result.njev)
    assert trace.n_hvp == len(products) and (trace.n_hvp > 0) == second
    assert len(trace.iterates) == result.nit + 1
    assert trace.iterates[-1] == pytest.approx(result.fun)


@pytest.mark.parametrize(
    ("function", "dim"), [("rosenbrock", 12), ("levy", 8), ("powell", 8), ("griewank", 6)]
)
def test_the_quadratic_bfgs_is_scipys(function, dim):
    for problem in problems(function, dim, 2):
        ours, scipys = (ALL[name]([problem], 40)[0] for name in ("bfgs_quadratic", "bfgs"))
        # Rounding grows along a run of line searches: the same evaluations, equal for 25 of them.
        np.testing.assert_allclose(ours.points[:25], scipys.points[:25], rtol=1e-6, atol=1e-12)
        assert ours.evaluations[:10].tolist() == scipys.evaluations[:10].tolist()
        assert ours.status == scipys.status
        assert ours.best[-1] == pytest.approx(scipys.best[-1], rel=0.05, abs=1e-8)


def test_a_value_and_a_gradient_at_one_point_are_one_evaluation():
    problem = problems("sphere", 3, 1)[0]
    with presets.arithmetic("float64"):
        counted = Counted(problem, cap=2)
        value = counted.value(problem.x0)
        np.testing.assert_allclose(counted.gradient(problem.x0), counted.gradient(problem.x0))
        counted.hvp(problem.x0, problem.x0)
        counted.value(2 * problem.x0)
        with pytest.raises(BudgetSpent):
            counted.gradient(3 * problem.x0)
        trace = counted.trace("evaluations")
    assert (trace.n_f, trace.n_g, trace.n_hvp) == (2, 1, 1)
    assert trace.points[0] == value


def test_iterations_are_the_budget_where_no_cap_is_given():
    (trace,) = ALL["bfgs"](problems("rosenbrock", 10, 1, "paper"), 7)
    assert trace.status == "steps" and len(trace.iterates) == 8 and trace.n_f > 8


def test_adam_is_optax_by_hand():
    """Two steps on the sphere: Adam's first two steps are lr · sign(g) to 1e-4 for equal signs."""
    problem = problems("sphere", 3, 1)[0]
    (trace,) = ALL["adam"]([problem], 3, lr=0.01)
    start = problem.x0 * 0.512 - 0.512 * problem.data["shift"]
    for k in range(3):
        moved = start - 0.512 * 0.01 * k * np.sign(start)
        assert trace.points[k] == pytest.approx(np.sum(moved**2), rel=1e-4)
    assert (trace.n_f, trace.n_g, trace.lr) == (3, 3, 0.01)


def test_paths_are_the_iterates():
    """In two dimensions the path is all of x, and the function gives the record's values."""
    problem = problems("rosenbrock", 2, 1)[0]
    for name in ("bfgs", "bfgs_quadratic", "optax_lbfgs", "adam", "multistart_l_bfgs_b", "shrink"):
        (trace,) = ALL[name]([problem], 12, **CHEAP.get(name, {}))
        with presets.arithmetic("float64"):
            values = [float(problem.value(x)) for x in trace.path]
        np.testing.assert_allclose(values, trace.iterates, rtol=1e-8)
    (trace,) = ALL["bfgs"](problems("sphere", 2, 1), 12)
    assert trace.path is None


def test_momentum_is_the_heavy_ball():
    problem = problems("sphere", 1, 1)[0]
    x = problem.x0 - problem.data["shift"]
    velocity, expected = 0.0, []
    for _ in range(4):
        expected.append(float(np.sum((0.512 * x) ** 2)))
        velocity = 0.9 * velocity + 2 * 0.512**2 * x
        x = x - 0.1 * velocity
    (trace,) = ALL["momentum"]([problem], 4, lr=0.1)
    np.testing.assert_allclose(trace.points, expected, rtol=1e-10)


def test_tuning_takes_the_best_rate_on_starts_of_its_own():
    problem = problems("sphere", 3, 1)[0]
    rates = np.array([1e-6, 1e-3, 0.5, 1e3])
    assert first_order.tune(problem, "momentum", 30, rates=rates) == 0.5
    paper, adam, momentum = (
        first_order.grid(*pair)
        for pair in (("paper", "adam"), ("fair-shift", "adam"), ("fair-shift", "momentum"))
    )
    assert (
        paper[0] == pytest.approx(1e-6)
        and paper[-1] == 1
        and paper[-2] == pytest.approx(0.8697, 1e-3)
    )
    assert (adam[0], adam[-1]) == pytest.approx((1e-4, 10))
    assert (momentum[0], momentum[-1]) == pytest.approx((1e-9, 10))


def test_a_shared_rate_is_the_best_on_average(monkeypatch):
    """Gaps made up so that every function likes another rate of the grid best, one the most."""
    grid = first_order.grid("fair-shift", "adam")
    asked = []

    def gaps(problem, method, steps):
        asked.append((problem.function, problem.dim))
        liked = list(FUNCTIONS).index(problem.function)
        return -np.where(np.arange(len(grid)) == liked, 1.0 + (problem.function == "levy"), 0.0)

    monkeypatch.setattr(first_order, "log_gap_left", gaps)
    rate = first_order.shared_rate("fair-shift", "adam", 20)
    assert rate == grid[list(FUNCTIONS).index("levy")]
    assert ("sphere", 100) in asked and ("perm", 100) not in asked  # there is no such problem


def test_gaps_that_are_left_by_rate():
    problem = problems("sphere", 4, 1)[0]
    found = first_order.log_gap_left(problem, "momentum", 30)
    grid = first_order.grid("fair-shift", "momentum")
    assert found.shape == grid.shape and (found <= 0).all() and found[0] > -1e-3
    best = int(np.argmin(found))
    assert grid[best] == pytest.approx(first_order.tune(problem, "momentum", 30), rel=2.0)


def test_divergence_is_recorded_and_never_best():
    (trace,) = ALL["momentum"](problems("rosenbrock", 4, 1), 60, lr=10.0)
    assert trace.non_finite > 10 and np.isfinite(trace.best).all()
    assert trace.status == "steps" and trace.best[-1] <= trace.points[0]


def test_a_run_without_a_finite_value_says_so():
    trace = one_point_a_step(np.array([1.0, np.nan, np.inf]), gradients=True)
    assert trace.status == "non_finite" and trace.non_finite == 2
    np.testing.assert_array_equal(trace.best, 1.0)
    np.testing.assert_array_equal(best_so_far(np.array([np.nan, 2.0])), [np.inf, 2.0])


def test_evaluations_to_a_value_run_over_all_points():
    points = np.array([9.0, 1.0, 5.0, 0.5])
    trace = Trace(points, points[[0, 2, 3]], np.array([1, 3, 4]), 4, 4, 0, "steps")
    np.testing.assert_array_equal(trace.best_by_iteration, [9.0, 1.0, 0.5])
    assert (trace.evaluations_to(1.0), trace.evaluations_to(0.1)) == (2, None)


def test_random_baselines_do_not_touch_numpys_global_state_and_repeat():
    pytest.importorskip("cma")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for name in ("cma", "multistart_l_bfgs_b"):
        first, again = (ALL[name](problems("rastrigin", 3, 1), 60)[0] for _ in range(2))
        np.testing.assert_array_equal(first.points, again.points)
        assert first.best[-1] < first.points[0]
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_return_zero_and_shrink_do_what_they_are_called():
    given = problems("sum_of_squares", 5, 1, "paper")
    assert ALL["return_zero"](given, 200)[0].points.tolist() == [0.0]
    (trace,) = ALL["shrink"](given, 3)
    np.testing.assert_allclose(trace.points, trace.points[0] * 0.81 ** np.arange(3), rtol=1e-5)


def test_batches_of_different_problems_are_refused():
    mixed = [problems("sphere", 3, 1)[0], problems("sphere", 4, 1)[0]]
    with pytest.raises(ValueError, match="must share preset, function and dimension"):
        ALL["adam"](mixed, 3, lr=0.1)
