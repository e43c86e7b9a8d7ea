"""Presets: the paper's protocol against its printed numbers, fair problems against the truth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.bench.classical.printed import table4
from optimus.problems import presets
from optimus.problems.formulas import sum_in_pairs
from optimus.problems.functions import FUNCTIONS

NAMES = sorted(FUNCTIONS)


@functools.cache
def compiled(objective):
    return jax.jit(jax.value_and_grad(objective, argnums=1))


def evaluate(problem, x, dtype=None):
    """Value and gradient, in the preset's arithmetic unless another is named."""
    dtype = dtype or presets.preset(problem.preset).dtype
    with presets.arithmetic(dtype):
        data = {name: leaf.astype(dtype) for name, leaf in problem.data.items()}
        value, gradient = compiled(problem.objective)(data, np.asarray(x, dtype))
        assert value.dtype == gradient.dtype == dtype
        return float(value), np.asarray(gradient, np.float64)


def defined(preset, dim):
    for name in NAMES:
        try:
            yield presets.problem(preset, name, dim, seed=0, start=0)
        except ValueError:
            assert preset != "paper"


def paper(name, dim, start=0, seed=0):
    return presets.problem("paper", name, dim, seed, start)


def mean_start(name, dim):
    problems = [paper(name, dim, start) for start in range(64)]
    return np.mean([evaluate(each, each.x0)[0] for each in problems])


# ------------------------------------------------------------------------------------------- paper

# The reported value at z = 0.
AT_ZERO = {name: lambda dim: 0.0 for name in NAMES} | {
    "dixon_price": lambda dim: 1.0,
    "rosenbrock": lambda dim: dim - 1.0,
    "styblinski_tang": lambda dim: 39.16616570377 * dim,
    "trid": lambda dim: dim + (dim + 1) * (dim + 5) * dim / 6,
}


@pytest.mark.parametrize("name", NAMES)
def test_paper_values_at_zero(name):
    for dim in (2, 10):
        value, gradient = evaluate(paper(name, dim), np.zeros_like(paper(name, dim).x0))
        assert np.isfinite(gradient).all()
        if name == "levy":
            continue
        assert value == pytest.approx(AT_ZERO[name](dim), rel=1e-6, abs=1e-4)


@pytest.mark.parametrize(("dim", "expected"), [(2, 0.81), (1000, 91.5)])
def test_paper_levy_sums_to_d(dim, expected):
    assert evaluate(paper("levy", dim), np.zeros(dim))[0] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("name", "dim", "expected", "tolerance"),
    [
        ("zakharov", 1000, 2.3e19, 0.4),  # the mean of s⁴ over 64 starts spreads that much
        ("trid", 1000, 1.677e8, 0.001),
        ("dixon_price", 1000, 4.02e9, 0.02),
        ("rastrigin", 1000, 1000 * (33.3 + 10), 0.01),
        ("sphere", 100, 100 * 33.33 * 0.512**2, 0.02),
        ("rotated_hyper_ellipsoid", 100, 5050 * 33.33 * 6.5536**2, 0.03),
    ],
)
def test_paper_starts_have_the_known_mean(name, dim, expected, tolerance):
    assert mean_start(name, dim) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("dim", [2, 10, 20, 50, 100, 250, 500, 1000])
def test_paper_trid_has_a_floor(dim):
    problem = paper("trid", dim)
    assert problem.minimum == dim * (dim + 3) / 2
    lowest = evaluate(problem, problem.minimiser, "float64")[0]
    assert lowest == pytest.approx(problem.minimum, abs=1e-15 * dim**5)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 250, 1000])
def test_sums_in_pairs_are_sums(size):
    terms = np.random.default_rng(size).standard_normal(size)
    with presets.arithmetic("float64"):
        assert float(sum_in_pairs(jnp.asarray(terms))) == pytest.approx(terms.sum(), rel=1e-12)


