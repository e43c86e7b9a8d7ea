"""Bad input: one clear line on standard error, a non-zero exit, nothing started."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.launch import run_tools as tools

CASES = {
    "unknown config": (["train", "smok"], 2, "did you mean 'smoke'"),
    "unknown key": (["train", "smoke", "--set", "meta.btch=3"], 2, "did you mean 'batch'"),
    "wrong type": (["train", "smoke", "--set", "updates=many"], 2, "updates: got 'many', want int"),
    "bool for int": (["train", "smoke", "--set", "updates=true"], 2, "updates: got True, want int"),
    "not an assignment": (["train", "smoke", "--set", "updates"], 2, "want key=JSON"),
    "bad horizon": (["train", "smoke", "--set", "estimator.horizon=7"], 2, "multiple of trunc"),
    "deadlock": (["train", "smoke", "--set", "meta.batch=7"], 2, "wait for ever"),
    "unknown launch": (["train", "smoke", "--launch", "cloud"], 2, "want one of inprocess"),
    "missing config file": (["train", "nowhere/config.json"], 2, "cannot read"),
    "unknown split": (
        ["train", "physics-small", "--launch", "inprocess", "--set", "task.split=holidays"],
        2,
        "holidays",
    ),
    "window too long": (
        ["train", "physics-small", "--launch", "inprocess", "--set", "task.seconds=60"],
        2,
        "60",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_line(case: str, tmp_path: Path) -> None:
    arguments, code, text = CASES[case]
    result = tools.optimus(*arguments, "--run-dir", str(tmp_path / "run"))
    assert result.returncode == code, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("optimus: ") and text in lines[0], lines


def test_run_dir_of_another_config(tmp_path: Path) -> None:
    run_dir = str(tmp_path / "run")
    first = tools.optimus(
        "train", "smoke", "--launch", "inprocess", "--run-dir", run_dir, "--set", "updates=1"
    )
    assert first.returncode == 0, first.stderr
    other = tools.optimus(
        "train", "smoke", "--launch", "inprocess", "--run-dir", run_dir, "--set", "seed=5"
    )
    assert other.returncode == 1
    assert other.stderr.strip().splitlines() == [
        f"optimus: {run_dir} holds a run of another configuration (seed is 0 there and 5 here); "
        "use another --run-dir, or that configuration to resume it"
    ]


def test_a_config_json_can_be_run(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = ("--launch", "inprocess", "--set", "updates=1")
    assert tools.optimus("train", "smoke", *arguments, "--run-dir", str(run_dir)).returncode == 0
    copy = tmp_path / "config.json"
    values = json.loads((run_dir / "config.json").read_text())
    copy.write_text(json.dumps(values))
    again = tools.optimus("train", str(copy), *arguments, "--run-dir", str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr
    values["sead"] = 3
    copy.write_text(json.dumps(values))
    refused = tools.optimus("train", str(copy))
    assert refused.returncode == 2 and "did you mean 'seed'" in refused.stderr


@tools.distributed
def test_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = tools.optimus(
            "train",
            "smoke",
            "--launch",
            "local_mp",
            "--no-isolate",
            "--port",
            str(port),
            "--run-dir",
            str(tmp_path / "run"),
        )
    assert result.returncode == 1
    assert f"port {port} is in use" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_help_teaches() -> None:
    result = tools.optimus("train", "--help")
    assert result.returncode == 0
    assert "optimus train physics-small --launch local_mp" in result.stdout
    assert tools.optimus("trian").returncode == 2
