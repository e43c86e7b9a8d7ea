"""A result is of the weights whose sha256 it has: after a run went back, a step has others."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import shutil
import threading
from typing import Any

import numpy as np
import pytest

from launch.cli.evaluate import Eval, evaluate_target
from launch.cli.export import card_of
from launch.evaluation import evaluator as module
from launch.evaluation import records
from launch.evaluation.comparison import Comparison
from launch.evaluation.evaluator import Evaluator
from launch.evaluation.suites import Plan
from launch.monitoring.report.data import collect
from launch.monitoring.status import read_status
from launch.runners import fused, train
from optimus.config import override
from optimus.rundir import checkpoint
from tests.launch.run_dirs import add_checkpoint, config, make
from tests.launch.runners.test_fused import TINY

PLAN = Plan(functions=("sphere",), dims=(2,), starts=1, steps=2)
RESULT = Comparison(0.5, -0.5, -1.0, -1.2, -0.8, 0.9, 0.1, 3, 4)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make(tmp_path_factory.mktemp("run") / "run", steps=(0, 10, 20, 30))


@pytest.fixture
def run_dir(template: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(template, tmp_path / "run"))


def go_back(run_dir: pathlib.Path, step: int) -> None:
    (run_dir / "checkpoints" / checkpoint.LATEST).write_text(f"{step}\n")


def judge(run_dir: pathlib.Path, *steps: int, score: float = 0.0, **more: Any) -> None:
    """A line of each checkpoint as it is now; lower scores for later ones."""
    for step in steps:
        path = run_dir / "checkpoints" / str(step)
        own = {"sha256": checkpoint.sha256_of(path), "time": 2e9, "protocol": "p"}
        record = {"step": step, "score": score - step, "score_of": "tasks", **own, **more}
        records.append(run_dir, record)


def write_result(run_dir: pathlib.Path, step: int, **more: Any) -> None:
    with open(run_dir / "eval.jsonl", "a") as file:
        file.write(json.dumps({"step": step, **dataclasses.asdict(RESULT), **more}) + "\n")


# -------------------------------------------------------------------------------------- the summary


def summary(run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the summary says; a new evaluation finds a change of -7."""
    found = dataclasses.replace(RESULT, difference=-7.0)
    monkeypatch.setattr("launch.evaluation.comparison.compare", lambda *_: found)
    said: list[str] = []
    train.summarise(config(), run_dir, said.append)
    return "\n".join(said)


