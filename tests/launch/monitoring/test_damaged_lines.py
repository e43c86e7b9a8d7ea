"""Lines of a run's files that are no records: passed over, counted, said once, in every view."""

from __future__ import annotations

import json
import pathlib
import shutil
import threading
from typing import Any

import pytest

from launch.cli.report import Report
from launch.evaluation import comparison
from launch.monitoring import prometheus, readings, tensorboard
from launch.monitoring.status import read_status
from launch.monitoring.watch import rows, watch
from launch.runners import fused
from launch.runners import train as trains
from optimus.rundir import metrics
from tests.launch import run_dirs

COMPARED = {"start": 0.5, "end": -0.5, "difference": -1.0, "low": -1.2, "high": -0.8, "tasks": 4}
EVALUATION = {"kind": "evaluation", "format": 1, "step": 10, "score": -0.2, "protocol": "p"}
GOOD: list[dict[str, Any]] = [
    EVALUATION,
    EVALUATION | {"step": 20, "score": "inf", "error": "no"},
    EVALUATION | {"format": 2, "score": {"new": "form"}},  # of a later version
    {"kind": "of others", "step": "ten"},
    {"step": 10, **COMPARED},
    {"event": "validation", "time": 1.0, "step": 5, "gap": "nan", "sizes": {}, "members": {}},
]
BAD: list[Any] = [
    b"\xff\x00\xfe",
    b"[" * 5000,
    b'{"a":' * 5000,
    b"null",
    b"7",
    b'["kind", "evaluation"]',
    b"not json",
    b'{"kind": "evaluation", "kind": "evaluation"}',
    b'{"step": ' + b"9" * 5000 + b"}",
    {},
    {"step": 10},
    {"kind": "evaluation", "format": 1},
    {"kind": 3},
    EVALUATION | {"step": "10"},
    EVALUATION | {"step": None},
    EVALUATION | {"step": True},
    EVALUATION | {"score": "good"},
    EVALUATION | {"score": [1]},
    EVALUATION | {"format": "1"},
    EVALUATION | {"protocol": {"a": 1}},
    {"step": "ten", **COMPARED},
    {"step": 10, **COMPARED, "low": None},
    {"step": 10, **COMPARED, "tasks": 1e299},
    {"event": "validation", "time": 1.0, "step": 10},
    {"event": "validation", "time": 1.0, "step": 10, "gap": {}},
]
UPDATES: list[Any] = [
    b"\x00\x01\x02",
    b"[" * 5000,
    {"time": 1.0},
    {"event": 3, "time": 1.0},
    {"event": "update"},
    {"event": "update", "time": "now", "step": 3},
    {"event": "update", "time": 1.0},
    {"event": "update", "time": 1.0, "step": [3]},
    {"event": "update", "time": 1.0, "step": -5},
    {"event": "update", "time": 1.0, "step": 1.5},
    {"event": "update", "time": 1.0, "step": 10**250},
    {"event": "update", "time": 1.0, "step": 3, "updates": 10**200},
    {"event": "update", "time": 1.0, "step": 3, "evaluations": 10**290},
    {"event": "update", "time": 1.0, "step": 3, "phase": -3},
    {"event": "update", "time": 1.0, "step": 3, "waiting": -5.0},
    {"event": "update", "time": 1.0, "step": 3, "seconds": 1e299},
    {"event": "update", "time": 1.0, "step": 3, "uptime": "nan"},
    {"event": "update", "time": -1e9, "step": 3},
    {"event": "checkpoint", "time": 1e299, "step": 3},
    {"event": "checkpoint", "time": 1.0, "step": -3},
]


