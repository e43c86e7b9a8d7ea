"""The command as a whole: its version, its lists, what it loads, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import optimus
from launch import configs
from tests.launch import run_dirs
from tests.launch import run_tools as tools

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {
    "jax",
    "jaxlib",
    "haiku",
    "optax",
    "scipy",
    "matplotlib",
    "tensorflow",
    "reverb",
    "courier",
    "launchpad",
    "supervisor",
    "ansible",
    "tensorboardX",
}


def test_the_version_is_the_distributions() -> None:
    done = tools.optimus("--version")
    assert (done.returncode, done.stdout) == (0, f"optimus {optimus.__version__}\n")
    assert optimus.__version__[0].isdigit()


def test_configs_lists_every_configuration_and_sweep_with_what_it_is() -> None:
    done = tools.optimus("configs")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    for name in (*configs.names(), *configs.sweep_names()):
        assert len(lines[name].split()) > 3, name


LIGHT = {
    "--help": 0,
    "--version": 0,
    "configs": 0,
    "watch --once RUN": 0,
    "watch --json RUN": 0,
    "watch nosuch": 2,
    "report --quick RUN": 0,
    "report nosuch": 2,
    "monitor nosuch": 2,
    "train nosuch": 2,
    "sweep table3 --list": 0,
    "fleet slurm nosuch": 2,
    **{f"{name} --help": 0 for name in ("train", "bench classical", "bench physics", "worker")},
}


@pytest.mark.parametrize("words", LIGHT)
def test_light_commands_load_nothing_heavy(words: str, tmp_path: Path) -> None:
    run_dir = run_dirs.make(tmp_path / "run")
    code = """
import json, sys
from launch.cli.main import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as ending:
    assert (ending.code or 0) == int(sys.argv[2]), ending.code
print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
    argv = [str(run_dir) if word == "RUN" else word for word in words.split()]
    command = [sys.executable, "-c", code, json.dumps(argv), str(LIGHT[words])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("eval nope", "nope"),
        ("export nope nowhere.safetensors", "nope"),
        ("watch nosuch", "no such directory"),
        ("report nosuch", "no such directory"),
        ("monitor nosuch", "no such directory"),
        ("sweep nosuch", "known: "),
        ("render nosuch", "nosuch"),
        ("bench classical --methods optimus --model nosuch --starts 1 --dims 2", "nosuch"),
        ("bench classical --methods nosuch", "nosuch"),
        ("fleet status --inventory nosuch.yaml", "nosuch.yaml"),
        ("fleet start nosuch --inventory nosuch.yaml", "nosuch"),
        ("worker --coordinator head:1 --count 0", "want 1 ... 1024"),
    ],
)
def test_a_wrong_name_or_value_is_one_line_and_code_2(
    words: str, message: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "launch.cli.main", *words.split()]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("optimus: ") and message in lines[-1], lines
    assert "Traceback" not in done.stderr
