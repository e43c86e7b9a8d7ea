"""The classical benchmark: results.csv, resuming, the table beside the print, profiles."""

import csv
import dataclasses
import errno
import gc
import io
import json
import sys

import numpy as np
import pytest
from rich.console import Console

from optimus.bench import cells, plan, profiles, storage
from optimus.bench.cells import Cell, Method
from optimus.bench.classical import paper_figures, printed, report, table
from optimus.bench.classical import run as classical
from optimus.bench.methods import BASELINES, LEARNED
from optimus.bench.methods.counting import one_point_a_step
from optimus.errors import ConfigError
from optimus.installation import extra_command
from optimus.problems.functions import FUNCTIONS

COLUMNS = [
    *("preset", "function", "dim", "method", "start", "f0", "f_star", "f_best", "f_last"),
    *("n_f", "n_g", "n_hvp", "evals_to_1e-1", "evals_to_1e-3", "evals_to_1e-6"),
    *("status", "lr", "precision", "seed", "weights_hash", "seconds"),
]


def quiet():
    return Console(file=io.StringIO(), width=200)


def run(out, methods=("bfgs", "return_zero"), **changes):
    arguments = dict(
        preset="paper", functions=("sphere", "trid"), dims=(2, 4), methods=methods, starts=3
    )
    arguments |= dict(steps=20, seed=0, out=out, console=quiet()) | changes
    named = [name for name in arguments["methods"] if isinstance(name, str)]
    given = [method for method in arguments["methods"] if isinstance(method, Method)]
    return classical.run(**arguments | {"methods": [*given, *plan.methods_of(named)]})


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def break_in_four(problems, steps, **options):
    """Raises in dimension 4 and returns NaN after the start otherwise."""
    if problems[0].dim == 4:
        raise RuntimeError("no luck\nwith this")
    return [one_point_a_step(np.array([5.0, np.nan, np.inf]), gradients=True)] * len(problems)


BROKEN = Method("broken", break_in_four)


def learned(weights_hash, **more):
    return Method("learned", BASELINES["shrink"], weights_hash=weights_hash, **more)


def test_results_have_the_columns_of_the_contract_and_the_right_numbers(tmp_path):
    result = run(tmp_path)
    rows = read(tmp_path / "results.csv")
    assert list(rows[0]) == COLUMNS and len(rows) == len(result.rows) == 2 * 2 * 2 * 3
    (row,) = (
        row
        for row in rows
        if (row["function"], row["dim"], row["method"], row["start"]) == ("trid", "4", "bfgs", "2")
    )
    # The paper's Trid: its minimum is 14 = d(d+3)/2, since it subtracts that of dimension 5.
    assert float(row["f_star"]) == -30.0 and float(row["f_best"]) == pytest.approx(14, abs=1e-4)
    assert int(row["evals_to_1e-1"]) <= int(row["evals_to_1e-6"]) <= int(row["n_f"])
    assert (row["precision"], row["seed"], row["weights_hash"]) == ("float32", "0", "")
    assert row["lr"] == "nan" and float(row["f0"]) > 14
    zero = [row for row in rows if row["method"] == "return_zero" and row["function"] == "sphere"]
    assert all(float(row["f_best"]) == 0 and row["n_f"] == "1" for row in zero)


def test_a_second_run_computes_nothing_and_says_the_same(tmp_path):
    first = run(tmp_path)
    text = (tmp_path / "results.csv").read_text()
    again = run(tmp_path)
    assert (first.computed, again.computed, again.cached) == (8, 0, 8)
    assert (tmp_path / "results.csv").read_text() == text
    more = run(tmp_path, seed=1)
    assert (more.computed, more.cached, more.stale) == (8, 0, 8)
    assert {row["seed"] for row in more.rows} == {1}


def test_calls_for_one_method_after_the_other_add_up(tmp_path):
    apart, together = tmp_path / "apart", tmp_path / "together"
    run(apart, methods=("bfgs",), dims=(2,))
    run(apart, methods=("bfgs",), dims=(4,))
    last = run(apart, methods=("return_zero",))
    whole = run(together, methods=("return_zero", "bfgs"))
    assert (last.computed, last.stale) == (4, 0) and set(last.traces) == set(whole.traces)
    timeless = [
        [row | {"seconds": 0.0, "lr": None} for row in result.rows] for result in (last, whole)
    ]
    assert timeless[0] == timeless[1]
    assert len(read(apart / "results.csv")) == 2 * 2 * 2 * 3
    text = table.markdown(report.summarise(last.rows))
    assert "| bfgs | all but perm | 2 |" in text and "| function | dim | return_zero |" in text


