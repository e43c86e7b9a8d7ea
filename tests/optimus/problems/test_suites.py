"""Problems of other libraries as ours, equal evaluations, tables. The libraries are optional:
most tests use small stand-ins that have the libraries' interface."""

import csv
import io
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from optimus.bench.methods import first_order
from optimus.bench.suite import report as suite_report
from optimus.bench.suite import run as suite
from optimus.problems import presets, suites
from optimus.problems.presets import arithmetic
from optimus.problems.suites import SuiteMissing, coco
from optimus.problems.suites import sif2jax as sif


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


@pytest.fixture
def libraries(monkeypatch):
    """Stand-ins in place of both libraries."""
    made = {
        "sif2jax": types.SimpleNamespace(
            unconstrained_minimisation_problems=(Large(), Quartic(), Rosenbrock(), Broken())
        ),
        "coco": types.SimpleNamespace(Suite=Bbob),
    }
    for module in (sif, coco):
        monkeypatch.setattr(module, "library", made.__getitem__)
    caches = (sif._all, sif._objective, coco._suite, coco._function, coco._objective)
    for each in caches:
        each.cache_clear()
    yield made
    for each in caches:
        each.cache_clear()


def run(out, **changes):
    arguments = dict(methods="l_bfgs_b,adafactor_mlp:untrained", problems="ROSENBR,QUARTIC")
    arguments |= dict(steps=30, out=out, figures=False) | changes
    console = Console(file=io.StringIO(), width=200)
    return suite.main(console=console, **arguments), console.file.getvalue()


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


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


def test_a_suite_runs_resumes_and_is_tabled(tmp_path, libraries):
    code, said = run(tmp_path, starts=2)
    assert code == 0 and "ROSENBR 2 l_bfgs_b" in said
    rows = read(tmp_path / "results.csv")
    assert list(rows[0]) == list(suite_report.COLUMNS) and len(rows) == 2 * 2 * 2
    assert {row["method"] for row in rows} == {"l_bfgs_b", "adafactor_mlp:untrained"}
    assert all(int(row["n_f"]) <= 30 for row in rows)
    solved = [row for row in rows if (row["method"], row["function"]) == ("l_bfgs_b", "QUARTIC")]
    assert all(float(row["f_best"]) < 1e-6 and row["evals_to_1e-3"] for row in solved)
    assert all(float(row["f_least"]) <= float(row["f_best"]) for row in rows)
    lines = read(tmp_path / "table.csv")
    assert [(line["problems"], line["runs"]) for line in lines] == [
        ("all", "4"),
        ("all", "4"),
        ("unrelated", "2"),
        ("unrelated", "2"),
    ]
    assert "| ROSENBR* | 2 |" in (tmp_path / "table.md").read_text()
    assert {row["profile"] for row in read(tmp_path / "profiles.csv")} == {"data"}
    assert lines[0]["weights"] == "" and lines[1]["weights"].startswith("untrained:")
    before = (tmp_path / "results.csv").read_text()
    code, said = run(tmp_path, starts=2)
    assert code == 0 and "ROSENBR" not in said and (tmp_path / "results.csv").read_text() == before


def test_coco_runs_in_the_same_way(tmp_path, libraries):
    code, _ = run(tmp_path, suite="coco", problems="f6", most_dim=2, starts=2)
    rows = [row for row in read(tmp_path / "results.csv") if row["method"] == "l_bfgs_b"]
    assert code == 0 and len(rows) == 2
    assert all(float(row["f_best"]) == pytest.approx(100.0, abs=1e-8) for row in rows)


def test_adam_has_one_rate_from_other_functions(tmp_path, libraries, monkeypatch):
    asked = []
    monkeypatch.setattr(first_order, "shared_rate", lambda *given: asked.append(given) or 0.01)
    for _ in range(2):  # the second time it is known
        code, _ = run(tmp_path, methods="adam")
    assert code == 0 and asked == [("fair-shift", "adam", 30)]
    assert {row["lr"] for row in read(tmp_path / "results.csv")} == {"0.01"}


def test_a_problem_that_fails_does_not_take_the_others_with_it(tmp_path, libraries):
    code, said = run(tmp_path, problems="BROKEN,ROSENBR", methods="l_bfgs_b")
    assert code == 1 and "failed: BROKEN 2 l_bfgs_b: ValueError: the value at a start" in said
    assert {row["function"] for row in read(tmp_path / "results.csv")} == {"ROSENBR"}


def test_mistakes_are_one_line(tmp_path, libraries, monkeypatch):
    for changes, words in (
        (dict(suite="cutest"), "suite: got 'cutest', want one of sif2jax, coco"),
        (dict(problems="LARGE"), "sif2jax has no 'LARGE' with 2 to 100 variables; it has BROKEN"),
        (dict(problems="all", least_dim=50), "nothing with 50 to 100"),
        (dict(methods="return_zero"), "no method 'return_zero' for suites; known: bfgs"),
        (dict(starts=0), "need starts >= 1"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            run(tmp_path, **changes)
        assert "\n" not in str(caught.value)
    monkeypatch.setitem(suites.PACKAGES, "coco", "no_such_module")
    with pytest.raises(SuiteMissing, match=r"suite coco needs the extra \[suites\]"):
        suites.library("coco")
    with pytest.raises(ValueError, match="suite has no function 'sphere'"):
        presets.problem("suite", "sphere", 2, 0, 0)


def test_what_is_left_of_the_gap():
    assert suite_report.left(5.0, 10.0, 0.0) == 0.5
    assert suite_report.left(0.0, 10.0, 0.0) == suite_report.left(3.0, 3.0, 3.0) == 1e-9
    assert suite_report.left(float("nan"), 10.0, 0.0) == suite_report.left(11.0, 10.0, 0.0) == 1.0


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
