"""Basin-hopping restarts: where they go, what they find, and that no budget is overdrawn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optimus
from optimus.minimization import basin_hopping, safeguard
from optimus.minimization.basin_hopping import Abandonment
from optimus.minimization.descent import Descent, Limits, Outcome
from optimus.minimization.objective import Objective
from optimus.model.optimizer import OptimizerConfig, init_params
from optimus.weights import LearnedOptimizer

CONFIG = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)  # untrained, as any must do


@functools.cache
def untrained():
    return LearnedOptimizer(CONFIG, init_params(CONFIG, jax.random.PRNGKey(0)), {})


def minimize(fun, x0, **options):
    return optimus.minimize(fun, x0, **{"model": untrained(), "jac": True, **options})


def wells(x):
    """Styblinski and Tang's function from its minimum up: 14.14 for each coordinate in the worse
    of two wells."""
    value = 0.5 * float(np.sum(x**4 - 16.0 * x**2 + 5.0 * x)) + 39.16616570377142 * x.size
    return value, 2.0 * x**3 - 16.0 * x + 2.5


WRONG = np.full(6, 0.5)  # every coordinate on the wrong side, a way from its well


# ------------------------------------------------------------------------------------------ where


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.sampled_from([0.0, 1e-9, 1.0, 1e200]))
def test_a_hop_leaves_most_coordinates_and_moves_at_least_one(seed, size, travelled):
    random = np.random.default_rng(seed)
    start = random.normal(size=size)
    best = start + travelled * random.normal(size=size)
    found = basin_hopping.displaced(random, best, start)
    assert found.shape == (size,) and np.isfinite(found).all()
    moved = found != best
    assert 1 <= moved.sum() <= (0.7 * size if size >= 20 else size)


def test_a_hop_is_as_long_as_the_way_so_far():
    random = np.random.default_rng(0)
    for travelled in (0.5, 40.0):
        best = np.full(20_000, travelled)
        changes = [basin_hopping.displaced(random, best, 0.0 * best) - best for _ in range(40)]
        assert abs(np.mean([change != 0.0 for change in changes]) - basin_hopping.SHARE) < 0.01
        lengths = [np.std(change[change != 0.0]) / travelled for change in changes]
        assert np.min(lengths) > 0.95 * basin_hopping.REACH / basin_hopping.SPREAD
        assert np.max(lengths) < 1.05 * basin_hopping.REACH * basin_hopping.SPREAD
        assert abs(np.exp(np.mean(np.log(lengths))) / basin_hopping.REACH - 1.0) < 0.25


# ------------------------------------------------------------------------------------------- what


def test_hops_find_a_lower_well_and_more_of_them_a_lower_one():
    gaps = [minimize(wells, WRONG, maxiter=2000, hops=hops).fun for hops in (0, 3, 30)]
    assert abs(gaps[0] - 6 * 14.1367) < 1e-3  # every coordinate where it started
    assert gaps[0] > gaps[1] + 10.0 > gaps[2] + 20.0


def test_hops_are_those_of_the_seed():
    one, same, other = (
        minimize(wells, WRONG, maxiter=1000, hops=3, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.x, same.x) and one.nfev == same.nfev
    assert not np.array_equal(one.history, other.history)
    assert one.hops == other.hops == 3


def test_no_hops_is_the_run_without_and_one_goes_on_from_its_end():
    plain, zero = minimize(wells, WRONG), minimize(wells, WRONG, hops=0, seed=7)
    assert np.array_equal(plain.x, zero.x) and plain.hops == zero.hops == 0
    assert (plain.nit, plain.nfev, plain.status) == (zero.nit, zero.nfev, zero.status)
    # The first descent of a hopping run is the run without hops, but ends at rounding.
    longer = minimize(wells, WRONG, hops=1, maxiter=1000)
    alike = int(np.argmax(plain.history < plain.fun + 1e-9))
    assert alike > 5
    assert np.array_equal(longer.history[:alike], plain.history[:alike])


def test_a_descent_before_a_hop_ends_where_nothing_but_rounding_is_left():
    """Without a search that finds nothing; what it leaves is less than rounding."""
    nfev, found = [], []
    for start in np.linspace(0.3, 1.2, 10):
        each = []
        for abandoned in (None, Abandonment()):
            objective = Objective(wells, True, (), WRONG, np.ones(6), None)
            one = Descent(objective, None, True)
            limits = Limits(500, None, None)
            one.run(np.full(6, start), limits, lambda point: None, abandoned)
            each.append((objective.nfev, one.best.fun))
        (without, lowest), (with_hops, end) = each
        nfev.append(with_hops - without)
        found.append(end - lowest)
    assert max(nfev) <= 0 and np.mean(nfev) < -5
    assert max(found) <= 1e-12


def test_a_search_that_finds_nothing_leaves_its_memory_to_the_next_descent(monkeypatch):
    real, before = safeguard.guarded_step, []

    def fails_at_last(objective, pairs, recent, point, step):
        if one.steps < 8:
            return real(objective, pairs, recent, point, step)
        before.extend(pairs)
        pairs.clear()
        return None, False

    monkeypatch.setattr(safeguard, "guarded_step", fails_at_last)
    one = Descent(Objective(wells, True, (), WRONG, np.ones(6), None), untrained(), True)
    one.run(WRONG, Limits(500, None, None), lambda point: None)
    assert one.end.outcome == Outcome.STALLED and one.steps == 8
    assert len(one.pairs) == len(before) > 0
    again = Descent(one.objective, untrained(), True, one.pairs)
    assert len(again.pairs) == len(before) and again.pairs is not one.pairs


def test_a_hop_that_promises_nothing_is_abandoned():
    """Ten hops cost far less than ten descents to the last digit, and lose nothing."""
    first = minimize(wells, WRONG)
    result = minimize(wells, WRONG, hops=10, maxiter=2000)
    assert result.nfev < first.nfev * (1 + 10 * 0.8)
    assert np.max(np.abs(result.jac)) < 1e-5  # the descent that counts was not


def test_a_run_after_all_its_hops_ends_as_the_descent_that_found_x():
    result = minimize(wells, WRONG, maxiter=5000, hops=4, gtol=1e-6)
    assert result.status in (0, 2) and result.success and result.hops == 4
    assert np.max(np.abs(result.jac)) < 1e-4


def test_a_descent_back_where_it_hopped_from_is_abandoned():
    objective = Objective(wells, True, (), WRONG, np.ones(6), None)
    one = Descent(objective, None, True)
    one.run(WRONG, Limits(500, None, 10), lambda point: None, Abandonment())
    again = Descent(objective, None, True)
    limits = Limits(500, None, 10, made=one.steps)
    # Within the same wells.
    again.run(one.best.z + 0.3, limits, lambda point: None, Abandonment(one.best))
    assert again.end.outcome == Outcome.STALLED and "back at" in again.end.message
    assert np.max(np.abs(again.point.z - one.best.z)) < 0.01 and again.best.fun >= one.best.fun


def test_every_other_descent_is_l_bfgs_alone(monkeypatch):
    """Under the safeguard: the first and the third take learned steps, the second none."""
    made = []

    class Watched(Descent):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr("optimus.minimization.basin_hopping.Descent", Watched)
    result = minimize(wells, WRONG, maxiter=1000, hops=4)
    learned = [one.accepted for one in made]
    assert learned[0] > 0 and learned[1] == learned[3] == 0 and len(made) == 5
    assert made[1].steps and made[3].steps
    assert result.accepted_share == pytest.approx(sum(learned) / result.nit)
    made.clear()
    minimize(wells, WRONG, maxiter=100, hops=2, safeguard="none", stop_history=3)
    assert all(one.accepted == one.steps for one in made) and len(made) > 1


# ---------------------------------------------------------------------------------------- budgets


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 150), st.integers(0, 80), st.sampled_from(["lbfgs", "none"]))
def test_no_budget_is_overdrawn(maxfev, maxiter, guard):
    seen, called = [], []

    def fun(x):
        seen.append(wells(x)[0])
        return wells(x)

    result = minimize(
        fun,
        WRONG[:2],
        maxfev=maxfev,
        maxiter=maxiter,
        hops=None,
        safeguard=guard,
        stop_history=3,
        callback=called.append,
    )
    assert result.nfev == len(seen) <= maxfev and result.nit <= maxiter
    assert result.status == 1 and not result.success
    assert result.fun == np.min(seen) and result.fun == wells(result.x)[0]
    assert result.history.shape == (result.nit + 1,) and np.all(np.diff(result.history) <= 0)
    assert len(called) == result.nit - result.hops


@pytest.mark.parametrize("function", [lambda x: (1.0, 0.0 * x), lambda x: (1.0, np.ones(x.size))])
def test_a_flat_function_ends(function):
    result = minimize(function, [0.0, 0.0], hops=None, maxiter=60)
    assert (result.status, result.nit) == (1, 60) and result.hops > 1


def test_hops_into_what_is_not_finite_are_only_bad_hops():
    def fenced(x):
        inside = np.max(np.abs(x - 1.5)) < 1.5
        return (wells(x)[0] if inside else np.nan), wells(x)[1]

    result = minimize(fenced, WRONG, hops=20, maxiter=2000)
    assert result.hops == 20 and result.success and np.isfinite(result.fun)
    start = minimize(lambda x: (np.nan, x), WRONG, hops=20)
    assert start.status == 3 and start.hops == 0


def test_a_callback_ends_a_run_in_a_later_descent():
    points = []

    def stop(x):
        points.append(x)
        if len(points) == 200:
            raise StopIteration

    result = minimize(wells, WRONG, hops=None, maxiter=5000, callback=stop)
    assert result.status == 99 and result.hops >= 1 and not result.success


def test_a_function_in_jax_hops_too():
    def fun(x):
        return 0.5 * jnp.sum(x**4 - 16.0 * x**2 + 5.0 * x)

    one = minimize(fun, WRONG, jac=None, maxiter=400, hops=None)
    assert one.hops > 1 and one.fun < fun(np.full(6, 2.7468)) - 10.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hops": -1}, "hops: got -1, want an integer of at least 0"),
        ({"hops": 1.5}, "hops: got 1.5"),
        ({"hops": True}, "hops: got True"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": None}, "seed: got None"),
    ],
)
def test_arguments_that_cannot_be_used(options, message):
    with pytest.raises(ValueError, match=message):
        minimize(wells, WRONG, **options)
