"""Commands that are printed can be pasted into a shell, whatever is in their words."""

from __future__ import annotations

import dataclasses
import html
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from launch import command
from launch.cli.report import Report
from launch.evaluation import comparison
from launch.runners import fused
from launch.runners import train as trains
from optimus.weights.card import _command
from tests.launch import run_dirs

NASTY = ("a b", "$HOME", "it's", 'a"b', "a;b", "größe", "a\nb", "\x1b[31m", "~", "*", "\udcff'\\")


@pytest.mark.parametrize("word", [*NASTY, "plain", "-x", ""])
def test_a_shell_reads_the_word_back(word: str) -> None:
    text = command("printf", "%s", word)
    assert text.isprintable()
    shell = shutil.which("bash")
    assert shell is not None
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=30)
    assert done.stdout == os.fsencode(word) and done.returncode == 0


def commands_in(lines: list[str]) -> list[list[str]]:
    """The words of each "optimus ..." in these lines."""
    found = [re.search(r"optimus .*", line) for line in lines]
    return [shlex.split(match[0]) for match in found if match]


@pytest.mark.parametrize("name", ["a b", "it's; $HOME"])
def test_a_run_names_its_directory_quoted(
    tmp_path: pathlib.Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = run_dirs.make(tmp_path / name)
    found = comparison.Comparison(0.5, -0.5, -1.0, -1.2, -0.8, 1.0, 0.5, 4, 4)
    monkeypatch.setattr(comparison, "compare", lambda *_: found)
    said: list[str] = []
    trains.summarise(run_dirs.config(), run_dir, said.append)
    fused.summarise(run_dir, said.append)
    wanted = ["optimus", "watch", str(run_dir), "--once"]
    assert [c for c in commands_in(said) if c[1] == "watch"] == [wanted, wanted]


def test_a_run_that_stops_says_how_it_goes_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trains, "_run", lambda *_: False)
    said: list[str] = []
    run_dir = tmp_path / "a b"
    trains.train(run_dirs.config(), run_dir, "inprocess", said.append)
    (line,) = (each for each in said if "this resumes" in each)
    expected = ["optimus", "train", str(run_dir / "config.json"), "--run-dir", str(run_dir)]
    assert shlex.split(line.partition("this resumes: ")[2]) == expected


def test_the_report_and_the_card_quote_too(tmp_path: pathlib.Path) -> None:
    run_dir = run_dirs.make(tmp_path / "a b")
    assert Report(run_dir, quick=True).run(lambda _: None) == 0
    text = html.unescape((run_dir / "report.html").read_text(encoding="utf-8"))
    assert f"optimus train '{run_dir}/config.json' --run-dir '{run_dir}'" in text
    assert f"optimus eval '{run_dir}/checkpoints/10'" in text
    named = dataclasses.replace(run_dirs.config(), name="a b")
    assert _command(named, {}).startswith("optimus train 'a b.json' --launch inprocess, ")
