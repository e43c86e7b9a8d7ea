"""Methods against each other at equal evaluations: counts of cells, ratios, solved shares."""

import csv

import pytest

from benchmarks.compare_methods import compare, read
from optimus.bench.cells import TOLERANCES


def rows_of(values, starts=4, solved=()):
    """{(function, dim, method): reported value} as rows of `results.csv`."""
    return [
        {
            **dict(preset="fair-shift", function=function, dim=dim, method=method, start=start),
            **dict(f_best=value, seed=0),
            **{f"evals_to_{tol}": 7 if (method, tol) in solved else None for tol in TOLERANCES},
        }
        for (function, dim, method), value in values.items()
        for start in range(starts)
    ]


def test_cells_are_compared_by_their_floored_gaps():
    values = {}
    for function, own, adam in (("sphere", 1e-3, 1.0), ("levy", 1.0, 1e-1), ("ackley", 0.0, 0.0)):
        values |= {(function, 10, "optimus:x"): own, (function, 10, "adam"): adam}
        values |= {(function, 10, "l_bfgs_b"): 1e-2}
    solved = {("optimus:x", "1e-1"), ("adam", "1e-1"), ("optimus:x", "1e-3")}
    adam, l_bfgs_b = compare(rows_of(values, solved=solved), [], ["adam", "l_bfgs_b", "momentum"])
    assert (adam["method"], adam["against"]) == ("optimus:x", "adam")
    assert [adam[key] for key in ("cells", "better", "level", "by median")] == [3, 1, 1, 1]
    assert adam["ratio"] == 0.0  # the middle of -3, 0, 1
    assert (adam["solved 1e-1"], adam["over theirs 1e-1"]) == (1.0, 1.0)
    assert (adam["solved 1e-3"], adam["over theirs 1e-3"]) == (1.0, None)
    assert l_bfgs_b["ratio"] == pytest.approx(-1.0) and l_bfgs_b["ratio of medians"] < 0


def test_a_cell_that_is_not_finite_is_worse_and_not_a_crash():
    values = {("sphere", 10, "optimus:x"): float("inf"), ("sphere", 10, "adam"): 1.0}
    values |= {("levy", 10, "optimus:x"): float("nan"), ("levy", 10, "adam"): float("inf")}
    (row,) = compare(rows_of(values), ["optimus:x"], ["adam"])
    assert (row["better"], row["level"], row["ratio"]) == (0, 1, float("inf"))


def test_results_are_read_as_they_were_written(tmp_path):
    rows = rows_of({("sphere", 10, "adam"): 0.5}, starts=1, solved={("adam", "1e-1")})
    with open(tmp_path / "results.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (row,) = read(tmp_path / "results.csv")
    assert (row["dim"], row["f_best"], row["evals_to_1e-1"]) == (10, 0.5, "7")
    assert row["evals_to_1e-6"] is None
