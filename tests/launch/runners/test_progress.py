"""What a run says of its progress: no rate before there is one, none that a clock made up."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from launch.runners import train as trains
from launch.runners.train import progress_line, say_progress
from optimus.config import TrainConfig
from optimus.rundir.metrics import MetricsWriter
from tests.launch import run_dirs


def config(phases: int = 1) -> TrainConfig:
    found = dataclasses.replace(run_dirs.config(), updates=100)
    phase = found.phases[0]
    more = tuple(dataclasses.replace(phase, updates=10) for _ in range(phases - 1))
    return dataclasses.replace(found, phases=(*more, phase))


def update(step: int, uptime: float | None, moment: float = 1e9, **values: Any) -> dict[str, Any]:
    made = {"event": "update", "time": moment, "step": step, "evaluations": 80 * step}
    return made | ({} if uptime is None else {"uptime": uptime}) | {"meta_loss": -0.25} | values


FIRST = "update 1/100  meta-loss -0.250"


@pytest.mark.parametrize(
    ("updates", "line"),
    [
        ([update(1, 5.0)], FIRST),
        ([update(1, None), update(1, None)], FIRST),
        ([update(1, 5.0), update(1, 5.0)], FIRST),
        ([update(1, 5.0), update(1, 9.0)], FIRST),
        ([update(5, 9.0), update(1, 1.0)], FIRST),  # of two lives
        (
            [update(1, 5.0), update(3, 7.0)],
            "update 3/100  meta-loss -0.250  80 evaluations/s  97 s left",
        ),
        ([update(1, 5.0, 2e9), update(3, 7.0, 3e8)], None),  # the clock went back 54 years
        ([update(1, 5.0, 1e9), update(3, 7.0, 3e9)], None),  # and on 63
        (
            [update(1, 0.0, evaluations=1), update(2, 50.0, evaluations=41)],
            "update 2/100  meta-loss -0.250  0.8 evaluations/s  4900 s left",
        ),
        ([update(1, 5.0, meta_loss="nan")], "update 1/100  meta-loss not finite"),
        ([update(1, 5.0, meta_loss=None)], "update 1/100  meta-loss not finite"),
        (
            [update(90, 5.0), update(110, 6.0)],
            "update 110/100  meta-loss -0.250  1600 evaluations/s  0 s left",
        ),
    ],
)
def test_a_line_says_only_what_is_known(updates: list[dict[str, Any]], line: str | None) -> None:
    expected = line or "update 3/100  meta-loss -0.250  80 evaluations/s  97 s left"
    assert progress_line(config(), updates, "evaluations") == expected


def test_a_line_names_the_phase() -> None:
    assert "phase 2/3  meta" in progress_line(config(3), [update(11, 1.0, phase=1)], "inner steps")
    assert "phase 1/3" in progress_line(config(3), [update(11, 1.0, phase="x")], "inner steps")


def said_of(run_dir: pathlib.Path, looks: Iterator[Any]) -> list[str]:
    """Lines said while `looks` goes on; what it does happens between two looks."""
    said: list[str] = []

    def wait(_: float) -> bool:
        return next(looks, "over") == "over"

    say_progress(run_dir, config(), said.append, "evaluations", wait)
    return said


def test_what_is_said_survives_jumps_of_the_clock_and_damaged_lines(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics" / "learner-0.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(update(77, 3.0, time.time() + 1e9)) + "\n")  # of an earlier life

    def looks() -> Iterator[None]:
        yield None
        now = time.time()
        with open(path, "ab") as file:
            file.write(b'[1]\n\xff\n{"event": "update"}\n{"event": "update", "time": "x"}\n')
            file.write(json.dumps(update(1, 5.0, now)).encode() + b"\n")
        yield None
        monkeypatch.setattr(time, "time", lambda: now - 224318268.0)
        with open(path, "ab") as file:
            file.write(json.dumps(update(3, 7.0, now - 224318268.0)).encode() + b"\n")
        yield None
        with open(path, "ab") as file:  # a restarted learner
            file.write(b'{"event": "learner_started", "time": 1.0}\n')
            file.write(json.dumps(update(2, 0.5, 1.0)).encode() + b"\n")
        yield None
        yield None

    said = said_of(tmp_path, looks())
    assert said[0].startswith("starting ... ") and float(said[0].split()[2]) < 60
    assert said[1:] == [
        FIRST,
        "update 3/100  meta-loss -0.250  80 evaluations/s  97 s left",
        "update 2/100  meta-loss -0.250",
    ]


def test_before_there_is_a_file_it_is_starting(tmp_path: pathlib.Path) -> None:
    def looks() -> Iterator[None]:
        yield None
        writer = MetricsWriter(tmp_path, "learner")
        writer.write("update", step=4, meta_loss=1.0)
        writer.close()
        yield None

    starting, line = said_of(tmp_path, looks())
    assert starting.startswith("starting ... 0 s") and line == "update 4/100  meta-loss +1.000"
    assert trains.say_progress is say_progress
