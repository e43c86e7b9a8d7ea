"""Wrong names, values and paths of every command: one line on standard error and exit code 2."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from launch.cli import main
from optimus.config import to_dict
from tests.launch import run_dirs

ROOT = pathlib.Path(__file__).resolve().parents[3]
LONG = "x" * 300
# Of paths and names: {} stands for each.
PLACES = (
    "train {}",
    "train {}/config.json",
    "train smoke --run-dir {}",
    "watch {} --once",
    "watch {} --json",
    "eval {}",
    "export {} out/w",
    "report {} --quick",
    "monitor {} --port -1 --no-tensorboard",
    "sweep {}",
    "sweep {}/a.py",
    "sweep ablations --table --out {}",
    "render {}",
    "render walk --controls {}",
    "bench classical --methods optimus --model {}",
    "bench classical --methods return_zero --out {}",
    "bench physics --methods kinematic --policy {}",
    "fleet status --inventory {}",
    "fleet slurm physics-small --run-dir {}",
)
WRONG = (LONG, f"{LONG}/x", "x/" * 2500, "")
FILES = ("deep.json", "garbage.json", "twice.json", "folder.json", "loop.json")


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """(exit code, lines on standard error) of a command in this process."""
    capsys.readouterr()
    code = main._run(words)
    return code, capsys.readouterr().err.strip().splitlines()


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The current directory, with files that nobody can use."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep.json").write_bytes(b"[" * 100_000)
    (tmp_path / "garbage.json").write_bytes(b"\xff\x00\x1b[31m")
    (tmp_path / "twice.json").write_text('{"updates": 5, "updates": 80}')
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "optimus").mkdir()
    (tmp_path / "file").write_text("text")
    return tmp_path


def assert_one_line(found: tuple[int, list[str]], words: str) -> str:
    code, lines = found
    assert code == 2, (words[:80], found)
    assert len(lines) == 1 and lines[0].startswith("optimus: "), (words[:80], found)
    assert lines[0].isprintable() and len(lines[0]) < 6000
    return lines[0]


@pytest.mark.parametrize("words", PLACES)
def test_a_path_that_no_file_can_have(
    here: pathlib.Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in WRONG:
        argv = [word.format(wrong) for word in words.split()]
        if "" not in argv and wrong == "":
            continue
        assert_one_line(run(argv, capsys), words)
    assert not (here / "out").exists() and not (here / "runs").exists()


@pytest.mark.parametrize("words", ["train {}", "eval {}", "export {} out", "render {}"])
def test_a_file_that_is_something_else(
    here: pathlib.Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*FILES, "a\nb\x1b[31m/config.json"):
        assert_one_line(run([word.format(name) for word in words.split()], capsys), words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("eval optimus", "optimus-classical"),
        ("bench classical --methods optimus --model optimus", "optimus-classical"),
        ("eval runs/x/checkpoints/99", "no weights at runs/x/checkpoints/99: no such file or"),
        ("bench classical --methods return_zero --model nosuch", "no weights named 'nosuch'"),
        ("bench classical --functions nosuch", "known: all, "),
        ("bench classical --dims 0", "at least 1"),
        ("bench classical --dims ²", "whole numbers"),
        ("bench classical --dims 99999999999", "at most 100000"),
        ("bench classical --starts 0", "starts: got 0"),
        (f"bench classical --starts 1{30 * '0'}", "want at most 100000"),
        (f"bench classical --starts 1 --steps 1{30 * '0'}", "want at most 10000000"),
        (f"bench runtime --repeats 1{30 * '0'}", "want at most 100000"),
        (f"eval optimus-classical --starts 1{30 * '0'}", "starts: got 10"),
        (f"eval optimus-classical --steps 1{30 * '0'}", "steps: got 10"),
        ("eval optimus-classical --steps 1", "steps: got 1, want an integer of at least 2"),
        ("eval optimus-classical --dims 50000", "50000 variables are too many"),
        (f"render walk --evaluations 1{30 * '0'}", "want at most 10000000"),
        ("bench classical --out file", "is no folder"),
        ("bench runtime --repeats 0", "repeats: got 0"),
        ("bench runtime --budget nan", "budget: got nan"),
        ("bench physics --split nosuch", "--split: got 'nosuch'"),
        ("bench physics --methods nosuch", "--methods: got 'nosuch'"),
        ("bench physics --data nosuch", "--data nosuch: no such folder"),
        ("bench physics --policy nosuch.npz", "no such file"),
        ("bench physics --out file/x", "is no folder"),
        ("bench throughput", "want --loss physics, --meta or --fleet"),
        ("bench throughput --meta --seconds nan", "--seconds: got nan"),
        ("bench throughput --meta --n 1", "n: got 1"),
        ("bench throughput --meta --lanes 0", "lanes: got 0"),
        ("train smoke --run-dir file", "is no folder"),
        ("train smoke --set optimizer.encoders=1000000", "want at most 128"),
        ("train smoke --set initial=nosuch", "initial: no weights named 'nosuch'"),
        ("train smoke --prometheus 99999 --run-dir r", "want PORT or HOST:PORT"),
        ("sweep ablations --out file", "is no folder"),
        ("sweep ablations --arms nosuch", "no such arm"),
        ("sweep ablations --seeds -1 --list", "seed: got -1"),
        ("render walk --evaluations 0", "--evaluations: got 0, want an integer of at least 1"),
        ("render walk --seconds nan", "nan"),
        ("render walk --out x.nosuch", "x.nosuch"),
        ("worker --coordinator nosuch", "--coordinator nosuch: want"),
        ("worker --coordinator head:1 --count 99999", "--count 99999: want"),
        ("actor --coordinator head:0", "want a port"),
        ("actor --coordinator head:99999", "want a port"),
    ],
)
def test_a_wrong_name_or_value(
    here: pathlib.Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in assert_one_line(run(shlex.split(words), capsys), words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("watch RUN --once --max-age nan", "--max-age: got nan"),
        ("watch RUN --once --max-age -1", "--max-age: got -1"),
        ("monitor RUN --port 99999", "--port 99999: want -1 ... 65535"),
        ("monitor RUN --port -5", "--port -5"),
        ("monitor RUN --host nosuch.invalid --port 0", "no such host"),
        ("monitor RUN --max-age nan", "--max-age: got nan"),
        ("report RUN --starts 0", "starts: got 0"),
        (f"report RUN --starts 1{30 * '0'}", "want at most 100000"),
        (f"report RUN --steps 1{30 * '0'}", "want at most 10000000"),
        (f"report RUN --dims 1{30 * '0'}", "dims must be"),
        ("report RUN --functions nosuch", "unknown function"),
        ("report RUN --quick --out RUN/config.json", "a file that is no report"),
        ("report RUN --quick --out RUN/.lock", "a file that is no report"),
        ("report RUN --quick --out .", "cannot write .: it is no ordinary file"),
        ("report RUN --quick --out=", "--out=: give a value after the ="),
        ("train smoke --run-dir=", "--run-dir=: give a value after the ="),
        ("train smoke --launch inprocess --port 0 --run-dir new", "--port 0: want 1024"),
        (
            "train smoke --launch inprocess --advertise a,b --run-dir new",
            "--advertise a,b: want a name",
        ),
        ("monitor RUN --host= --port 0", "--host=: give a value after the ="),
        ("export RUN RUN/config.safetensors --force", "of no weights: choose another name"),
        ("export RUN RUN/checkpoints/10/state.safetensors --force", "of no weights: choose"),
        ("export RUN RUN/checkpoints/10/manifest.safetensors --force", "of no weights: choose"),
        ("report RUN --quick --out file/x", "cannot write file/x"),
        ("report RUN --quick --out optimus", "cannot write optimus: it is no ordinary file"),
        ("eval RUN/checkpoints/99", "99"),
        ("eval RUN/checkpoints", "holds no weights"),
        ("export RUN file/x.safetensors", "cannot write file/x.safetensors"),
        ("export RUN/checkpoints/99 out", "99"),
    ],
)
def test_a_wrong_value_of_a_command_on_a_run(
    here: pathlib.Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = run_dirs.make(here / "RUN")
    (run_dir / ".lock").write_text("")
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert message in assert_one_line(run(shlex.split(words), capsys), words)
    assert before == {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert not (here / "new").exists()


def test_a_sweep_file_that_raises_is_one_line(
    here: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("1 / 0", "def get_sweep(", "raise SystemError('a\\nb')", "get_sweep = 3"):
        (here / "mine.py").write_text(text)
        assert "mine.py" in assert_one_line(run(["sweep", "mine.py"], capsys), text)


def test_who_stops_reading_gets_no_traceback() -> None:
    command = f"{shlex.quote(sys.executable)} -m launch.cli.main configs | head -1"
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.stdout == "optimus train ...\n" and done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code"), [("configs", 0), ("--version", 0), ("watch nosuch", 2), ("train nosuch", 2)]
)
def test_closed_streams_are_no_mistake(words: str, code: int) -> None:
    """As a daemon has them; a full disk behind standard error changes no exit code either."""
    command = f"exec {shlex.quote(sys.executable)} -m launch.cli.main {words}"
    for closed in (">&-", "2>&- >&-", "<&- 2>&- >&-", "2>/dev/full"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {closed}"], cwd=ROOT, capture_output=True, timeout=60
        )
        assert done.returncode == code, (closed, done.stderr)
        assert b"Traceback" not in done.stderr


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def in_ascii(words: list[str], cwd: pathlib.Path) -> subprocess.CompletedProcess[bytes]:
    """A command where the locale knows ASCII only."""
    environment = {**os.environ, **ASCII, "PYTHONPATH": str(ROOT), "COLUMNS": "40", "TERM": "dumb"}
    command = [sys.executable, "-m", "launch.cli.main", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=280)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("watch größe --once", 0),
        ("watch größe --json", 0),
        ("report größe --quick", 0),
        ("export größe öut/w", 0),
        ("eval nöpe", 2),
        ("train nöpe.json", 2),
        ("configs", 0),
    ],
)
def test_names_beyond_ascii_where_the_locale_is_ascii(
    tmp_path: pathlib.Path, words: str, code: int
) -> None:
    run_dirs.make(tmp_path / "größe")
    done = in_ascii(words.split(), tmp_path)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr and done.stdout.isascii() and done.stderr.isascii()
    if words == "watch größe --once":
        assert max(map(len, done.stdout.splitlines())) <= 40 and b"40/40" in done.stdout


@pytest.mark.slow
def test_a_run_beyond_ascii_where_the_locale_is_ascii(tmp_path: pathlib.Path) -> None:
    values = to_dict(run_dirs.config()) | {"name": "größe", "updates": 2}
    path = tmp_path / "gröse.json"
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    for _ in range(2):  # made, then shown
        done = in_ascii(["train", path.name, "--launch", "inprocess"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert rb"runs/gr\xc3\xb6\xc3\x9fe' --once" in done.stdout
    assert (tmp_path / "runs" / "größe" / "eval.jsonl").is_file()
