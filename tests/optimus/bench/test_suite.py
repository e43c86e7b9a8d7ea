"""`optimus bench suite`: equal evaluations, resuming, tables, on small fakes of the libraries."""

import csv
import io
import sys

import pytest
from rich.console import Console

from optimus.bench.methods import first_order
from optimus.bench.suite import report
from optimus.bench.suite import run as suite
from optimus.installation import extra_command
from tests.optimus.library_fakes import in_place_of_libraries


@pytest.fixture
def libraries(monkeypatch):
    yield from in_place_of_libraries(monkeypatch)


def run(out, **changes):
    arguments = dict(methods="l_bfgs_b,adafactor_mlp:untrained", problems="ROSENBR,QUARTIC")
    arguments |= dict(steps=30, out=out, figures=False) | changes
    console = Console(file=io.StringIO(), width=40)
    return suite.main(console=console, **arguments), console.file.getvalue()


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_suite_runs_resumes_and_is_tabled(tmp_path, libraries):
    code, said = run(tmp_path, starts=2)
    assert code == 0 and "ROSENBR 2 l_bfgs_b" in said
    rows = read(tmp_path / "results.csv")
    assert list(rows[0]) == list(report.COLUMNS) and len(rows) == 2 * 2 * 2
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


@pytest.mark.parametrize("text", ["", '{"adam', "[1]", '{"a": null}'])
def test_damaged_rates_are_chosen_anew(tmp_path, libraries, monkeypatch, text):
    (tmp_path / "rates.json").write_text(text)
    monkeypatch.setattr(first_order, "shared_rate", lambda *given: 0.01)
    assert run(tmp_path, methods="adam", problems="QUARTIC")[0] == 0


def test_without_matplotlib_a_line_names_the_extra(tmp_path, libraries, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, said = run(tmp_path, problems="QUARTIC", methods="l_bfgs_b", figures=True)
    assert code == 0 and said.count(extra_command("bench")) == 1
    assert (tmp_path / "table.md").exists()


def test_a_problem_that_fails_does_not_take_the_others_with_it(tmp_path, libraries):
    code, said = run(tmp_path, problems="BROKEN,ROSENBR", methods="l_bfgs_b")
    assert code == 1 and "failed: BROKEN 2 l_bfgs_b: ValueError: the value at a start" in said
    assert {row["function"] for row in read(tmp_path / "results.csv")} == {"ROSENBR"}


def test_mistakes_are_one_line(tmp_path, libraries):
    for changes, words in (
        (dict(suite="cutest"), "suite: got 'cutest', want one of sif2jax, coco"),
        (dict(problems="LARGE"), "sif2jax has no 'LARGE' with 2 to 100 variables; it has BROKEN"),
        (dict(problems="all", least_dim=50), "nothing with 50 to 100"),
        (dict(methods="return_zero"), "no method 'return_zero' for suites; known: bfgs"),
        (dict(starts=0), "starts: got 0, want an integer of at least 1"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            run(tmp_path, **changes)
        assert "\n" not in str(caught.value)


def test_what_is_left_of_the_gap():
    assert report.left(5.0, 10.0, 0.0) == 0.5
    assert report.left(0.0, 10.0, 0.0) == report.left(3.0, 3.0, 3.0) == 1e-9
    assert report.left(float("nan"), 10.0, 0.0) == report.left(11.0, 10.0, 0.0) == 1.0
