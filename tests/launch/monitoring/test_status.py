"""What `optimus watch` makes of restarts, clock jumps, foreign files and evaluations."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from rich.console import Console

from launch.evaluation import records as evaluate_records
from launch.monitoring.readings import rate, recent
from launch.monitoring.status import Status, read_status
from launch.monitoring.watch import clean, duration, panel, rows, sparkline
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter

NOW = 1_800_000_000.0
CONFIG = {"name": "run", "updates": 100, "task": {"kind": "physics", "split": "train"}}


def write(run_dir: pathlib.Path, role: str, *records: dict[str, Any]) -> None:
    writer = MetricsWriter(run_dir, role)
    for record in records:
        writer.write(**{"event": "alive", "time": NOW, **record})
    writer.close()


def updates(first: int, count: int, time: float, uptime: float = 0.0) -> list[dict[str, Any]]:
    return [
        {
            "event": "update",
            "step": first + k,
            "time": time + k,
            "uptime": uptime + k,
            "evaluations": 10 * (first + k),
            "seconds": 1.0,
            "waiting": 0.4,
            "meta_loss": 0.1,
        }
        for k in range(count)
    ]


@pytest.fixture
def run_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def shown(status: Status, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(panel(status))
    console.file.close()
    return console.export_text().splitlines()


# --------------------------------------------------------------------------------- rates and clocks


@pytest.mark.parametrize("jump", [-3600.0, -1.0, 3600.0])
def test_a_jump_of_the_clock_changes_no_rate(run_dir: pathlib.Path, jump: float) -> None:
    before, after = updates(1, 10, NOW - 20), updates(11, 10, NOW - 10 + jump, uptime=10.0)
    write(run_dir, "learner", {"event": "learner_started", "time": NOW - 21}, *before, *after)
    status = read_status(run_dir, now=NOW + jump)
    assert status.updates_per_second == pytest.approx(1.0)
    assert status.evaluations_per_second == pytest.approx(10.0)
    assert status.last_record_age is not None and status.last_record_age >= 0
    assert status.eta_seconds == pytest.approx(80.0)


@pytest.mark.parametrize("ahead", [90.0, 1e7])
def test_records_of_the_future_are_no_sign_of_life(run_dir: pathlib.Path, ahead: float) -> None:
    """Of a clock that was wrong, or of a damaged file: the run may have been killed since."""
    started = {"event": "learner_started", "time": NOW + ahead}
    write(run_dir, "learner", started, *updates(1, 3, NOW + ahead))
    write(run_dir, "actor", {"time": NOW + ahead})
    (run_dir / "checkpoints" / "2").mkdir(parents=True)
    write(run_dir, "learner", {"event": "checkpoint", "step": 2, "time": NOW + ahead + 100})
    status = read_status(run_dir, now=NOW, max_age=60.0)
    assert status.state == "lost" and status.stale
    assert status.last_record_age == pytest.approx(ahead, abs=101)
    assert status.checkpoint_age == pytest.approx(ahead + 100)
    assert status.roles["actor"] == {"alive": 0, "total": 1}


def test_clocks_of_two_hosts_may_differ_a_little(run_dir: pathlib.Path) -> None:
    write(run_dir, "learner", *updates(1, 3, NOW + 30))
    status = read_status(run_dir, now=NOW)
    assert (status.state, status.last_record_age) == ("running", 0.0)


def test_what_takes_no_time_has_no_rate(run_dir: pathlib.Path) -> None:
    quick = [record | {"uptime": k * 1e-300} for k, record in enumerate(updates(1, 5, NOW))]
    write(run_dir, "learner", *quick)
    status = read_status(run_dir, now=NOW)
    assert status.updates_per_second is None and status.evaluations_per_second is None


def test_counts_that_nobody_can_have_made_are_not_shown(run_dir: pathlib.Path) -> None:
    wrong = {"refused": {"stale": 10**250, "nonfinite": -4, "duplicate": 2}, "ledger_lost": 10**200}
    write(run_dir, "learner", *(record | wrong for record in updates(1, 2, NOW - 1)))
    status = read_status(run_dir, now=NOW)
    assert (status.refused, status.records_lost) == ({"duplicate": 2}, 0)


def test_a_restart_from_an_older_checkpoint_gives_no_negative_rate(run_dir: pathlib.Path) -> None:
    old = [{"event": "learner_started", "uptime": 0.0}, *updates(1, 30, NOW - 40)]
    new = [{"event": "learner_started", "uptime": 0.0}, *updates(11, 5, NOW - 5)]
    write(run_dir, "learner", *old, *new)
    status = read_status(run_dir, now=NOW)
    assert status.step == 15 and status.updates_per_second == pytest.approx(1.0)


def test_a_restart_that_left_no_record_gives_no_negative_rate() -> None:
    lives = updates(1, 5, NOW - 100, uptime=90.0) + updates(3, 4, NOW - 4)
    chosen, seconds = recent(lives, NOW)
    assert [r["step"] for r in chosen] == [3, 4, 5, 6] and seconds == pytest.approx(3.0)
    assert rate(lives, "step", 10.0) == pytest.approx(0.5)
    assert rate(list(reversed(lives)), "step", 10.0) is None
    assert rate(lives, "step", 0.0) is None


def test_where_time_goes_and_who_works(run_dir: pathlib.Path) -> None:
    write(run_dir, "learner", *updates(1, 11, NOW - 10))
    write(
        run_dir,
        "physics_worker",
        {"uptime": 10.0, "loss_seconds": 5.0},
        {"uptime": 20.0, "loss_seconds": 13.0},
    )
    write(
        run_dir,
        "actor",
        {"uptime": 10.0, "time_in": {"network": 1.0}, "pool": {"tries": 8, "ok": 8}},
        {
            "uptime": 20.0,
            "time_in": {"network": 3.0, "x": "y"},
            "pool": {"tries": 9, "ok": 8, "lost": 1, "quarantined": 2, "open": 5, "workers": 3},
        },
    )
    status = read_status(run_dir, now=NOW)
    assert status.work["physics_worker"] == {"busy": 1, "share": pytest.approx(0.8)}
    expected = {"learner": 0.6, "samples": 0.4, "loss": 0.8, "actor: network": 0.2}
    assert status.time_shares == {k: pytest.approx(v) for k, v in expected.items()}
    assert status.calls == {"tries": 9, "ok": 8, "lost": 1} and status.quarantined == 2
    text = "\n".join(shown(status))
    for words in ("1 busy (80% of their time)", "2 quarantined", "actor: network 20%", "1 lost"):
        assert words in text


def test_what_calls_spend_outside_of_the_simulator_is_network(run_dir: pathlib.Path) -> None:
    counts = [0] * 12
    write(run_dir, "learner", *updates(1, 3, NOW - 3))
    write(
        run_dir,
        "actor",
        {
            "uptime": 10.0,
            "time_in": {"losses": 4.0, "optimizer": 1.0},
            "loss_seconds": 2.0,
            "latency": {"counts": counts, "sum": 3.0},
        },
        {
            "uptime": 20.0,
            "time_in": {"losses": 9.0, "optimizer": 3.0, "stream": 1.0},
            "loss_seconds": 5.0,
            "latency": {"counts": counts, "sum": 7.0},
        },
    )
    shares = read_status(run_dir, now=NOW).time_shares
    expected = {"losses": 0.375, "network": 0.125, "optimizer": 0.2, "stream": 0.1}
    found = {name: share for name, share in shares.items() if name.startswith("actor")}
    assert found == {f"actor: {k}": pytest.approx(v) for k, v in expected.items()}


def test_an_evaluator_that_should_be_there_is_missed(run_dir: pathlib.Path) -> None:
    (run_dir / "config.json").write_text(json.dumps(CONFIG | {"evaluator": True}))
    write(run_dir, "learner", *updates(1, 3, NOW - 3))
    assert read_status(run_dir, now=NOW).roles["evaluator"] == {"alive": 0, "total": 1}


# ------------------------------------------------------------------------------------- evaluations


def test_scores_best_and_result(run_dir: pathlib.Path) -> None:
    (run_dir / "checkpoints" / "20").mkdir(parents=True)
    checkpoint.mark_best(run_dir / "checkpoints", 20)
    for step, score in ((10, -0.1), (20, -0.5), (30, -0.4)):
        record = {"step": step, "score": score, "score_of": "tasks", "protocol": "p"}
        evaluate_records.append(run_dir, record | {"skipped": [step - 1]})
    evaluate_records.append(run_dir, {"step": 40, "error": "ValueError: no", "protocol": "p"})
    final = {"start": 0.5, "end": -0.5, "difference": -1.0, "low": -1.2, "high": -0.8, "tasks": 4}
    with open(run_dir / "eval.jsonl", "a") as file:
        file.write(json.dumps({"step": 40, **final}) + '\n{"kind": "evaluation", "st')
    status = read_status(run_dir, now=NOW)
    assert [each["step"] for each in status.scores] == [10, 20, 30]
    assert (status.best_step, status.best_score, status.score_of) == (20, -0.5, "tasks")
    assert (status.evaluations_failed, status.evaluations_skipped) == (1, 3)
    assert status.comparison is not None and status.comparison["difference"] == -1.0
    text = "\n".join(shown(status))
    assert "held-out" in text and "-0.4 at 30, best -0.5 at 20" in text and "1 FAILED" in text


# ------------------------------------------------------------------------------------ foreign files

FOREIGN: list[dict[str, Any]] = [
    {"event": 7},
    {"event": ["update"], "step": 1},
    {"event": "update", "step": 1e308, "meta_loss": 1e308, "seconds": "x", "refused": [1]},
    {"event": "update", "step": True, "uptime": None},
    {"event": "alive", "statuses": {"ok": "many", "busy": 3}, "pool": [1], "time_in": 3},
    {"event": "ended", "state": {"a": 1}, "cause": ["b"]},
    {"event": "started", "launch": None},
    {"event": "checkpoint", "step": "nine"},
    {"event": "validation", "gap": "nan", "step": []},
]


@pytest.mark.parametrize("record", FOREIGN, ids=json.dumps)
@pytest.mark.parametrize("role", ["learner", "launcher", "actor", "physics_worker"])
def test_records_of_another_version(
    run_dir: pathlib.Path, role: str, record: dict[str, Any]
) -> None:
    write(run_dir, role, record, record)
    with open(run_dir / "eval.jsonl", "w") as file:
        file.write(json.dumps(record) + '\n{"kind": "evaluation", "step": 1, "skipped": 3}\n[[[')
    status = read_status(run_dir, now=NOW)
    json.dumps(status.__dict__)
    assert shown(status)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "null",
        '{"task": 3, "layout": "x", "updates": "y"}',
        '{"layout": {"actors": "many"}, "name": ["a"], "format": 99}',
        "\0\0",
    ],
    ids=["empty", "deep", "null", "types", "future", "zeros"],
)
def test_configurations_of_another_version(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    (tmp_path / "eval.jsonl").mkdir()
    status = read_status(tmp_path, now=NOW)
    assert (status.state, status.step) == ("never started", 0) and shown(status)


def test_a_file_cannot_steer_the_terminal(run_dir: pathlib.Path) -> None:
    (run_dir / "config.json").write_text(json.dumps(CONFIG | {"name": "\x1b]0;x\x07\x1b[2Ja" * 9}))
    write(run_dir, "launcher", {"event": "ended", "state": "failed", "cause": "\x1b[31mred\r\n"})
    status = read_status(run_dir, now=NOW)
    assert clean("\x1b[1mä█").isprintable() and clean("\x1b[1mä█").endswith("[1mä█")
    for name, text in rows(status):
        assert text.isprintable(), name
    lines = shown(status)
    assert max(map(len, lines)) <= 80 and "\x1b" not in "".join(lines)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_any_width(run_dir: pathlib.Path, width: int) -> None:
    write(run_dir, "learner", *updates(1, 80, NOW - 80))
    assert max(map(len, shown(read_status(run_dir, now=NOW), width))) <= width


def test_durations_and_sparklines() -> None:
    assert [duration(s) for s in (0.0, 119, 120, 7300, 200_000, None)] == [
        "0 s",
        "119 s",
        "2 min",
        "2.0 h",
        "2.3 days",
        "?",
    ]
    assert sparkline([]) == "" and sparkline([1.0]) == "▁"
    assert sparkline([0.0, 1.0]) == "▁█" and len(sparkline([float(k) for k in range(999)])) == 40
