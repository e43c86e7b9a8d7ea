"""Pages of docs/: found in the navigation, with links and pictures that exist, and not out of date.

The strict build is a part of `make test-all` (`scripts/run_tests.py docs`); this is what can be
told without it.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
WIDEST = 120


def _of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line) of the lines that are no code."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, line


def _configuration() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    return found


def _leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    else:
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(each)


def test_every_page_is_in_the_navigation_once() -> None:
    configuration = _configuration()
    shown = list(_leaves(configuration["nav"]))
    assert len(shown) == len(set(shown))
    missing = [name for name in shown if not (DOCS / name).is_file()]
    assert not missing, "in the navigation of mkdocs.yml, but not there"
    elsewhere = configuration["not_in_nav"].split()
    pages = [str(page.relative_to(DOCS)) for page in PAGES]
    left = [page for page in pages if not any(f"/{page}".startswith(e) for e in elsewhere)]
    assert sorted(left) == sorted(shown)


@pytest.mark.parametrize("path", [*TEXTS, ROOT / "CHANGELOG.md"], ids=_of)
def test_links_and_pictures_exist(path: Path) -> None:
    text = "\n".join(line for _, line in _prose(path))
    targets = re.findall(r"\]\(([^)\s]+)\)|\b(?:src|srcset|href)=\"([^\"]+)\"", text)
    missing = []
    for target in (one or other for one, other in targets):
        name = target.partition("#")[0]
        if re.match(r"[a-z]+:", target) or not name:
            continue
        if not (path.parent / name).exists():
            missing.append(target)
    assert not missing


@pytest.mark.parametrize("path", PAGES, ids=_of)
def test_pictures_for_light_pages_have_a_twin_for_dark_ones(path: Path) -> None:
    text = path.read_text()
    light, dark = (text.count(f"#only-{mode}") for mode in ("light", "dark"))
    assert light == dark


@pytest.mark.parametrize("path", TEXTS, ids=_of)
def test_no_line_of_prose_is_wider_than_a_screen(path: Path) -> None:
    wide = []
    for number, line in _prose(path):
        shown = re.sub(r"\]\([^)]*\)", "]", line)  # where a link leads is not read
        if len(shown) > WIDEST and not line.lstrip().startswith(("|", "!", "<")):
            wide.append(number)
    assert not wide, f"lines of more than {WIDEST} characters"


def test_generated_parts_are_made_from_the_code() -> None:
    pages = _script("docs_pages")
    wanted = {
        name
        for path in PAGES
        for name in re.findall(r"^<!-- generated: ([\w-]+) -->$", path.read_text(), re.MULTILINE)
    }
    assert wanted == set(pages.PAGES)
    command = [sys.executable, "scripts/docs_pages.py", *sorted(wanted)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in ("optimus train", "`learning_rate`", "### optimus-classical", "Unreleased"):
        assert part in done.stdout


def test_diagrams_are_as_they_are_drawn() -> None:
    for name, text in _script("draw_diagrams").drawings().items():
        assert (DOCS / "assets" / name).read_text() == text, "run scripts/draw_diagrams.py"


def test_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    rooms = ("optimus", "workers", "learner", "launch", "scripts")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    source = "\n".join(path.read_text() for path in [*files, ROOT / "scripts/setup.sh"])
    source = re.sub(r"\"\s*\n\s*f?\"", "", source)  # one message over several lines
    unknown = []
    for _, line in _prose(DOCS / "how-to/troubleshooting.md"):
        cell = line.split("|")[1].strip() if line.startswith("| `") else ""
        for message in re.findall(r"`([^`]+)`", cell):
            # What the code fills in is "...", a capital letter, a number or in quotes.
            for part in re.split(r"\.\.\.|'[^']*'|\b[A-Z]\b|[\w.]*\d[\w.]*|[()/]|: ", message):
                words = part.strip(" :;,=-")
                if len(words) > 12 and words not in source:
                    unknown.append(words)
    assert not unknown
