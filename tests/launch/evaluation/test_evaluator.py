"""The evaluator role: each new checkpoint once, the newest first, whatever happens in between."""

from __future__ import annotations

import json
import math
import pathlib
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from launch import builders
from launch.evaluation import evaluator as module
from launch.evaluation import records
from launch.evaluation.evaluator import Evaluator
from launch.evaluation.suites import Plan
from launch.runners import inprocess
from optimus import rundir
from optimus.config import override
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import Stopped
from tests.launch.run_dirs import add_checkpoint, config, make

PLAN = Plan(functions=("sphere",), dims=(2,), starts=1, steps=2)
SCORES = {0: 0.0, 10: -0.2, 20: -0.9, 30: -0.5, 40: math.nan}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make(tmp_path_factory.mktemp("run"), steps=(0, 10))


@pytest.fixture
def run_dir(template: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(template, tmp_path / "run"))


@pytest.fixture(autouse=True)
def judge(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for the evaluation: scores by step, and what to do before."""
    here: dict[str, Any] = {"before": lambda step: None, "steps": []}

    def evaluate(model: Any, cfg: Any, plan: Plan, stop: threading.Event, say: Any) -> Any:
        step = int(model.card["step"])
        here["steps"].append(step)
        here["before"](step)
        return {
            "time": 1.0,
            "score": SCORES[step],
            "score_of": "tasks",
            "protocol": plan.protocol(cfg),
            "suites": {},
        }

    monkeypatch.setattr(module, "evaluate", evaluate)
    return here


LIVES: list[Evaluator] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while LIVES:
        LIVES.pop().close()


def life(run_dir: pathlib.Path) -> Evaluator:
    LIVES.append(Evaluator(config(), run_dir, threading.Event(), PLAN))
    return LIVES[-1]


def judged(run_dir: pathlib.Path) -> list[tuple[int, Any]]:
    return [(r["step"], r.get("score")) for r in records.evaluations(run_dir)]


def test_each_new_checkpoint_once_and_the_best_is_marked(run_dir: pathlib.Path) -> None:
    first = life(run_dir)
    assert first.step() and not first.step()
    assert judged(run_dir) == [(10, -0.2)]
    assert records.evaluations(run_dir)[0]["skipped"] == [0], "it was behind: the newest, not both"
    add_checkpoint(run_dir, 20)
    assert first.step() and checkpoint.best_step(run_dir / "checkpoints") == 20
    add_checkpoint(run_dir, 30)
    assert first.step() and not first.step()
    assert checkpoint.best_step(run_dir / "checkpoints") == 20
    second = life(run_dir)  # after a restart there is nothing to do
    assert not second.step() and [step for step, _ in judged(run_dir)] == [10, 20, 30]


def test_a_score_that_is_not_finite_is_never_best(run_dir: pathlib.Path) -> None:
    add_checkpoint(run_dir, 40)
    assert life(run_dir).step()
    assert judged(run_dir) == [(40, "nan")]
    assert checkpoint.best_step(run_dir / "checkpoints") is None


def test_a_crash_between_record_and_best_is_made_good(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "_move_best", lambda self: None)
        life(run_dir).step()
    assert checkpoint.best_step(run_dir / "checkpoints") is None
    assert not life(run_dir).step() and checkpoint.best_step(run_dir / "checkpoints") == 10


def test_half_a_record_is_closed_and_the_checkpoint_judged_again(run_dir: pathlib.Path) -> None:
    (run_dir / "eval.jsonl").write_text('{"step": 3}\n{"kind": "evaluation", "format": 1, "st')
    assert life(run_dir).step() and judged(run_dir) == [(10, -0.2)]
    lines = (run_dir / "eval.jsonl").read_text().splitlines()
    assert len(lines) == 3 and json.loads(lines[2])["step"] == 10


def test_records_of_the_future_and_of_others_are_left_alone(run_dir: pathlib.Path) -> None:
    foreign = [
        {"kind": "evaluation", "format": 2, "step": 10, "protocol": "x"},
        {"kind": "evaluation", "format": 1, "step": 10, "score": -9, "protocol": "other"},
        {"step": 10, "start": 1.0},
    ]
    text = "".join(json.dumps(record) + "\n" for record in foreign)
    (run_dir / "eval.jsonl").write_text(text)
    assert life(run_dir).step()
    assert (run_dir / "eval.jsonl").read_text().startswith(text)
    assert judged(run_dir) == [(10, -9), (10, -0.2)]


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_checkpoint_that_kills_the_evaluator_twice_is_written_down(
    run_dir: pathlib.Path, judge: dict[str, Any]
) -> None:
    def die(step: int) -> None:
        raise Killed

    judge["before"] = die
    for _ in range(2):
        with pytest.raises(Killed):
            life(run_dir).step()
    assert life(run_dir).step() and judge["steps"] == [10, 10]
    (record,) = records.evaluations(run_dir)
    assert "died 2 times" in record["error"]
    judge["before"] = lambda step: None
    add_checkpoint(run_dir, 20)
    assert life(run_dir).step() and judged(run_dir)[-1] == (20, -0.9)


def test_being_stopped_is_no_death(run_dir: pathlib.Path, judge: dict[str, Any]) -> None:
    def leave(step: int) -> None:
        raise Stopped

    judge["before"] = leave
    for _ in range(3):
        assert not life(run_dir).step()
    judge["before"] = lambda step: None
    assert life(run_dir).step() and judged(run_dir) == [(10, -0.2)]


def test_a_damaged_checkpoint_is_a_record_with_its_error(run_dir: pathlib.Path) -> None:
    (run_dir / "checkpoints" / "10" / checkpoint.STATE).write_bytes(b"")
    assert life(run_dir).step()
    (record,) = records.evaluations(run_dir)
    assert "is damaged: sha256" in record["error"] and record["score"] == "inf"


def test_a_checkpoint_under_evaluation_is_not_pruned(
    run_dir: pathlib.Path, judge: dict[str, Any]
) -> None:
    def train_on(step: int) -> None:
        for later in (20, 30):
            checkpoint.save(run_dir / "checkpoints", later, {}, {}, keep=1)

    judge["before"] = train_on
    assert life(run_dir).step()
    assert checkpoint.steps(run_dir / "checkpoints") == [0, 10, 30]
    assert checkpoint.best_step(run_dir / "checkpoints") == 10


def test_the_best_of_a_fused_run_is_its_own(run_dir: pathlib.Path) -> None:
    path = run_dir / "checkpoints" / "10" / checkpoint.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"launch": "fused"}))
    checkpoint.mark_best(run_dir / "checkpoints", 0)
    assert life(run_dir).step() and checkpoint.best_step(run_dir / "checkpoints") == 0


def test_the_role_ends_when_told_and_says_it_is_alive(
    run_dir: pathlib.Path, judge: dict[str, Any]
) -> None:
    stop = threading.Event()
    judge["before"] = lambda step: stop.set()
    thread = threading.Thread(target=module.run, args=(config(), run_dir, stop, PLAN))
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive() and judged(run_dir) == [(10, -0.2)]
    text = (run_dir / "metrics" / "evaluator-0.jsonl").read_text()
    assert '"event": "begin"' in text and '"evaluated": 1' in text


def test_who_is_stopped_and_killed_meanwhile_did_not_die(
    run_dir: pathlib.Path, judge: dict[str, Any]
) -> None:
    """Its parent has only so much patience: "left" is written when the stop comes."""
    stop, left = threading.Event(), []

    def be_slow(step: int) -> None:
        stop.set()
        deadline = time.monotonic() + 20
        text = ""
        while '"event": "left"' not in text and time.monotonic() < deadline:
            time.sleep(0.01)
            text = (run_dir / "metrics" / "evaluator-0.jsonl").read_text()
        left.append('"event": "left"' in text)

    judge["before"] = be_slow
    module.run(config(), run_dir, stop, PLAN)
    assert left == [True] and judged(run_dir) == [(10, -0.2)], "there was time to end it after all"


def test_a_full_disk_is_tried_again(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch, judge: dict[str, Any]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    evaluator = life(run_dir)
    with monkeypatch.context() as patch:
        patch.setattr(records, "append", refuse)
        assert not any(evaluator.step() for _ in range(3))
    assert evaluator.step() and judged(run_dir) == [(10, -0.2)]


# --------------------------------------------------------------------------------- the end of a run


def test_the_end_waits_for_the_last_checkpoint(run_dir: pathlib.Path) -> None:
    protocol, stop = module.Plan().protocol(config()), threading.Event()
    record = {"score": -0.1, "protocol": protocol}

    def late() -> None:
        records.append(run_dir, {"step": 10, **record})
        records.append(run_dir, {"step": 20, **record, "protocol": "another"})
        time.sleep(0.2)
        assert waiting.is_alive(), "neither an earlier one nor another protocol will do"
        records.append(run_dir, {"step": 20, **record})

    found: list[bool] = []
    wait = lambda: found.append(module.wait_until_judged(config(), run_dir, 20, stop))  # noqa: E731
    waiting = threading.Thread(target=wait)
    waiting.start()
    late()
    waiting.join(timeout=20)
    assert found == [True]


def test_the_end_does_not_wait_for_ever(run_dir: pathlib.Path) -> None:
    stop = threading.Event()
    assert not module.wait_until_judged(config(), run_dir, 20, stop, limit=0.0)
    assert not module.wait_until_judged(config(), run_dir, 20, stop, silence=0.0), "nobody there"
    stop.set()
    assert not module.wait_until_judged(config(), run_dir, 20, stop)


@pytest.fixture
def writers_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes the metrics files of a run in this process; elsewhere the process's end does."""
    made: list[MetricsWriter] = []

    def make_one(*arguments: Any) -> MetricsWriter:
        made.append(MetricsWriter(*arguments))
        return made[-1]

    for place in (builders, module):
        monkeypatch.setattr(place, "MetricsWriter", make_one)
    yield
    for writer in made:
        writer.close()


@pytest.mark.usefixtures("writers_closed")
def test_in_process_it_takes_its_turn(tmp_path: pathlib.Path, judge: dict[str, Any]) -> None:
    chosen = override(
        config(), ["evaluator=true", "keep_checkpoints=1", "keep_checkpoints_every=20"]
    )
    run_dir = tmp_path / "run"
    rundir.prepare(run_dir, chosen)
    SCORES[40] = -0.3
    try:
        assert inprocess.run(chosen, run_dir, threading.Event(), lambda _: None)
    finally:
        SCORES[40] = math.nan
    assert judge["steps"] == [0, 10, 20, 30, 40]
    folder = run_dir / "checkpoints"
    assert checkpoint.best_step(folder) == 20
    assert checkpoint.steps(folder) == [0, 20, 30, 40], "30 was held when 40 was saved"
    written = checkpoint.read_manifest(folder / "40")["metrics"]
    assert written["accepted"] == 40 * 8 and written["staleness"] == 0
    assert isinstance(written["meta_loss"], float) and written["gradient_norm"] > 0


def test_a_full_disk_makes_no_checkpoint_a_bad_one(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`HELD` finds no room where one more line of `eval.jsonl` still does."""
    judge = Evaluator(config(), run_dir, threading.Event(), PLAN)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", full)
        assert judge.step() is False
    assert records.evaluations(run_dir) == []
    assert judge.step() is True
    assert [record["step"] for record in records.evaluations(run_dir)] == [10]
    judge.close()
