"""Problems of other libraries as ours. The libraries are optional: most tests use small fakes."""

import jax
import numpy as np
import pytest

from optimus.problems import presets, suites
from optimus.problems.presets import arithmetic
from optimus.problems.suites import SuiteMissing, coco
from tests.optimus.library_fakes import in_place_of_libraries


@pytest.fixture
def libraries(monkeypatch):
    yield from in_place_of_libraries(monkeypatch)


def test_problems_are_those_of_the_library(libraries):
    small, large = suites.cases("sif2jax", ("QUARTIC", "ROSENBR"))
    assert [(each.name, each.dim, each.related) for each in (small, large)] == [
        ("ROSENBR", 2, True),
        ("QUARTIC", 3, False),
    ]
    first, second = large.problems(2, 0)
    with arithmetic("float64"):
        value, gradient = jax.value_and_grad(first.objective, argnums=1)(first.data, first.x0)
    assert first.x0.dtype == np.float64 and (float(value), gradient.dtype) == (3.0, np.float64)
    np.testing.assert_array_equal(first.x0, [3, 3, 1])
    np.testing.assert_array_equal(gradient, [4, 4, 2])
    assert (np.abs(second.x0 - first.x0) > 0).all() and first.objective is second.objective
    assert (np.abs(second.x0 - first.x0) <= 0.1 * np.abs(first.x0)).all()
    assert large.problems(2, 1)[1].x0.tolist() != second.x0.tolist()


def test_black_boxes_have_gradients_in_full_precision(libraries):
    (case,) = suites.cases("coco", ("f1",), 5, 5)
    problems = case.problems(3, 0)
    data = {"instance": np.array([1.0, 2.0, 3.0])}
    x0 = np.stack([problem.x0 for problem in problems])
    with arithmetic("float64"):
        run = jax.jit(jax.vmap(jax.value_and_grad(problems[0].objective, argnums=1)))
        values, gradients = run(data, x0)
    away = x0 - np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_allclose(values, 100 + np.sum(away**2, axis=1), rtol=1e-14)
    np.testing.assert_allclose(gradients, 2 * away, atol=1e-7)
    assert (np.abs(x0) <= 4).all()
    value, gradient = coco.value_and_gradient(1, 5, 1, np.full(5, np.inf))
    assert np.isnan(value) and np.isnan(gradient).all()
    with pytest.raises(ValueError, match="coco has 15 instances"):
        case.problems(16, 0)


def test_mistakes_are_one_line(libraries, monkeypatch):
    for arguments, words in (
        (("cutest",), "suite: got 'cutest', want one of sif2jax, coco"),
        (
            ("sif2jax", ("LARGE",)),
            "sif2jax has no 'LARGE' with 2 to 100 variables; it has BROKEN",
        ),
        (("sif2jax", (), 50), "nothing with 50 to 100"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            suites.cases(*arguments)
        assert "\n" not in str(caught.value)
    monkeypatch.setitem(suites.PACKAGES, "coco", "no_such_module")
    with pytest.raises(SuiteMissing, match=r"suite coco needs .*\[suites\]"):
        suites.library("coco")
    with pytest.raises(ValueError, match="suite has no function 'sphere'"):
        presets.problem("suite", "sphere", 2, 0, 0)


@pytest.mark.slow  # importing sif2jax takes a minute
@pytest.mark.parametrize("name", suites.PACKAGES)
def test_the_real_library_where_it_is_installed(name):
    pytest.importorskip(suites.PACKAGES[name])
    known = {"sif2jax": ("ROSENBR", 24.2), "coco": ("f8", None)}[name]
    (case,) = suites.cases(name, known[:1], 2, 2)
    (problem,) = case.problems(1, 0)
    with arithmetic("float64"):
        value = float(problem.value(problem.x0))
    assert case.related and (known[1] is None or value == pytest.approx(known[1]))
