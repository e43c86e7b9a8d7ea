"""`optimus bench throughput --loss physics`: rows, ratios, tables. No speed is asserted."""

from __future__ import annotations

import csv
import importlib.util
import io

import numpy as np
import pytest
from rich.console import Console

from launch.cli.bench import LossSpeed, Throughput
from workers.physics.benchmark import throughput
from workers.physics.loss import PhysicsLoss, PhysicsOptions


def _read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_tables_of_a_tiny_run(assets, tmp_path):
    text = io.StringIO()
    code = throughput.main(0.1, 3, "1,2", tmp_path, Console(file=text, width=200))
    assert code == 0
    rows, threads = _read(tmp_path / "physics.csv"), _read(tmp_path / "physics_threads.csv")
    wanted = {"forward", "tape", "tape, all terms"}
    if importlib.util.find_spec("tensorflow"):
        wanted |= {"tensorflow backend"}
    if "left out: generated" not in text.getvalue():
        wanted |= {"generated", "generated, all terms"}
    for steps in ("120", "240"):
        found = {row["row"]: row for row in rows if row["steps_per_s"] == steps}
        assert set(found) == wanted
        assert float(found["forward"]["times_forward"]) == 1.0
        for row in found.values():
            assert row["N"] == "84" and row["rounds"] == "3"
            assert 0 < float(row["ms_q10"]) <= float(row["ms"]) <= float(row["ms_q90"])
    gradients = {name for name in ("generated", "tape") if name in wanted}
    assert {(row["steps_per_s"], row["gradient"], row["threads"]) for row in threads} == {
        (steps, name, count)
        for steps in ("120", "240")
        for name in gradients
        for count in ("1", "2")
    }
    assert all(float(row["times_first"]) == 1.0 for row in threads if row["threads"] == "1")
    table = (tmp_path / "physics.md").read_text()
    assert "visible cores" in table and "load average" in table and "| 1/240 | forward |" in table
    assert "wrote" in text.getvalue() and table.splitlines()[0] in text.getvalue()


def test_rows_are_the_same_function(assets):
    """What is timed is the loss that is optimised."""
    bench = throughput.build(0.1, 1 / 120, 2)
    loss = PhysicsLoss(throughput.CLIP, 0.0, 0.1, PhysicsOptions(dt=1 / 120))
    x = np.random.default_rng(0).normal(0.0, 0.1, bench.size)
    value, gradient = loss.value_and_grad(x)
    assert bench.rows["forward"](x)[1] == value
    for name in ("generated", "tape", "tensorflow backend"):
        if name in bench.rows:
            _, found, slope = bench.rows[name](x)
            assert found == pytest.approx(value, rel=1e-12)
            np.testing.assert_allclose(slope, gradient, atol=1e-9 * np.abs(gradient).max())
    assert bench.rows["tape, all terms"](x)[1] > value


def test_a_ratio_is_the_median_of_ratios_within_rounds(monkeypatch):
    """A machine that slows down by a half in one round does not change the ratio."""
    bench = throughput.Bench(
        3, dict.fromkeys(("forward", "tape"), lambda x: None), {"tape": [None] * 8}, ()
    )
    slow = (1.0, 1.0, 1.0, 1.5, 1.0)
    monkeypatch.setattr(throughput, "build", lambda *_: bench)
    monkeypatch.setattr(
        throughput,
        "one_thread",
        lambda *_: iter([{"forward": 1e-3 * s, "tape": 7e-3 * s} for s in slow]),
    )
    monkeypatch.setattr(
        throughput,
        "batches",
        lambda *_: iter([{("tape", 1): 0.2 * s, ("tape", 2): 0.1 * s} for s in slow]),
    )
    steps = []
    alone, together, _ = throughput.measure(1.0, 1 / 240, (1, 2), 3, lambda: steps.append(1))
    tape = next(row for row in alone if row["row"] == "tape")
    assert tape["ms"] == pytest.approx(7.0) and tape["times_forward"] == pytest.approx(7.0)
    assert together[1]["times_first"] == pytest.approx(2.0)
    assert together[0]["per_s"] == pytest.approx(40.0) and len(steps) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": None}, "want --loss physics, --meta or --fleet"),
        ({"threads": "1,0"}, "threads must be whole numbers of at least 1"),
        ({"threads": "two"}, "threads must be whole numbers of at least 1"),
        ({"repeats": 0}, "repeats: got 0, want an integer of at least 1"),
        ({"repeats": 10**30}, "repeats: got 10+, want at most 100000"),
        ({"threads": "99999"}, "threads: got 99999, want at most 4096"),
    ],
)
def test_mistakes_are_named(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        loss = arguments.pop("loss", "physics")
        Throughput(out=tmp_path, loss=loss, of_loss=LossSpeed(**arguments)).run()


def test_a_window_that_does_not_fit_is_named(assets, tmp_path):
    with pytest.raises(ValueError, match="walk"):
        throughput.main(99.0, 1, "1", tmp_path, Console(file=io.StringIO()))