def test_cells_of_other_starts_presets_and_versions_are_left_out(tmp_path, monkeypatch):
    run(tmp_path, methods=("bfgs",), functions=("sphere",))
    run(tmp_path, methods=("bfgs",), functions=("sphere",), preset="fair-shift")
    assert run(tmp_path, functions=("sphere",), methods=("return_zero",)).stale == 0
    fewer = run(tmp_path, functions=("sphere",), methods=("return_zero",), starts=2)
    assert fewer.stale == 4 and {row["method"] for row in fewer.rows} == {"return_zero"}
    (tmp_path / "cells" / "paper-nonsense.json").write_text("{}")
    monkeypatch.setattr(cells, "SCHEMA", cells.SCHEMA + 1)
    after = run(tmp_path, functions=("sphere",), methods=("return_zero",))
    assert (after.computed, after.stale) == (2, 7)


def test_of_a_method_with_weights_the_newest_cells_count_unless_it_is_called(tmp_path):
    for weights_hash in ("old", "new"):
        run(tmp_path, methods=(learned(weights_hash),), functions=("sphere",))

    def hashes(result):
        return {row["weights_hash"] for row in result.rows if row["method"] == "learned"}

    others = run(tmp_path, methods=("return_zero",), functions=("sphere",))
    assert hashes(others) == {"new"} and others.stale == 2
    called = run(tmp_path, methods=(learned("old"),), functions=("sphere",))
    assert hashes(called) == {"old"} and called.computed == 0


def test_cells_of_another_schema_are_stale(tmp_path, monkeypatch):
    run(tmp_path, methods=(learned("old"),), functions=("sphere",))
    monkeypatch.setattr(cells, "SCHEMA", cells.SCHEMA + 1)
    again = run(tmp_path, methods=(learned("old"),), functions=("sphere",))
    assert (again.computed, again.stale) == (2, 2)


def test_a_damaged_cell_is_computed_again(tmp_path):
    run(tmp_path)
    victim = sorted((tmp_path / "cells").iterdir())[0]
    victim.write_text(victim.read_text()[:50])
    assert run(tmp_path).computed == 1


def test_what_decides_a_cell_decides_its_name():
    cell = Cell("paper", "sphere", 2, "bfgs", 3, 20, 0)
    (method,) = plan.methods_of("bfgs")
    name = cell.name(method)
    assert name.startswith("paper-sphere-2-bfgs-") and name == cell.name(method)
    for change in (dict(seed=1), dict(steps=21), dict(starts=4), dict(preset="fair-shift")):
        assert dataclasses.replace(cell, **change).name(method)[-16:] != name[-16:]
    for change in (dict(options={"gtol": 1e-3}), dict(weights_hash="ab")):
        assert cell.name(dataclasses.replace(method, **change)) != name


def test_traces_lie_beside(tmp_path):
    result = run(tmp_path, methods=("bfgs",))
    path = result.traces["trid", 4, "bfgs"]
    with np.load(path) as arrays:
        assert arrays["best"].shape[0] == arrays["iterates"].shape[0] == 3
        assert (np.diff(arrays["best"]) <= 0).all()
        best = [
            row["f_best"] for row in result.rows if (row["function"], row["dim"]) == ("trid", 4)
        ]
        np.testing.assert_array_equal(arrays["best"][:, -1], best)


def test_fair_presets_cap_evaluations_and_substitute_dimensions(tmp_path):
    result = run(
        tmp_path, preset="fair-shift", functions=("powell", "perm"), dims=(2, 20), methods=("bfgs",)
    )
    assert {(row["function"], row["dim"]) for row in result.rows} == {
        ("powell", 4),
        ("powell", 20),
        ("perm", 2),
    }
    assert all(row["n_f"] <= 20 and row["precision"] == "float64" for row in result.rows)
    assert len(result.left_out) == 1 and "perm in dimensions 2 and 10" in result.left_out[0]