def lines(values: list[Any]) -> bytes:
    encoded = (v if isinstance(v, bytes) else json.dumps(v).encode() for v in values)
    return b"".join(line + b"\n" for line in encoded)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return run_dirs.make(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def run_dir(template: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A finished run; every line in its files that is no record is one of those above."""
    made = pathlib.Path(shutil.copytree(template, tmp_path / "run"))
    (made / "eval.jsonl").write_bytes(lines([*GOOD, *BAD]) + b'{"kind": "evaluation", "st')
    with open(made / "metrics" / "learner-0.jsonl", "ab") as file:
        file.write(lines(UPDATES) + b'{"event": "upd')
    return made


WANTED = {"eval.jsonl": len(BAD), "learner-0.jsonl": len(UPDATES)}


@pytest.mark.parametrize("line", BAD, ids=lambda each: repr(each)[:50])
def test_each_line_alone_is_counted(
    template: pathlib.Path, tmp_path: pathlib.Path, line: Any
) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "eval.jsonl").write_bytes(lines([line, *GOOD]))
    status = read_status(tmp_path)
    assert status.lines_damaged == {"eval.jsonl": 1}
    assert status.scores[-1]["score"] == -0.2 and status.comparison is not None
    assert readings.damaged_evaluations(tmp_path) == "eval.jsonl: 1 damaged lines passed over"


def test_a_whole_file_and_one_that_is_being_written_are_not_damaged(tmp_path: pathlib.Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "eval.jsonl").write_bytes(lines(GOOD) + b'\n{"kind": "evaluation", "step')
    assert read_status(tmp_path).lines_damaged == {}
    assert readings.damaged_evaluations(tmp_path) == ""


def test_watch_counts_and_says_them(
    run_dir: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = read_status(run_dir)
    assert status.lines_damaged == WANTED and status.step == 40
    text = f"{len(BAD)} in eval.jsonl, {len(UPDATES)} in learner-0.jsonl: passed over"
    assert ("damaged lines", text) in rows(status)
    monkeypatch.setenv("COLUMNS", "80")
    assert watch(run_dir, once=True) == 0
    assert capsys.readouterr().out.count("damaged lines") == 1
    assert watch(run_dir, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["lines_damaged"] == WANTED


def test_prometheus_counts_them(run_dir: pathlib.Path) -> None:
    text = prometheus.exposition(read_status(run_dir), run_dir).decode()
    for name, count in WANTED.items():
        assert f'optimus_lines_damaged{{file="{name}"}} {float(count)}' in text


def test_the_report_says_them_once(run_dir: pathlib.Path) -> None:
    assert Report(run_dir, quick=True).run(lambda _: None) == 0
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    assert text.count("damaged lines:") == 1 and f"{len(BAD)} in eval.jsonl" in text


def test_tensorboard_says_them_once_and_goes_on(run_dir: pathlib.Path) -> None:
    stop, said = threading.Event(), list[str]()
    stop.set()
    tensorboard.follow(run_dir, stop, say=said.append)
    assert said == [
        f"damaged lines: {len(BAD)} in eval.jsonl, {len(UPDATES)} in learner-0.jsonl: passed over"
    ]
    with open(run_dir / "eval.jsonl", "ab") as file:
        file.write(b"\n")
    again = list[str]()
    tensorboard.follow(run_dir, stop, say=again.append)
    assert again == ["damaged lines: 1 in eval.jsonl: passed over"], (
        "what was read is not read again"
    )


def test_the_summary_says_them_once(run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = comparison.Comparison(0.5, -0.5, -1.0, -1.2, -0.8, 1.0, 0.5, 4, 4)
    monkeypatch.setattr(comparison, "compare", lambda *_: found)
    said: list[str] = []
    trains.summarise(run_dirs.config(), run_dir, said.append)
    assert [line for line in said if "damaged" in line] == [
        f"eval.jsonl: {len(BAD) + 1} damaged lines passed over"
    ]  # half a line is closed before the result is added
    assert found.sentence() in said


def test_a_fused_summary_takes_what_is_whole(run_dir: pathlib.Path) -> None:
    said: list[str] = []
    fused.summarise(run_dir, said.append)
    assert any("damaged lines passed over" in line for line in said)


def test_a_line_longer_than_any_record_is_counted(tmp_path: pathlib.Path) -> None:
    path, damaged = tmp_path / "a.jsonl", metrics.Damaged()
    path.write_bytes(b'{"a": 1}\n{"a": "' + b"x" * 3 * metrics.LONGEST + b'"}\n{"a": 2}\n')
    assert list(metrics.read(path, damaged)) == [{"a": 1}, {"a": 2}]
    assert damaged == {"a.jsonl": 1}


def test_a_follower_counts_what_it_passes_over(tmp_path: pathlib.Path) -> None:
    path, damaged = tmp_path / "a.jsonl", metrics.Damaged()
    follower = metrics.Follower(path, damaged=damaged, good=lambda record: "a" in record)
    path.write_bytes(b'{"a": 1}\nx\n{"b": 1}\n{"a"')
    assert follower.new() == [{"a": 1}] and damaged == {"a.jsonl": 2}
    with open(path, "ab") as file:
        file.write(b": 2}\n")
    assert follower.new() == [{"a": 2}] and damaged == {"a.jsonl": 2}
