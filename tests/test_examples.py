"""README, tutorials and examples run as they stand, and are short enough to be read."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.configs import find
from optimus.config import override
from scripts.run_pages import ROOT, Block, Session, agrees, blocks

README = ROOT / "README.md"
TUTORIALS = ROOT / "docs" / "tutorials"
PAGES = (README, ROOT / "docs" / "index.md", *sorted(TUTORIALS.glob("*.md")))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TRAINED = ("train.md", "watch.md")  # one begins where the other ends

# Commands that take minutes, and what `make test` runs in their place.
_LONG = "classical-noposition --set updates={} --set 'task.sizes=[10]'"
_SHORT = "smoke --launch fused --set updates={} --set evaluation.tasks=2 --set evaluation.steps=1"
QUICK = {
    **{_LONG.format(long): _SHORT.format(short) for long, short in ((300, 1), (400, 2), (1500, 3))},
    "train physics-small": "train physics-small --launch inprocess --set updates=2",
    "sleep 40": "sleep 1",
}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(tmp_path)
    made = Session(tmp_path)
    yield made
    made.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def run(session: Session, page: Path, *, quick: bool) -> None:
    """All blocks of a page, in order, with what `QUICK` replaces or as they stand."""
    replaced = False
    for block in blocks(page.read_text()):
        if block.never or block.language not in ("python", "sh"):
            continue
        if "curl" in block.code and shutil.which("curl") is None:
            continue
        code = block.code.replace("9464", str(free_port()))
        for long in [each for each in QUICK if quick and each in code]:
            code, replaced = code.replace(long, QUICK[long]), True
        printed = session.run(block, named(page), code)
        if block.output is not None and not replaced:  # else what follows differs as well
            assert agrees(block.output, printed), f"{named(page)}:{block.line}:\n{printed}"


# --------------------------------------------------------------------------------------- they run


def test_readme(session: Session) -> None:
    """Its Python; its commands are those of the tutorial on training, which run below."""
    for block in blocks(README.read_text()):
        if block.language == "python":
            assert session.run(block, "README.md", block.code)
        elif not block.never:
            tutorial = (TUTORIALS / "train.md").read_text().replace("\\\n    ", "")
            assert all(command in tutorial for command in block.code.splitlines())


def test_the_tutorial_on_minimising(session: Session) -> None:
    run(session, TUTORIALS / "minimise.md", quick=True)


def test_the_tutorials_on_training_and_watching(session: Session) -> None:
    for page in TRAINED:
        run(session, TUTORIALS / page, quick=True)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_tutorials_on_training_and_watching_as_they_stand(session: Session) -> None:
    for page in TRAINED:
        run(session, TUTORIALS / page, quick=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_on_motions(session: Session) -> None:
    run(session, TUTORIALS / "motions.md", quick=True)


@pytest.mark.parametrize("page", [p for p in PAGES if "optimus train" in p.read_text()], ids=named)
def test_commands_that_a_quick_run_replaces_name_what_there_is(page: Path) -> None:
    for words in re.findall(r"^optimus train (.+?)(?: >.*)?$", page.read_text(), re.MULTILINE):
        name, *options = words.split()
        values = [options[k + 1].strip("'") for k, o in enumerate(options) if o == "--set"]
        override(find(name), tuple(values))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{before}")  # of the processes that an example starts
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert re.search(r"\d", capfd.readouterr().out)


# --------------------------------------------------------------------------- they are short enough


def test_the_list_of_examples_is_complete() -> None:
    listed = re.findall(r"\]\((\w+\.py)\)", (ROOT / "examples" / "README.md").read_text())
    assert sorted(listed) == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_at_most_40_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 40


def test_the_readme_is_one_screen_or_two_and_names_the_tests() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 120
    assert len(text.split()) <= 700
    assert "make test" in text


def test_the_readmes_pictures_have_a_light_and_a_dark_form() -> None:
    shown = re.findall(r'src(?:set)?="([^"]+)"', README.read_text())
    assert shown and all((README.parent / path).is_file() for path in shown)
    assert {p for p in shown if "-light." in p} == {p.replace("-dark.", "-light.") for p in shown}


# ------------------------------------------------------------------------------ the runner of pages


def test_blocks_know_their_output_and_their_comment() -> None:
    shell = "<!-- not run: why -->\n```sh\necho 2\n```\n\n```text\n2\n```\n"
    page = f"# A\n\n{shell}\n```python\n1\n```\n"
    first, second = blocks(page)
    assert first == Block("sh", "echo 2\n", 5, "2\n", "why")
    assert second == Block("python", "1\n", 13, None, "")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("f = 1.5e-3 after 12", "f = -2 after 7\n", True),
        ("f = 1.5 steps", "f = 1.5 evaluations", False),
        ("a\n...\nb", "a\nanything\nat all\nb", True),
        ("wrote .../x", "wrote /tmp/1/x", True),
    ],
)
def test_outputs_are_compared_but_for_numbers(shown: str, printed: str, same: bool) -> None:
    assert agrees(shown, printed) is same