def test_failures_are_named_and_do_not_stop_the_rest(tmp_path):
    result = run(tmp_path, methods=(BROKEN, "return_zero"))
    assert result.failed == (
        "sphere 4 broken: RuntimeError: no luck",
        "trid 4 broken: RuntimeError: no luck",
    )
    assert result.non_finite == 2 * 3 * 2
    rows = [row for row in read(tmp_path / "results.csv") if row["method"] == "broken"]
    assert {row["status"] for row in rows} == {"non_finite"}
    assert {row["f_best"] for row in rows} == {"5.0"} and {row["f_last"] for row in rows} == {"inf"}
    again = run(tmp_path, methods=(BROKEN, "return_zero"))
    assert again.non_finite == 12 and again.rows[0]["f_last"] == np.inf
    for path in (tmp_path / "cells").iterdir():
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))


def test_mistakes_are_one_line(tmp_path):
    for changes, words in (
        (dict(functions=("ball",)), "unknown function 'ball'; known: all, ackley"),
        (dict(methods=("sgd",)), "unknown method 'sgd'"),
        (dict(preset="fair"), "unknown preset 'fair'"),
        (dict(starts=0), "starts: got 0, want an integer of at least 1"),
        (dict(starts=100, steps=10**7), "starts times steps: got 1000000000, want at most"),
        (dict(steps=10**30), "steps: got 1000000000000000000000000000000, want at most 10000000"),
        (dict(seed=2**63), "seed: got 9223372036854775808, want at most"),
        (dict(functions=("perm",), preset="fair-shift", dims=(5,)), "nothing to run: perm 5"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            run(tmp_path, **changes)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="whole numbers such as 2,10,100: '2,x'"):
        plan.dimensions("2,x")
    assert plan.dimensions("10, 2,10") == (10, 2)
    assert plan.names("all", "ab", "x") == ("a", "b")


def test_a_method_of_ones_own_runs_beside_the_others(tmp_path):
    mine = Method("mine", BASELINES["shrink"], {"factor": 0.5}, "abc")
    result = run(tmp_path, methods=(mine, "return_zero"))
    assert {row["weights_hash"] for row in result.rows if row["method"] == "mine"} == {"abc"}


def test_all_methods_are_those_of_the_tables():
    untrained = plan.methods_of("all", "untrained", "untrained")
    assert [method.name for method in untrained] == [*BASELINES, *LEARNED]
    with pytest.raises(TypeError):
        BASELINES["mine"] = BASELINES["adam"]


def test_main_writes_the_report(tmp_path):
    pytest.importorskip("matplotlib")
    arguments = dict(functions="sphere,trid", dims="2", methods="bfgs,return_zero", starts=3)
    console = quiet()
    code = classical.main(**arguments, steps=20, out=tmp_path, console=console)
    assert code == 0 and "4 cells computed" in console.file.getvalue()
    table = (tmp_path / "table4.md").read_text()
    assert "| trid | 2 |" in table and "5" in table
    assert "| bfgs | optimum off the centre | 1 |" in table
    names = ("table4.csv", "profiles.csv", "profiles.png", "curves/sphere.png", "per_function.png")
    for name in names:
        assert (tmp_path / name).stat().st_size > 100
    line = read(tmp_path / "table4.csv")[0]
    assert (line["printed"], line["agreement"]) == ("7.07e-14", "round-off")


def test_fair_tables_do_not_show_the_print(tmp_path):
    result = run(tmp_path, preset="fair-shift", methods=("bfgs",))
    assert all(line["printed"] is None for line in report.summarise(result.rows))
    assert "print" not in table.markdown(report.summarise(result.rows))


def summary_of(means, preset="paper", agreement="agrees", printed=1.0):
    """{(function, dim, method): mean} as `report.summarise` has it."""
    return [
        dict.fromkeys(report.TABLE_COLUMNS)
        | dict(preset=preset, function=function, dim=dim, method=method, starts=64, mean=mean)
        | dict(error=0.1, printed=printed, agreement=agreement, share=0.5, comparison="no worse")
        for (function, dim, method), mean in means.items()
    ]


def test_the_table_has_the_papers_methods_side_by_side_and_names_what_differs():
    lines = summary_of({("levy", 2, "bfgs"): 7.0, ("perm", 2, "bfgs"): 1.0})
    lines += summary_of({("trid", 10, "bfgs"): 70.0}, agreement="spread", printed=65.0)
    lines += summary_of({("trid", 20, "bfgs"): 99.0}, agreement="better", printed=230.0)
    lines += summary_of({("trid", 50, "bfgs"): 1e9}, agreement="worse", printed=1560.0)
    lines += summary_of({("sphere", 2, "bfgs"): 0.0}, agreement="round-off")
    lines += summary_of({("levy", 2, "cma"): 3.0}, printed=None)
    lines[-1]["comparison"] = None
    text = table.markdown(lines)
    assert "| function | dim | bfgs | optimus | adafactor_mlp | adam | momentum |" in text
    assert "| levy | 2 | 7 ± 0.1 = 1 (P 0.50) | (5.65) |" in text
    assert "| trid | 10 | 70 ± 0.1 ~ 65 (P 0.50) |" in text
    assert "| trid | 20 | 99 ± 0.1 < 230 (P 0.50) |" in text
    assert "| trid | 50 | 1e+09 ± 0.1 > 1.56e+03 (P 0.50) |" in text
    heads = "< better | ≈ round-off | = agrees | ~ spread | > worse | no worse"
    assert f"| method | functions | cells | {heads} |" in text
    assert "| bfgs | all but perm | 5 | 1 | 1 | 1 | 1 | 1 | 5 | 0 | 0 |" in text
    for mark in table.MARKS.values():
        assert f"{mark} " in table.LEGEND
    assert "better than the print" in table.LEGEND and "≠" not in text and "differ" not in text
    assert "| function | dim | cma |" in text and "| levy | 2 | 3 ± 0.1 |" in text


def test_the_best_of_five_are_counted_with_ties_after_the_floor():
    means = {"bfgs": 1e-12, "optimus": 1e-10, "adafactor_mlp": 1.0, "adam": 2.0, "momentum": 3.0}
    lines = summary_of({("sphere", 2, method): mean for method, mean in means.items()})
    lines += summary_of({("sphere", 2, "return_zero"): 0.0})
    lines += summary_of({("levy", 2, method): 1 / (1 + mean) for method, mean in means.items()})
    lines += summary_of({("levy", 4, "bfgs"): 1.0})  # the others are missing: not counted
    whole, off = table.best_counts(lines)
    assert whole == dict(functions="all but perm", cells=2, bfgs=1, optimus=1, adafactor_mlp=0) | (
        dict(adam=0, momentum=1, return_zero=1, shrink=0)
    )
    assert (off["functions"], off["cells"], off["momentum"]) == ("optimum off the centre", 1, 1)


# ------------------------------------------------------------------------------------------ figures


def walking(problems, steps, **options):
    """A method that leaves a path: the trace of Fig. 6."""
    points = np.array([9.0, 4.0, 1.0])
    path = np.array([[3.0, 3.0], [2.0, 2.0], [1.0, 1.0]])
    trace = one_point_a_step(points, gradients=True)
    return [
        dataclasses.replace(trace, path=path[: 2 + (index > 0)]) for index in range(len(problems))
    ]


def test_paths_are_stored_and_drawn(tmp_path):
    methods = (Method("walking", walking), "return_zero")
    result = run(tmp_path, functions=("rosenbrock",), methods=methods, dims=(2, 3, 4))
    with np.load(result.traces["rosenbrock", 2, "walking"]) as arrays:
        assert arrays["path"].shape == (3, 3, 2)
        np.testing.assert_array_equal(arrays["path"][0, 2], [2.0, 2.0])  # continued
    rows = paper_figures.path_rows(result.traces)
    mine = [row for row in rows if row["method"] == "walking"]
    assert {row["dim"] for row in mine} == {2, 4} and len(mine) == 2 * 3
    assert mine[1]["z1"] == 2.0
    loss = paper_figures.evaluation_rows(result.traces)
    assert {row["dim"] for row in loss} == {4}
    values = {(row["method"], row["evaluations"]): row["mean"] for row in loss}
    assert values["walking", 2] == 4.0 and ("return_zero", 1) in values
    pytest.importorskip("matplotlib")
    chosen = {key: path for key, path in result.traces.items() if key[1] == 4}
    written = {path.name for path in report.write(result.rows, tmp_path, chosen)}
    assert {"fig4.png", "fig4.csv", "paths-4.png", "paths.csv", "per_function.png"} <= written


@pytest.mark.parametrize("preset", ["paper", "fair-shift", "fair-rotate"])
def test_contours_are_those_of_the_objective(preset):
    axis, levels = paper_figures._contours(preset, 3, seed=0, start=0)
    assert levels.shape == (len(axis), len(axis)) and np.isfinite(levels).all()
    column, line = np.unravel_index(np.argmin(levels), levels.shape)
    minimiser = paper_figures.presets.problem(preset, "rosenbrock", 3, 0, 0).minimiser
    # The grid is coarse and the valley long; the least of the grid lies in the valley's part near.
    assert levels.min() < np.log10(50) and np.abs([axis[line], axis[column]]).max() < 12
    assert (
        levels[column, line]
        <= levels[np.abs(axis - minimiser[1]).argmin(), np.abs(axis - minimiser[0]).argmin()]
    )


def test_without_paths_there_is_no_figure_of_them(tmp_path):
    result = run(tmp_path, methods=("return_zero",), functions=("sphere",))
    assert paper_figures.path_rows(result.traces) == []
    assert paper_figures.evaluation_rows(result.traces) == []
    names = {path.name for path in report.write(result.rows, tmp_path, result.traces, False)}
    assert names == {"table4.md", "table4.csv"}  # no profile without a method that looks


def test_a_cell_without_its_arrays_is_computed_anew(tmp_path):
    options = {"methods": ("return_zero",), "functions": ("sphere",)}
    first = run(tmp_path, **options)
    for path in (tmp_path / "traces").iterdir():
        path.unlink()
    again = run(tmp_path, **options)
    assert first.computed == again.computed > 0
    report.write(again.rows, tmp_path, again.traces, False)
    assert run(tmp_path, **options).computed == 0


def test_a_damaged_file_is_no_cell(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "traces").mkdir()
    np.savez(tmp_path / "traces" / "x.npz", best=np.zeros(3))
    whole = '{"rows": [], "non_finite": 0, "decides": {}}'
    for text in (
        "",
        "[]",
        '{"rows": 1, "non_finite": 0}',
        '{"rows": []}',
        "[" * 100_000,
        whole[:-9],
    ):
        (tmp_path / "cells" / "x.json").write_text(text)
        assert storage.load(tmp_path, "x") is None
    (tmp_path / "cells" / "x.json").write_text(whole)
    assert storage.load(tmp_path, "x") is not None


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_cell_with_truncated_arrays_is_computed_anew(tmp_path, keep):
    options = {"methods": ("bfgs",), "functions": ("rosenbrock",), "dims": (2,)}
    run(tmp_path, **options)
    (path,) = (tmp_path / "traces").iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    again = run(tmp_path, **options)
    assert again.computed == 1
    report.write(again.rows, tmp_path, again.traces, False)


def test_a_cell_with_a_changed_byte_in_its_arrays_is_computed_anew(tmp_path):
    options = {"methods": ("return_zero",), "functions": ("rosenbrock",), "dims": (2,)}
    run(tmp_path, **options)
    (path,) = (tmp_path / "traces").iterdir()
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    assert run(tmp_path, **options).computed == 1


def test_without_matplotlib_a_line_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    console = quiet()
    arguments = dict(functions="sphere", dims="2", methods="return_zero", starts=1, steps=2)
    assert classical.main(**arguments, out=tmp_path, console=console) == 0
    said = console.file.getvalue()
    assert said.count(f"no pictures, matplotlib is missing: {extra_command('bench')}") == 1
    assert (tmp_path / "table4.md").exists() and not list(tmp_path.glob("*.png"))


def test_a_method_whose_package_is_missing_is_left_out_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cma", None)
    found = run(tmp_path, methods=("cma", "return_zero", "cma_5x"))
    extra = f"its package cma is missing: {extra_command('bench')}"
    assert found.left_out == (f"cma, {extra}", f"cma_5x, {extra}") and not found.failed
    assert {row["method"] for row in found.rows} == {"return_zero"}
    with pytest.raises(ConfigError, match="nothing to run: cma, its package cma is missing"):
        run(tmp_path / "other", methods=("cma",))


# -------------------------------------------------------------------------------------------- print


def test_the_print_is_all_there():
    table4 = printed.table4()
    assert len(table4) == 15 * 8 * 5 and {key[0] for key in table4} == set(FUNCTIONS)
    assert table4["rosenbrock", 1000, "optimus"] == 21.7
    assert table4["griewank", 50, "bfgs"] == 9.31e-10


def test_comparisons_follow_the_rules():
    random = np.random.default_rng(0)
    values = random.uniform(0.9, 1.1, 64)
    better, same, worse = (printed.compare(values, at, 0, 1e-9) for at in (2.0, values.mean(), 0.5))
    assert (better.outcome, better.agreement) == ("clearly better", "better")
    assert same.agreement == "agrees" and 0.3 < same.share < 0.7
    assert (worse.outcome, worse.agreement) == ("clearly worse", "worse")
    floor = printed.compare(values * 1e-12, 3e-14, 0, 1e-9)
    assert (floor.outcome, floor.agreement, floor.share) == ("no worse", "round-off", 1.0)
    # One wild start in 64 is within two standard errors of anything; that is said.
    assert printed.compare(np.append(np.ones(63), 1e9), 1.0, 0, 1e-9).agreement == "spread"
    # The mean of equal numbers may round to above them.
    assert printed.compare(np.full(256, 9.84e-40), 8.17e-11, 0, 1e-9).agreement == "round-off"
    # The print of Trid 20d is 2.30e2.
    assert printed.compare(np.full(64, 230.003), 230.0, 230.0, 2e-4).outcome == "no worse"


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_is_not_finite_is_worse_than_any_print(bad):
    found = printed.compare([bad, *np.ones(63)], 1e300, 0, 1e-9)
    assert (found.agreement, found.outcome) == ("worse", "worse")
    found = printed.compare(np.full(64, bad), 1e300, 0, 1e-9)
    assert (found.agreement, found.outcome) == ("worse", "clearly worse")
    values = [bad, 1.0, 2.0]
    lines = report.summarise(
        [
            dict(preset="paper", function="levy", dim=2, method="bfgs", f_best=value)
            for value in values
        ]
    )
    assert (lines[0]["mean"], lines[0]["median"]) == (np.inf, 2.0)
    assert "| levy | 2 | inf > 8.36 (P " in table.markdown(lines)
    means = {("levy", 2, method): np.inf for method in printed.METHODS}
    assert table.best_counts(summary_of(means))[0]["bfgs"] == 0


# ----------------------------------------------------------------------------------------- profiles


def rows_of(costs):
    """{method: costs of three problems} as rows."""
    return [
        {"function": "sphere", "dim": dim, "start": 0, "method": method, "cost": cost}
        for method, costs_of in costs.items()
        for dim, cost in zip((1, 3, 9), costs_of)
    ]


def test_profiles_by_hand():
    table = profiles.table(
        rows_of({"a": (10, 20, None), "b": (20, 20, None), "shrink": (1, 1, 1)}), "cost"
    )
    assert table.methods == ("a", "b") and len(table.problems) == 3
    np.testing.assert_allclose(
        profiles.performance(table, np.array([1.0, 2.0])), [[2 / 3, 1 / 3], [2 / 3, 2 / 3]]
    )
    np.testing.assert_allclose(
        profiles.data(table, np.array([5.0, 10.0])), [[2 / 3, 1 / 3], [2 / 3, 2 / 3]]
    )


def test_value_profiles_are_floored():
    table = profiles.table(rows_of({"a": (1e-12, 1.0, 1.0), "b": (1e-30, 5.0, np.nan)}), "cost")
    shares = profiles.value(table, "paper", np.array([1.0, 10.0]))
    np.testing.assert_allclose(shares, [[1, 1 / 3], [1, 2 / 3]])


def test_problems_that_a_method_lacks_are_left_out_of_profiles():
    rows = rows_of({"a": (1, 2, 3)}) + rows_of({"b": (1, 2, 3)})[:2]
    assert len(profiles.table(rows, "cost").problems) == 2


def test_padding_keeps_the_last_value():
    padded = cells.padded([np.array([3.0, 1.0]), np.array([5.0])])
    np.testing.assert_array_equal(padded, [[3.0, 1.0], [5.0, 5.0]])


def test_arrays_that_a_full_disk_refuses_leave_nothing(tmp_path, monkeypatch):
    """NumPy's own writer raises a second time when it is collected, which nobody can catch."""

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(storage, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        storage.write_arrays(tmp_path / "a.npz", {"x": np.zeros(10)})
    gc.collect()
    assert list(tmp_path.iterdir()) == []