def test_the_summary_is_of_the_weights_that_are_there(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = checkpoint.sha256_of(run_dir / "checkpoints" / "30")
    write_result(run_dir, 30, sha256=sha256, time=2e9)
    assert "change -1.000" in summary(run_dir, monkeypatch)
    go_back(run_dir, 10)
    add_checkpoint(run_dir, 30, 0.7)  # trained on, to other weights
    assert "change -7.000" in summary(run_dir, monkeypatch)
    assert "evaluating" not in summary(run_dir, monkeypatch), "once: the new result is written down"
    newest = json.loads((run_dir / "eval.jsonl").read_text().splitlines()[-1])
    assert newest["sha256"] == checkpoint.sha256_of(run_dir / "checkpoints" / "30") != sha256


def test_a_result_of_before_lines_had_a_sha256_counts_unless_the_checkpoint_is_younger(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = checkpoint.read_manifest(run_dir / "checkpoints" / "30")["time"]
    write_result(run_dir, 30, time=round(saved, 1))
    assert "change -1.000" in summary(run_dir, monkeypatch)
    assert read_status(run_dir).comparison is not None
    (run_dir / "eval.jsonl").unlink()
    write_result(run_dir, 30, time=round(saved - 60, 1))
    assert read_status(run_dir).comparison is None
    assert "change -7.000" in summary(run_dir, monkeypatch)


def test_the_summary_counts_the_evaluations_of_what_is_there(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(run_dir, 10, 20, 30)
    checkpoint.mark_best(run_dir / "checkpoints", 30)
    assert "best of 3 evaluated checkpoints: update 30, score -30.000" in summary(
        run_dir, monkeypatch
    )
    go_back(run_dir, 10)
    add_checkpoint(run_dir, 20, 0.7)
    add_checkpoint(run_dir, 30, 0.7)
    said = summary(run_dir, monkeypatch)
    assert "best of" not in said, "BEST went with the weights that it named"


# ------------------------------------------------------------------------------- evaluator and BEST


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stands for the evaluation: scores rise by 1 with every look; the steps looked at."""
    looked: list[int] = []

    def evaluate(model: Any, cfg: Any, plan: Plan, stop: threading.Event, say: Any) -> Any:
        looked.append(int(model.card["step"]))
        own = {"time": 1.0, "score_of": "tasks", "protocol": plan.protocol(cfg), "suites": {}}
        return {"score": float(len(looked)), **own}

    monkeypatch.setattr(module, "evaluate", evaluate)
    monkeypatch.setattr("launch.evaluation.suites.evaluate", evaluate)
    return looked


def test_new_weights_of_an_old_step_are_judged(run_dir: pathlib.Path, judging: list[int]) -> None:
    life = Evaluator(config(), run_dir, threading.Event(), PLAN)
    folder = run_dir / "checkpoints"
    try:
        for step in (10, 20, 30):
            go_back(run_dir, step)
            assert life.step() and not life.step()
        assert judging == [10, 20, 30] and checkpoint.best_step(folder) == 10
        for again in (1, 2, 3):  # each life of the step has its own two attempts
            go_back(run_dir, 10)
            assert not life.step(), "what lies past LATEST is of a course that was left"
            add_checkpoint(run_dir, 20, float(again))
            assert life.step() and not life.step()
        assert judging == [10, 20, 30, 20, 20, 20]
        mine = [r for r in records.evaluations(run_dir) if r["step"] == 20]
        assert all("error" not in r for r in mine) and len({r["sha256"] for r in mine}) == 4
    finally:
        life.close()


def test_best_is_the_best_of_what_is_there(run_dir: pathlib.Path) -> None:
    folder = run_dir / "checkpoints"
    judge(run_dir, 10, 20, 30)
    assert records.move_best(run_dir, "p") == 30
    go_back(run_dir, 20)
    assert records.move_best(run_dir, "p") == 20
    add_checkpoint(run_dir, 30, 0.7)
    assert records.move_best(run_dir, "p") == 20
    judge(run_dir, 30, score=100.0)
    assert records.move_best(run_dir, "p") == 20 and checkpoint.best_step(folder) == 20


def test_best_goes_with_the_weights_that_it_named(run_dir: pathlib.Path) -> None:
    folder = run_dir / "checkpoints"
    checkpoint.mark_best(folder, 30)
    arrays = checkpoint.load(folder / "30").arrays
    checkpoint.save(folder, 30, arrays, {})
    assert checkpoint.best_step(folder) == 30, "the same weights"
    checkpoint.save(folder, 30, arrays | {"x": np.zeros(1)}, {})
    assert checkpoint.best_step(folder) is None


def test_the_end_waits_for_the_new_weights(run_dir: pathlib.Path) -> None:
    protocol = Plan().protocol(config())
    judge(run_dir, 20, 30, protocol=protocol)
    go_back(run_dir, 10)
    add_checkpoint(run_dir, 20, 0.7)
    stop = threading.Event()
    assert not module.wait_until_judged(config(), run_dir, 20, stop, limit=0.0)
    judge(run_dir, 20, protocol=protocol)
    assert module.wait_until_judged(config(), run_dir, 20, stop, limit=0.0)


def test_several_that_point_at_once_harm_nobody(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluator and `optimus eval` move BEST; each sweeps what killed writers left."""
    folder, real, swept = run_dir / "checkpoints", os.replace, []

    def replace(source: pathlib.Path, target: pathlib.Path) -> None:
        if not swept:
            swept.append(source)
            checkpoint.mark_best(folder, 10)  # by another process, just now
            assert not source.exists()
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    checkpoint.mark_best(folder, 30)
    assert checkpoint.best_step(folder) == 30 and swept


# --------------------------------------------------------------------------------------- who shows


def test_watch_and_report_show_what_is_of_the_weights_there(run_dir: pathlib.Path) -> None:
    judge(run_dir, 5, 10, 20, 30)  # 5 was pruned since
    sha256 = checkpoint.sha256_of(run_dir / "checkpoints" / "30")
    write_result(run_dir, 30, sha256=sha256, time=2e9)
    checkpoint.mark_best(run_dir / "checkpoints", 10)
    status = read_status(run_dir)
    assert [each["step"] for each in status.scores] == [5, 10, 20, 30]
    assert status.comparison is not None and status.best_score == -10.0
    go_back(run_dir, 10)
    add_checkpoint(run_dir, 20, 0.7)
    status = read_status(run_dir)
    assert [each["step"] for each in status.scores] == [5, 10], "nor that of a step yet to come"
    assert status.comparison is None and (status.best_step, status.best_score) == (10, -10.0)
    assert [record["step"] for record in collect(run_dir).judged] == [5, 10]
    judge(run_dir, 20, score=7.0)
    assert read_status(run_dir).scores[-1] == {"step": 20, "score": -13.0}


def test_best_without_a_score_of_its_weights_has_none(run_dir: pathlib.Path) -> None:
    judge(run_dir, 20)
    add_checkpoint(run_dir, 20, 0.7)
    checkpoint.mark_best(run_dir / "checkpoints", 20)
    status = read_status(run_dir)
    assert (status.best_step, status.best_score, status.scores) == (20, None, [])


def test_an_exported_card_has_the_evaluation_of_its_weights(run_dir: pathlib.Path) -> None:
    judge(run_dir, 20)
    judge(run_dir, 20, score=5.0, sha256="0" * 64)
    assert card_of(run_dir, 20)["judged"]["score"] == -20.0
    add_checkpoint(run_dir, 20, 0.7)
    assert "judged" not in card_of(run_dir, 20)


def test_a_command_s_line_is_of_what_it_loaded(run_dir: pathlib.Path, judging: list[int]) -> None:
    path = run_dir / "checkpoints" / "20"
    before = checkpoint.sha256_of(path)
    found = evaluate_target(Eval(str(path), functions="sphere", dims="2"), lambda _: None)
    assert found["sha256"] == before and records.evaluations(run_dir)[-1]["sha256"] == before


# ------------------------------------------------------------------------------------------- fused


def test_a_fused_run_that_went_back_has_results_of_its_own(tmp_path: pathlib.Path) -> None:
    run_dir = tmp_path / "run"
    keep = override(TINY, ["keep_checkpoints=9"])
    train.train(keep, run_dir, "fused", lambda _: None)
    folder = run_dir / "checkpoints"
    checkpoint.mark_best(folder, 6)
    lines = (run_dir / "eval.jsonl").read_text()
    go_back(run_dir, 2)
    metrics = run_dir / "metrics" / "learner-0.jsonl"  # the course that was left had other gaps
    metrics.write_text(re.sub('"gap": -?', '"gap": -9', metrics.read_text()))
    said: list[str] = []
    train.train(override(keep, ["updates=4"]), run_dir, "fused", said.append)
    text = "\n".join(said)
    gaps = {
        step: checkpoint.read_manifest(folder / str(step))["validation"]["gap"]
        for step in (0, 2, 4)
    }
    best = min(gaps, key=lambda step: gaps[step])
    assert f"run: {run_dir}  (update 4)" in text and f"-> {gaps[4]:+.3f}; best" in text
    assert fused.best_validation(run_dir) == (best, gaps[best]), "that of 6 is of the other course"
    assert [record["step"] for record in records.validations(run_dir)] == [0, 2, 4]
    assert (run_dir / "eval.jsonl").read_text().startswith(lines), "what others wrote stays"
    assert read_status(run_dir).validation_step == 4