def test_paper_trid_sums_in_pairs():
    # One after the other the sum of these is off by 4e-5.
    terms = np.full(1 << 12, 0.1, np.float32)
    exact = float(terms.astype(np.float64).sum())
    assert float(jax.jit(sum_in_pairs)(terms)) == pytest.approx(exact, rel=2**-23)
    problem = paper("trid", 250)
    true = presets.problem("fair-shift", "trid", 250, 0, 0)
    with presets.arithmetic("float64"):
        value = float(problem.objective({}, jnp.asarray(problem.x0, float)))
        assert value + problem.f_star == pytest.approx(
            float(true.objective({}, jnp.asarray(problem.x0, float))) + true.f_star, rel=1e-12
        )


def test_paper_trid_floor_is_the_printed_one():
    for dim in (2, 10, 20, 50):  # the optimum is reached up to 50d
        printed = table4()["trid", dim, "bfgs"]
        assert printed == pytest.approx(paper("trid", dim).minimum, rel=5e-3)


def test_paper_perm_is_sum_of_squares():
    x = np.arange(1.0, 6.0)
    assert evaluate(paper("perm", 5), x)[0] == 225.0
    assert evaluate(paper("perm", 5), x)[0] == evaluate(paper("sum_of_squares", 5), x)[0]


def test_paper_powell_has_real_extra_coordinates():
    for dim, size in ((2, 4), (10, 12), (20, 20)):
        problem = paper("powell", dim)
        assert problem.dim == dim and problem.x0.shape == (size,)
        assert (np.abs(problem.x0) > 0).all()


def test_paper_scales_stand_inside_the_function():
    for name, factor in presets.SCALES.items():
        problem = paper(name, 4)
        with presets.arithmetic("float64"):
            true = float(FUNCTIONS[name].value(factor * jnp.asarray(problem.x0, float)))
        assert evaluate(problem, problem.x0)[0] == pytest.approx(true, rel=1e-5)


@pytest.mark.parametrize("dim", [2, 1000])
def test_paper_starts_fill_the_box_in_float32(dim):
    for problem in defined("paper", dim):
        assert problem.x0.dtype == np.float32 and np.abs(problem.x0).max() <= 10
        assert dim == 2 or np.abs(problem.x0).max() > 9.9


# -------------------------------------------------------------------------------------------- fair


@pytest.mark.parametrize("preset", ["fair-shift", "fair-rotate"])
def test_fair_minima_are_zero_flat_and_off_centre(preset):
    for problem in defined(preset, 10):
        value, gradient = evaluate(problem, problem.minimiser)
        assert value == pytest.approx(0.0, abs=1e-9) and problem.minimum == 0.0, problem.function
        # At its tip the cone of Ackley has a gradient of any direction and length below 4/√N.
        bound = 2.0 if problem.function == "ackley" else 1e-4
        assert np.abs(gradient).max() < bound, problem.function
        assert np.abs(problem.minimiser).max() > 0.1


@pytest.mark.parametrize(
    ("preset", "dim"), [("fair-shift", 2), ("fair-shift", 1000), ("fair-rotate", 100)]
)
def test_fair_values_and_squared_gradients_are_finite_at_all_starts(preset, dim):
    for first in defined(preset, dim):
        for start in range(64 if dim < 100 else 8):
            each = presets.problem(preset, first.function, dim, 0, start)
            value, gradient = evaluate(each, each.x0)
            assert np.isfinite(value) and np.isfinite(gradient @ gradient), each.function


@pytest.mark.parametrize("preset", ["fair-shift", "fair-rotate"])
def test_shifts_are_half_of_the_start_box(preset):
    for name, dim, most in (("sphere", 100, 5.0), ("perm", 10, 0.5), ("sum_of_powers", 100, 2.0)):
        shifts = np.abs(
            [presets.problem(preset, name, dim, 0, start).data["shift"] for start in range(20)]
        )
        assert 0.95 * most < shifts.max() <= most
        if name != "sum_of_powers":
            assert most == presets.problem(preset, name, dim, 0, 0).box[1] / 2


