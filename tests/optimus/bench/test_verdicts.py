"""Verdicts on learned methods: counts against the print and against rivals, medians over seeds."""

import csv

import pytest

from optimus.bench.cells import TOLERANCES
from optimus.bench.classical import report, verdict_table


def rows_of(values, preset="paper", starts=4, solved=()):
    """{(function, dim, method): reported value} as rows of `results.csv`."""
    return [
        {
            **dict(preset=preset, function=function, dim=dim, method=method, start=start),
            **dict(f_best=value, seed=0, weights_hash="abc" if ":" in method else ""),
            **{f"evals_to_{tol}": 7 if (method, tol) in solved else None for tol in TOLERANCES},
        }
        for (function, dim, method), value in values.items()
        for start in range(starts)
    ]


def verdicts(rows, weights=None):
    return verdict_table.verdict_rows(rows, report.summarise(rows), weights or {})


def only(rows, **wanted):
    (found,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return found


def test_cells_no_worse_than_the_print_are_counted():
    values = {("levy", 10, "optimus:x"): 1e-9, ("levy", 500, "optimus:x"): 1e9}
    values |= {("sphere", 20, "optimus:x"): 0.0, ("trid", 2, "optimus:x"): 1e9}
    values |= {("perm", 10, "optimus:x"): 0.0, ("sphere", 20, "bfgs"): 0.0}
    found = verdicts(rows_of(values))
    whole = only(found, functions="all", dims="all")
    assert [whole[key] for key in ("cells", "no_worse", "worse", "clearly_worse")] == [4, 2, 2, 2]
    middle = only(found, functions="all", dims="10-250")
    assert (middle["cells"], middle["no_worse"]) == (2, 2)  # Perm is Sum of Squares once more
    off = only(found, functions="off-centre", dims="all")
    assert (off["cells"], off["no_worse"]) == (3, 1)
    assert {row["method"] for row in found} == {"optimus:x"}


def test_the_best_of_five_has_the_model_in_its_own_column():
    values = {("sphere", 10, name): 1.0 for name in ("bfgs", "adam", "momentum")}
    values |= {("sphere", 10, "adafactor_mlp:y"): 0.2, ("sphere", 10, "heldout:x"): 0.1}
    values |= {("sphere", 10, "optimus_safeguarded:x"): 0.3, ("sphere", 10, "return_zero"): 0.0}
    values |= {("levy", 10, "heldout:x"): 0.0}  # the others are missing: not counted
    found = verdicts(rows_of(values))
    for method, best in (("heldout:x", 1), ("optimus_safeguarded:x", 0), ("adafactor_mlp:y", 0)):
        row = only(found, method=method, functions="all", dims="all")
        assert (row["of_five"], row["best_of_five"], row["return_zero"]) == (1, best, 1)


def test_seeds_of_one_name_become_a_median():
    values = {}
    for seed, good in enumerate((1, 3, 2)):
        for index, function in enumerate(("sphere", "levy", "ackley")):
            values[function, 10, f"optimus:x-s{seed}"] = 0.0 if index < good else 1e9
    found = verdicts(rows_of(values), {"optimus:x-s0": "arm B (weights 0)"})
    chosen = [row for row in found if (row["functions"], row["dims"]) == ("all", "10-250")]
    assert [(row["seed"], row["no_worse"]) for row in chosen] == [
        (0, 1),
        (1, 3),
        (2, 2),
        ("median of 3", 2),
    ]
    assert {row["method"] for row in chosen} == {"optimus:x"}
    text = verdict_table.markdown(found)
    assert "* optimus:x-s0: arm B (weights 0)" in text and "| median of 3 |" in text
    assert "The rule wants 256 starts; here are 4." in text and "2 (67%)" in text


def test_fair_presets_compare_with_rivals_at_equal_evaluations():
    values = {}
    for function, own, adam in (("sphere", 1e-3, 1.0), ("levy", 1.0, 1e-1), ("ackley", 0.0, 0.0)):
        values |= {(function, 10, "optimus:x"): own, (function, 10, "adam"): adam}
        values |= {(function, 10, "l_bfgs_b"): 1e-2}
    solved = {("optimus:x", "1e-1"), ("adam", "1e-1"), ("optimus:x", "1e-3")}
    found = verdicts(rows_of(values, "fair-shift", solved=solved))
    row = only(found, rival="adam", dims="10-250")
    assert [row[key] for key in ("cells", "better", "level")] == [3, 1, 1]
    assert row["log10_ratio"] == 0.0  # the middle of -3, 0, 1
    assert row["better_by_median"] == 1
    assert (row["solved_1e-1"], row["solved_ratio_1e-1"]) == (1.0, 1.0)
    assert (row["solved_1e-3"], row["solved_ratio_1e-3"]) == (1.0, None)
    row = only(found, rival="l_bfgs_b", dims="all")
    assert row["log10_ratio"] == pytest.approx(-1.0) and row["log10_ratio_of_medians"] < 0
    assert "adam_global" not in {each["rival"] for each in found}
    assert "| adam | 3 | 1 (33%) |" in verdict_table.markdown(found)


def test_a_cell_that_is_not_finite_is_worse_and_not_a_crash():
    values = {("sphere", 10, "optimus:x"): float("inf"), ("sphere", 10, "adam"): 1.0}
    values |= {("levy", 10, "optimus:x"): float("nan"), ("levy", 10, "adam"): float("inf")}
    row = only(verdicts(rows_of(values, "fair-shift")), rival="adam", dims="all")
    assert (row["better"], row["level"], row["log10_ratio"]) == (0, 1, float("inf"))


def test_the_report_has_a_verdict_where_something_is_learned(tmp_path):
    rows = rows_of({("sphere", 10, "optimus:x"): 0.0})
    names = {path.name for path in report.write(rows, tmp_path / "a", figures=False)}
    assert {"verdict.md", "verdict.csv"} <= names
    with open(tmp_path / "a" / "verdict.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 and lines[0]["weights"] == "arm unknown (weights abc)"
    rows = rows_of({("sphere", 10, "bfgs"): 0.0})
    names = {path.name for path in report.write(rows, tmp_path / "b", figures=False)}
    assert not {"verdict.md", "verdict.csv"} & names
