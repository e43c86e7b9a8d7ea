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
BESIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "examples/README.md",
)
TEXTS = [*PAGES, *(ROOT / name for name in BESIDE)]
RESULTS = sorted(set((DOCS / "results").glob("*.md")) - {DOCS / "results/README.md"})
NOTES = DOCS / "experiments"
FOLDERS = "optimus|workers|learner|launch|benchmarks|scripts|tests|examples|requirements|docs"
MADE_BY_THE_READER = "docs/how-to/add-baseline.md: optimus/bench/methods/steepest.py"
WIDEST = 120
_FREE = re.compile(r"\s*(\||!\[|<!--|</?(?:picture|source|img)\b)")  # tables, pictures, comments


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
    """(number, line) of the lines outside of fences."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
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


@pytest.mark.parametrize("path", TEXTS, ids=_of)
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
def test_every_picture_has_a_form_for_light_pages_and_one_for_dark_ones(path: Path) -> None:
    shown = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", path.read_text())
    light, dark = shown[::2], shown[1::2]
    assert all(re.search(r"-light\.\w+#only-light$", target) for _, target in light)
    assert dark == [(words, target.replace("light", "dark")) for words, target in light]


def test_the_dark_form_of_a_plot_is_that_of_its_light_one() -> None:
    pytest.importorskip("PIL")
    draw_dark = _script("draw_dark")
    light = sorted((DOCS / "results/data").glob("*-light.png"))
    both = {*light, *map(draw_dark.beside, light)}
    assert light and set((DOCS / "results/data").glob("*.png")) == both
    for path in light:
        drawn, there = draw_dark.drawn(path), draw_dark.opened(draw_dark.beside(path))
        assert drawn.size == there.size
        assert draw_dark.distance(drawn, there) < 2, f"run scripts/draw_dark.py {path}"


@pytest.mark.parametrize("path", RESULTS, ids=_of)
def test_a_page_of_results_is_short_and_says_what_it_does_not_show(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 90
    assert "\n**Claim.** " in text and "\n|---|" in text
    assert re.findall(r"^## (How to repeat it|What it does not show)$", text, re.MULTILINE) == [
        "How to repeat it",
        "What it does not show",
    ]


@pytest.mark.parametrize("path", TEXTS, ids=_of)
def test_no_line_of_prose_is_wider_than_a_screen(path: Path) -> None:
    wide = [n for n, line in _prose(path) if len(line) > WIDEST and not _FREE.match(line)]
    assert not wide, f"lines of more than {WIDEST} characters"


def _sentences(text: str) -> list[str]:
    """The sentences of a page's prose; a link is its words, cells of tables are none."""
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->|</?(?:picture|source|img)\b[^>]*>", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*\|.*$|^    .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*#]|\d+\.) )", text)
    return [s for p in paragraphs for s in re.split(r"(?<=[.?!])\s+", " ".join(p.split()))]


@pytest.mark.parametrize("path", [p for p in TEXTS if NOTES not in p.parents], ids=_of)
def test_no_sentence_has_more_than_40_words(path: Path) -> None:
    assert not [each for each in _sentences(path.read_text()) if len(each.split()) > 40]


def test_a_long_sentence_is_found_and_code_and_cells_are_none() -> None:
    long = "word, " * 40 + "[a `b` c](https://example.org/d)."
    hidden = f"```sh\n{long}\n```\n\n| {long} |\n\n<!-- {long} -->\n"
    found = _sentences(f"# Title\n\nShort. Shorter:\n\n- {long}\n- Next?\n\n{hidden}")
    assert [len(each.split()) for each in found if each] == [2, 1, 1, 44, 2]


def test_generated_parts_are_made_from_the_code() -> None:
    pages = _script("docs_pages")
    wanted = {
        name
        for path in PAGES
        for name in re.findall(r"^<!-- generated: ([\w-]+) -->$", path.read_text(), re.MULTILINE)
    }
    assert wanted == set(pages.PAGES)
    told = [m for path in PAGES for m in pages.PLACE.findall(path.read_text())]
    assert {name for name, _ in told} == wanted, "the line behind it says how to see it"
    assert all("make docs" in words and words.count("`") >= 4 for _, words in told)
    command = [sys.executable, "scripts/docs_pages.py", *sorted(wanted)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in ("optimus train", "`learning_rate`", "### optimus-classical", "Unreleased"):
        assert part in done.stdout


def test_numbers_of_the_readme_are_those_of_the_pages_of_results() -> None:
    readme, motions = (
        p.read_text() for p in (ROOT / "README.md", DOCS / "results/physics-flagship.md")
    )
    shares = re.findall(r"^\|.*?\| (\d+ % \| \d+ % \| \d+ %) \|$", readme, re.MULTILINE)
    against = re.findall(r"better on (\d+), worse on (\d+)", readme)
    held_out = (DOCS / "results/held-out.md").read_text()
    assert len(shares) == 3 and all(each in held_out for each in shares)
    assert len(against) == 1 and "better on {} and worse on {}".format(*against[0]) in held_out
    errors = re.findall(r"by (\d+) mm", readme)
    exact = re.findall(
        r"^\| (?:`optimus-physics`, bare|BFGS) .*\| ([\d.]+) \|$", motions, re.MULTILINE
    )
    assert len(errors) == 2 and errors == [f"{float(each):.0f}" for each in exact]


def test_files_that_pages_name_exist() -> None:
    missing = []
    for path in (path for path in TEXTS if NOTES not in path.parents):
        named = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)", path.read_text())
        missing += [f"{_of(path)}: {name}" for name in named if not (ROOT / name).exists()]
    assert missing == [MADE_BY_THE_READER]


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
