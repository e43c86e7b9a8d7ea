"""Evaluations to a baseline's value: hits, running time with censoring, intervals, table."""

from __future__ import annotations

import numpy as np
import pytest

from workers.physics.benchmark import targets
from workers.physics.benchmark.cells import Cell


def cell(method, window, best, status="evaluations"):
    best = np.asarray(best, float)
    empty = np.zeros(0)
    return Cell(
        method,
        window,
        status,
        float("nan"),
        best,
        best,
        best,
        empty,
        empty,
        empty,
        empty,
        empty,
        np.array(0.25),
    )


def test_hits_count_from_one_and_are_censored():
    best = np.array([[5.0, 3.0, 1.0], [5.0, 4.0, 4.0], [1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(targets.hits(best, np.array([3.0, 3.0, 2.0])), [2, np.inf, 1])


def test_expected_running_time_charges_the_budget_for_what_was_not_reached():
    assert targets.expected_running_time(np.array([10.0, np.inf, 20.0]), 100) == 65.0
    assert targets.expected_running_time(np.array([10.0, 30.0]), 100) == 20.0
    assert targets.expected_running_time(np.array([np.inf]), 100) == np.inf


def test_the_interval_holds_the_value_and_narrows():
    few, many = (targets.bootstrap(lambda v: float(v.mean()), np.arange(n) % 2) for n in (8, 200))
    for found in (few, many):
        assert found.low <= found.value == 0.5 <= found.high
    assert many.high - many.low < few.high - few.low
    assert targets.Interval(0.5, 0.25, np.inf).text() == "0.50 [0.25, ∞]"


def test_the_table_compares_with_the_baseline_at_the_end_of_its_budget(monkeypatch):
    monkeypatch.setattr(targets, "AFTER", (2, 4))
    cells = [
        cell("kinematic", "a", [0.0], "baseline"),
        cell("kinematic", "b", [0.0], "baseline"),
        cell("optimus", "a", [9, 1, 1, 1]),
        cell("optimus", "b", [9, 8]),  # ended early: stays at 8
        cell("adafactor_mlp", "a", [9, 9, 9, 9]),
        cell("adafactor_mlp", "b", [9, 8, 7, 6]),
        cell("l_bfgs_b", "a", [9, 5, 4, 2]),
        cell("l_bfgs_b", "b", [9, 5, 4, 2]),
        cell("adam", "a", [9, 5, 4, 3]),  # another window failed: not compared
    ]
    text = targets.table(cells, 4)
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in text.splitlines()}
    assert rows["optimus"][1:3] == ["4.5", "4.5"]
    assert rows["optimus"][3].startswith("0.50 [") and rows["optimus"][5].startswith("6 [")
    assert rows["optimus"][6].startswith("0.50 [") and rows["adafactor_mlp"][5] == "∞ [∞, ∞]"
    assert rows["l_bfgs_b"][4] == "1.00 [1.00, 1.00]" and rows["l_bfgs_b"][3].startswith("0.00")
    assert "adam" not in rows and "kinematic" not in rows
    assert targets.table(cells[:4], 4) == ""


@pytest.mark.parametrize("budget", [1, 3])
def test_counts_beyond_the_budget_are_left_out(budget):
    text = targets.table([cell("l_bfgs_b", "a", [1.0] * budget)], budget)
    assert "after 67" not in text and "expected running time" in text
