"""Every file of a run directory, damaged: each command works or says one line, no traceback."""

from __future__ import annotations

import json
import pathlib
import shutil
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from launch import sweeps
from launch.cli import main
from launch.monitoring import prometheus, tensorboard
from launch.monitoring.status import read_status
from launch.runners import fused
from launch.sweeps import state, table
from optimus.rundir import checkpoint
from tests.launch import run_dirs

FILES = (
    *("config.json", "eval.jsonl", "identity.json"),
    *("metrics/learner-0.jsonl", "metrics/launcher-0.jsonl"),
    *("checkpoints/LATEST", "checkpoints/BEST"),
    *("checkpoints/10/manifest.json", "checkpoints/0/manifest.json"),
)
VALUES: dict[str, Any] = {
    "a text": "x",
    "a list": [1],
    "null": None,
    "huge": 10**400,
    "negative": -1,
    "not finite": float("nan"),
    "an object": {"a": {"b": 1}},
    "half a letter": "\ud800",
}


def valued(value: Any) -> Callable[[bytes], bytes]:
    """Every field of the first line, or of the whole, has this value."""

    def damaged(data: bytes) -> bytes:
        try:
            found = json.loads(data.partition(b"\n")[0])
        except ValueError:
            found = json.loads(data)
        keys = found if isinstance(found, dict) else ("step",)
        return json.dumps(dict.fromkeys(keys, value)).encode() + b"\n"

    return damaged


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "nested lists": lambda _: b"[" * 100_000,
    "nested 300 deep": lambda _: b'{"a":' * 300 + b"1" + b"}" * 300 + b"\n",
    "bytes": lambda _: b"\xff\x00\x1b[31m\n" * 9,
    "half": lambda data: data[: len(data) // 2],
    "an empty object": lambda _: b"{}\n",
    "a long number": lambda _: b"9" * 3000 + b"\n",
    "thousands of digits": lambda _: b'{"step": ' + b"9" * 5000 + b"}\n",
    **{name: valued(value) for name, value in VALUES.items()},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    run_dir = run_dirs.make(tmp_path_factory.mktemp("run") / "run")
    checkpoint.mark_best(run_dir / "checkpoints", 10)
    (run_dir / "identity.json").write_text('{"run_id": "a", "epoch": 1, "next_episode": 9}')
    line = {"kind": "evaluation", "format": 1, "step": 10, "score": -0.2, "protocol": "p"}
    (run_dir / "eval.jsonl").write_text(json.dumps(line) + "\n")
    return run_dir


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_commands_on_a_damaged_file(
    template: pathlib.Path,
    tmp_path: pathlib.Path,
    name: str,
    damage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = pathlib.Path(shutil.copytree(template, tmp_path / "run"))
    (run_dir / name).write_bytes(DAMAGE[damage]((run_dir / name).read_bytes()))
    out = str(tmp_path / "w")
    commands = (
        ["watch", str(run_dir), "--once"],
        ["watch", str(run_dir), "--json"],
        ["report", str(run_dir), "--quick"],
        ["export", str(run_dir), out, "--force"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an older checkpoint that is taken
        for words in commands:
            capsys.readouterr()
            code = main._run(words)
            lines = capsys.readouterr().err.strip().splitlines()
            assert code == 0 or (code in (1, 2, 3) and len(lines) <= 1), (words, lines)
            assert all(line.startswith("optimus: ") for line in lines), (words, lines)
        prometheus.exposition(read_status(run_dir), run_dir)
        stop = threading.Event()
        stop.set()
        tensorboard.follow(run_dir, stop)
        fused.summarise(run_dir, lambda _: None)


@pytest.mark.parametrize("value", VALUES)
def test_a_sweep_tabulates_what_is_whole(tmp_path: pathlib.Path, value: str) -> None:
    config = run_dirs.config()
    cell = sweeps.Cell(sweeps.Arm("base"), 0, config, run_dirs.make(tmp_path / "cell"))
    good = {"event": "validation", "time": 1.0, "step": 5, "gap": -1.0, "sizes": {"4": "nan"}}
    bad = dict.fromkeys(("step", "gap", "sizes", "members"), VALUES[value])
    records = [good | {"members": {"a": -1.0}}, good | bad, good | {"step": 6} | {"gap": "inf"}]
    with open(cell.run_dir / "metrics" / "learner-0.jsonl", "a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    lives = [{"life": 1, "core_seconds": 2.0}, {"life": VALUES[value]}, {"core_seconds": 3.0}]
    (cell.run_dir / state.COMPUTE).write_text("".join(json.dumps(r) + "\n" for r in lives))
    (row,) = table.rows([cell])
    assert row["best"] == -1.0 and row["best_update"] == 5
    assert state.core_seconds(cell.run_dir) == 2.0