def test_true_perm_starts_at_values_that_a_tolerance_of_a_millionth_means_something_at():
    for start in range(64):
        problem = presets.problem("fair-shift", "perm", 10, 0, start)
        assert evaluate(problem, problem.x0)[0] < 1e9  # 1e20 with shifts of 5


def test_rotations_are_orthogonal_and_differ_between_starts():
    first, second = (presets.problem("fair-rotate", "ackley", 50, 0, start) for start in (0, 1))
    rotation = first.data["rotation"]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(50), atol=1e-12)
    assert not np.allclose(rotation, second.data["rotation"])
    assert not np.allclose(first.data["shift"], second.data["shift"])


def test_a_fair_problem_is_the_true_function_moved():
    problem = presets.problem("fair-rotate", "rosenbrock", 5, 3, 2)
    moved = problem.data["rotation"] @ problem.x0 - problem.data["shift"]
    with presets.arithmetic("float64"):
        true = float(FUNCTIONS["rosenbrock"].value(jnp.asarray(moved)))
    assert evaluate(problem, problem.x0)[0] == pytest.approx(true, rel=1e-12)


def test_what_the_fair_presets_leave_out():
    assert presets.dimension("fair-shift", "powell", 250) == 252
    assert presets.problem("fair-shift", "powell", 2, 0, 0).x0.shape == (4,)
    assert "rotation" not in presets.problem("fair-rotate", "sum_of_powers", 10, 0, 0).data
    for arguments, words in (
        (("fair-rotate", "ackley", 250), "ends at dimension 100"),
        (("fair-shift", "perm", 20), "dimensions 2 and 10 only"),
        (("fair-shift", "sum_of_powers", 250), "ends sum_of_powers at dimension 100"),
        (("fair-shift", "sphere", 0), "at least 1"),
        (("fair", "sphere", 2), "unknown preset 'fair'; known: paper, fair-shift, fair-rotate"),
        (("paper", "ball", 2), "unknown function"),
    ):
        with pytest.raises(ValueError, match=words):
            presets.problem(*arguments, seed=0, start=0)
    with pytest.raises(ValueError, match="must not be negative"):
        presets.problem("paper", "sphere", 2, 0, -1)


# ------------------------------------------------------------------------------------------ shared


def test_seed_function_dim_and_start_decide_the_start_and_the_preset_does_not():
    def start(*arguments):
        return presets.problem(*arguments).x0

    here = start("paper", "sphere", 10, 0, 0)
    np.testing.assert_array_equal(here, start("paper", "sphere", 10, 0, 0))
    np.testing.assert_array_equal(here, start("fair-shift", "sphere", 10, 0, 0))
    for other in (("levy", 10, 0, 0), ("sphere", 11, 0, 0), ("sphere", 10, 1, 0)):
        assert not np.allclose(here, start("paper", *other)[:10])
    assert not np.allclose(here, start("paper", "sphere", 10, 0, 1))


def test_starts_do_not_change_between_versions():
    known = [0.42288288, 9.460899]
    np.testing.assert_allclose(paper("sphere", 2).x0, known, rtol=1e-6)


def test_problems_of_a_cell_share_one_objective():
    assert paper("levy", 10, 0).objective is paper("levy", 10, 5).objective


def test_floors_are_what_float32_can_tell_from_the_minimum():
    floors = {name: paper(name, 100).floor for name in ("sphere", "ackley", "rastrigin", "trid")}
    assert floors["sphere"] == 1e-9
    assert floors["ackley"] == pytest.approx(2.7e-6, rel=0.01)
    assert floors["rastrigin"] == 1000 * 2.0**-23
    assert floors["trid"] == pytest.approx(100**3 / 6 * 2.0**-23)
