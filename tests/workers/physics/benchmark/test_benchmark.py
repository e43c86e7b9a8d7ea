"""The motion benchmark: windows, methods, resuming, tables; an optimiser can use the loss."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from optimus.errors import ConfigError
from optimus.weights import WeightsError
from workers.physics.benchmark import cells, plan, run
from workers.physics.benchmark.methods import METHODS, Models, Unavailable
from workers.physics.benchmark.plan import Settings, cases
from workers.physics.loss import PhysicsOptions, metrics, reconstruction
from workers.physics.loss.reconstruction import synthetic_window
from workers.physics.loss.windows import GRID_RATE, START_RULES, fixed_windows
from workers.physics.motion import SPLITS

MODELS = Models(plan.DEFAULT_MODEL, plan.DEFAULT_MLP)


@pytest.fixture(autouse=True)
def _assets(assets):
    """Every test here needs the clips."""


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("validation", "87ce6d5859df2d32"),
        ("test", "b5ae4f8285eb88c4"),
        ("train", "18f1e116931653c3"),
    ],
)
def test_fixed_windows_are_pinned(split, digest):
    """Published numbers refer to these lists."""
    windows = fixed_windows(split, 0.5, 8)
    rows = [[w.clip, round(w.start * GRID_RATE), w.seconds] for w in windows]
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] == digest
    assert fixed_windows(split, 0.5, 4) == windows[:4]
    assert {window.clip for window in windows} <= set(SPLITS[split])


def test_many_fixed_windows_differ_and_cover_their_clips():
    windows = fixed_windows("validation", 0.5, 40)
    assert len(set(windows)) == 40
    starts = [window.start for window in windows if window.clip == "spin"]
    assert min(starts) == 0 and max(starts) > 3.5
    with pytest.raises(ValueError, match=r"no clip of split 'test' holds 9 s; the longest is 2\."):
        fixed_windows("test", 9.0, 1)
    with pytest.raises(ValueError, match="split: got 'dev'"):
        fixed_windows("dev", 0.5, 1)


def test_starts_see_their_inputs_alone():
    assert not START_RULES["zero"](210, 5).any()
    one, two = START_RULES["noise"](210, 5), START_RULES["noise"](210, 6)
    assert one.std() == pytest.approx(0.1, rel=0.2) and (one != two).all()
    np.testing.assert_array_equal(one, START_RULES["noise"](210, 5))


@pytest.mark.parametrize(
    "options",
    [
        PhysicsOptions(),
        PhysicsOptions(control="torque"),
        PhysicsOptions(initial_velocity=True),
        PhysicsOptions(weight_velocity=0.1, weight_smoothness=1.0),
    ],
)
def test_synthetic_windows_have_their_optimum(options):
    for seed in range(3):
        task = synthetic_window(seed, 0.25, options)
        assert task.optimum is not None and task.optimum.shape == (task.dim,)
        value, gradient = task.value_and_grad(task.optimum)
        assert value < 1e-20 and np.abs(gradient).max() < 1e-9
        assert task.value_and_grad(np.zeros(task.dim))[0] > 1e-3
        assert task.metrics(task.optimum)["mpjpe_g"] < 1e-6
    again = synthetic_window(2, 0.25, options)
    np.testing.assert_array_equal(again.optimum, task.optimum)


def test_metrics_of_a_window_agree_with_its_loss():
    task = reconstruction.of_clip("kick", 0.2, 0.25, PhysicsOptions(weight_control=0.0))
    x = START_RULES["noise"](task.dim, 0)
    q = task.states(x)
    assert q is not None
    sites = np.stack([task.simulator.sites(state) for state in q[task.spec.frame_steps]])
    squares = np.sum((sites - task.reference) ** 2, axis=-1)
    assert task.value_and_grad(x)[0] == pytest.approx(100 * np.mean(squares))
    found = task.metrics(x)
    assert tuple(found) == metrics.COLUMNS and np.isfinite(list(found.values())).all()
    assert found["mpjpe_g"] == pytest.approx(1000 * np.mean(np.sqrt(squares)))
    overflow = task.metrics(np.full(task.dim, 1e200))
    assert np.isnan(list(overflow.values())).all()


def test_data_scored_as_a_motion_have_no_error():
    task = reconstruction.of_clip("dance_a", 0.3, 0.5, PhysicsOptions())
    found = task.reference_metrics("dance_a", 0.3)
    assert found["mpjpe_g"] == found["mpjpe_2d"] == 0 and found["foot_skate"] > 0
    assert found["total_variation"] == metrics.total_variation(task.reference)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "adafactor_mlp"])
@pytest.mark.parametrize("budget", [1, 12])
def test_methods_keep_to_their_budget(method, budget):
    task = synthetic_window(3, 0.25, PhysicsOptions())
    x0 = START_RULES["noise"](task.dim, 1)
    done = METHODS[method](task, x0, budget, MODELS)
    assert len(done.losses) == len(done.elapsed) == len(done.evaluating) == budget
    np.testing.assert_array_equal(done.points[0], x0)
    assert done.losses[0] == task.value_and_grad(x0)[0]
    assert (np.diff(done.best) <= 0).all() and (np.diff(done.elapsed) > 0).all()
    assert (done.evaluating <= done.elapsed).all()
    for at, point in zip(done.improved, done.points):
        assert task.value_and_grad(point)[0] == done.losses[at] == done.best[at]
    if budget > 1 and method != "optimus":  # which may go up, bare
        assert done.best[-1] < done.best[0]


def test_a_method_without_weights_is_unavailable():
    task = synthetic_window(3, 0.25, PhysicsOptions())
    with pytest.raises(Unavailable, match="no weights named 'nobody'"):
        METHODS["adafactor_mlp"](task, np.zeros(task.dim), 3, Models("nobody", "nobody"))


@pytest.mark.parametrize("clip", ["walk", "jump", "cartwheel"])
def test_an_optimiser_can_use_the_loss(clip):
    """The first second, PD targets = clip + x from x = 0, 300 evaluations of L-BFGS. All 15 clips:
    `optimus bench physics --split clips` (13 below 30 mm, 14 below 50 mm global)."""
    case = next(case for case in cases(Settings(split="clips")) if case.name == f"{clip}@0.000")
    assert case.seconds == pytest.approx(1.0)
    task = case.build(Settings(split="clips").options)
    done = METHODS["l_bfgs_b"](task, np.zeros(task.dim), 300, MODELS)
    found = task.metrics(done.points[-1])
    assert len(done.losses) <= 300 and found["mpjpe"] < 30 and found["mpjpe_g"] < 50


def bench(out, figures=False, **settings):
    console = Console(file=io.StringIO(), width=400)
    code = run.main(Settings(seconds=0.25, **settings), out, console, figures)
    return code, console.file.getvalue()


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_benchmark_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr("workers.physics.benchmark.methods.RATES", (0.01, 0.1))
    chosen = dict(
        split="validation",
        windows=2,
        evaluations=8,
        methods=("kinematic", "pd_tracking", "optimus_safeguarded", "l_bfgs_b", "adam"),
    )
    code, text = bench(tmp_path, figures=True, **chosen)
    assert code == 0, text
    assert "held-out" not in text and "learning rate" in text and "10 cells computed" in text
    rows = rows_of(tmp_path / "results.csv")
    assert len(rows) == 10 and {row["window"] for row in rows} == {"roll@0.000", "spin@0.000"}
    by_method = {row["method"]: row for row in rows if row["window"] == "spin@0.000"}
    assert float(by_method["kinematic"]["mpjpe_g"]) == 0
    assert float(by_method["l_bfgs_b"]["loss"]) < float(by_method["pd_tracking"]["loss"])
    for method in ("optimus_safeguarded", "l_bfgs_b", "adam"):
        row = by_method[method]
        assert row["evaluations"] == "8" and 32 < float(row["seconds_at_4s"]) < 60
    curves = rows_of(tmp_path / "curves.csv")
    lbfgs = [float(row["loss_median"]) for row in curves if row["method"] == "l_bfgs_b"]
    assert len(lbfgs) == 8 and (np.diff(lbfgs) <= 0).all()
    assert {path.name for path in tmp_path.glob("*.png")} <= {
        "curves_evaluation.png",
        "curves_seconds.png",
        "curves_seconds_at_4s.png",
    }

    next((tmp_path / "cells").glob("l_bfgs_b-roll*")).write_bytes(b"half a file")
    before = (tmp_path / "table.md").read_text().split("| l_bfgs_b |")[0]
    code, text = bench(tmp_path, **chosen)
    assert code == 0 and "1 cells computed, 9 found" in text
    assert (tmp_path / "table.md").read_text().startswith(before)


@pytest.mark.parametrize("row", ["adafactor_mlp", "optimus", "optimus_safeguarded"])
def test_weights_that_do_not_exist_are_a_mistake_of_the_user(row, tmp_path):
    wrong = dict(windows=1, methods=("kinematic", row))
    with pytest.raises(WeightsError, match="no weights named 'nobody'") as caught:
        bench(tmp_path, model="nobody", adafactor_model="nobody", **wrong)
    assert caught.value.exit_code == 2 and not (tmp_path / "cells").exists()
    with pytest.raises(ConfigError, match="holds weights of"):
        kinds = dict(model="adafactor-mlp-physics", adafactor_model="optimus-physics")
        bench(tmp_path, **kinds, **wrong)


def test_test_clips_are_read_only_when_asked(tmp_path):
    assert (
        "reads the held-out clips: cartwheel, dance_a, dance_b"
        in bench(tmp_path, split="test", windows=1, methods=("kinematic",))[1]
    )
    asked = {
        case.clip.name
        for split in ("train", "validation")
        for case in (
            *cases(Settings(split=split, windows=20)),
            *plan.tuning_cases(Settings(split=split)),
        )
        if case.clip
    }
    assert not asked & set(SPLITS["test"])


def test_clips_split_is_the_first_second_of_all():
    settings = Settings(split="clips")
    assert settings.options.target_base == "reference" and settings.budget == 300
    lengths = {case.name: case.seconds for case in cases(settings)}
    assert len(lengths) == 15 and lengths["walk@0.000"] == pytest.approx(1)
    assert 0.78 < lengths["run@0.000"] <= 0.8


def test_policies(tmp_path):
    """The clip's own pose as a policy is PD tracking, closed loop; controls are the loss's x."""
    settings = Settings(split="validation", windows=2, seconds=0.25)
    tasks = [case.build(settings.options) for case in cases(settings)]
    x = np.stack([START_RULES["noise"](task.dim, i) for i, task in enumerate(tasks)])
    np.savez(tmp_path / "controls.npz", controls=x)
    (tmp_path / "hold.py").write_text(
        "first = None\n"
        "def act(q, qd, time):\n"
        "    global first\n"
        "    first = q[7:].copy() if time == 0 else first\n"
        "    return first\n"
    )
    for policy, controls in (("controls.npz", x), ("hold.py", 0 * x)):
        code, _ = bench(
            tmp_path / policy[:4],
            split="validation",
            windows=2,
            methods=("policy",),
            policy=tmp_path / policy,
        )
        rows = rows_of(tmp_path / policy[:4] / "results.csv")
        assert code == 0 and [row["method"] for row in rows] == ["policy", "policy"]
        for row, task, each in zip(rows, tasks, controls):
            assert float(row["mpjpe"]) == pytest.approx(task.metrics(each)["mpjpe"], rel=1e-4)
            assert float(row["loss"]) == pytest.approx(task.value_and_grad(each)[0], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.py", "x = 1", "defines no function act"),
        ("a.py", "def act(q, qd, time): return [1.0]", "act must return 36 finite numbers, got"),
        ("a.py", "def act(q, qd, time): return 0 * q[7:]", "act returned a quaternion of length 0"),
        ("a.txt", "", "want a .npz with controls or a .py"),
        ("a.npz", "no zip", "no array 'controls' of numbers"),
        ("a.py", "1 +", "SyntaxError: "),
        ("a.py", "import nothing", "ModuleNotFoundError: No module named 'nothing'"),
    ],
)
def test_wrong_policies(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    asked = dict(windows=1, methods=("policy",), policy=tmp_path / name)
    if "act must" in message or "act returned" in message:  # which only a run shows
        code, said = bench(tmp_path / "out", **asked)
        assert code == 1 and message in said
    else:
        with pytest.raises(ConfigError, match=re.escape(message)):
            bench(tmp_path / "out", **asked)
    np.savez(tmp_path / "few.npz", controls=np.zeros((3, 5)))
    said = bench(tmp_path / "out", windows=1, methods=("policy",), policy=tmp_path / "few.npz")[1]
    assert "policy: controls has 3 rows for 1 windows" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            dict(split="dev"),
            "--split: got 'dev', want one of train, validation, test, synthetic",
        ),
        (dict(windows=0), "--windows: got 0, want an integer of at least 1"),
        (dict(windows=10**30), "--windows: got 10+, want at most 100000"),
        (dict(evaluations=0), "--evaluations: got 0"),
        (dict(evaluations=10**30), "--evaluations: got 10+, want at most 10000000"),
        (dict(seed=-1), "--seed: got -1"),
        (dict(methods=("sgd",)), "--methods: got 'sgd', want one of optimus, "),
        (dict(methods=("policy",)), "method policy needs --policy FILE"),
        (dict(split="aist"), "--split aist needs --data DIR"),
        (dict(start="warm"), "--start: got 'warm', want one of zero, noise"),
        (dict(control="muscle"), "control: got 'muscle', want one of torque, pd"),
    ],
)
def test_settings_messages(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_cells_come_back_as_they_were(tmp_path):
    settings = Settings(split="synthetic", windows=1, seconds=0.25, evaluations=3)
    case = cases(settings)[0]
    cell = cells.compute(settings, case, "l_bfgs_b", MODELS)
    cells.store(tmp_path, "a", cell)
    again = cells.load(tmp_path, "a")
    assert again is not None and again.window == "synthetic-0" and np.isnan(again.lr)
    for name in cells.ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(cell, name))
    names = {cells.name(settings, case, method, MODELS) for method in METHODS}
    other = Settings(split="synthetic", windows=1, seconds=0.25, evaluations=4)
    assert len(names) == len(METHODS)
    assert cells.name(other, case, "bfgs", MODELS) not in names
