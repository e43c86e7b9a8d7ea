"""`optimus report`: whole, self-contained, escaped, and drawn as meant by a real browser."""

from __future__ import annotations

import html.parser
import json
import math
import pathlib
import re
import shutil
import subprocess

import pytest

from launch.cli.report import Report
from launch.monitoring.report import charts
from launch.monitoring.report.data import collect
from launch.monitoring.status import NotARun
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter
from tests.launch.run_dirs import make

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make(tmp_path_factory.mktemp("run") / "r", steps=(0, 10))


@pytest.fixture
def run_dir(template: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(template, tmp_path / "run"))


@pytest.fixture(scope="module")
def full(template: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The whole page of a run with evaluations, baselines and pictures."""
    run_dir = pathlib.Path(shutil.copytree(template, tmp_path_factory.mktemp("full") / "run"))
    with open(run_dir / "eval.jsonl", "w") as file:
        for step in (0, 10):
            functions = {"sphere": {"2": -0.1 * step}}
            record = {
                "kind": "evaluation",
                "format": 1,
                "step": step,
                "score": -0.1 * step,
                "score_of": "tasks",
                "protocol": "p",
                "suites": {"classical": {"functions": functions}},
            }
            file.write(json.dumps(record) + "\n")
        final = {"start": 0.5, "end": -0.5, "difference": -1.0, "low": -1.2, "high": -0.8}
        file.write(json.dumps({"step": 10, "tasks": 4, **final}) + "\n")
    checkpoint.mark_best(run_dir / "checkpoints", 10)
    report = Report(run_dir, functions="rosenbrock", dims="2", starts=2, steps=8)
    assert report.run(lambda _: None) == 0
    return run_dir / "report.html"


class Page(html.parser.HTMLParser):
    """Tags with their attributes, text, and whether what was opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("circle",):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_from_outside(full: pathlib.Path) -> None:
    page = Page(full.read_text())
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "base")
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, value)
    assert not re.search(r"url\(|@import", full.read_text())
    for words in (
        "Learning",
        "Held-out evaluation",
        "Against baselines",
        "Resume and use",
        "Training made it better",
        "this checkpoint",
        "optimus export",
        "stale",
        "environment of the newest checkpoint",
        '"config_hash"',
        "l_bfgs_b",
    ):
        assert words in page.text, words
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert len(pictures) == 2 and all(a["alt"] for a in pictures)


def browser() -> str:
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed (Debian: chromium)")


PROBE = """<script>
addEventListener("load", () => {
  const e = document.documentElement;
  const images = [...document.images].map(i => i.complete && i.naturalWidth > 0);
  const charts = [...document.querySelectorAll("svg")].map(s => {
    const b = s.getBoundingClientRect();
    const inside = [...s.querySelectorAll("polyline, circle, text")].every(m => {
      const r = m.getBoundingClientRect();
      return r.left >= b.left - 2 && r.right <= b.right + 2 && r.top >= b.top - 2
        && r.bottom <= b.bottom + 2;
    });
    return b.width > 100 && b.height > 50 && inside;
  });
  const loaded = performance.getEntriesByType("resource").map(r => r.name);
  const found = {overflow: e.scrollWidth - e.clientWidth, images, charts, title: document.title,
    outside: loaded.filter(name => !name.startsWith("data:")).length};
  document.body.setAttribute("data-probe", JSON.stringify(found));
});
</script>"""


def look(page: pathlib.Path, folder: pathlib.Path, width: int) -> dict[str, object]:
    """Loads the page in a browser without a network; what it measured."""
    probed = folder / "probed.html"
    probed.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    command = [
        browser(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},900",
        "--virtual-time-budget=5000",
        "--dump-dom",
        probed.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    return dict(json.loads(found.group(1).replace("&quot;", '"')))


@pytest.mark.parametrize("width", [1200, 500], ids=["desktop", "phone"])
def test_a_browser_draws_it(full: pathlib.Path, tmp_path: pathlib.Path, width: int) -> None:
    found = look(full, tmp_path, width)
    assert found["title"] == "smoke: optimus report"
    assert found["overflow"] == 0, "wider than the window"
    assert found["images"] == [True, True] and found["outside"] == 0
    charts_drawn = found["charts"]
    assert isinstance(charts_drawn, list) and len(charts_drawn) >= 5 and all(charts_drawn)


# ------------------------------------------------------------------------------------ any directory


def quick(run_dir: pathlib.Path) -> str:
    assert Report(run_dir, quick=True).run(lambda _: None) == 0
    text = (run_dir / "report.html").read_text()
    assert Page(text).open == []
    return text


def test_a_run_without_anything_yet(tmp_path: pathlib.Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "No update has been recorded yet" in quick(tmp_path)
    with pytest.raises(NotARun):
        Report(tmp_path / "nowhere", quick=True).run(lambda _: None)


def test_text_out_of_files_is_escaped(run_dir: pathlib.Path) -> None:
    evil = "<script>alert(1)</script>"
    config = json.loads((run_dir / "config.json").read_text())
    (run_dir / "config.json").write_text(json.dumps(config | {"name": evil, evil: evil}))
    writer = MetricsWriter(run_dir, evil.replace("/", "_"))
    writer.write("alive")
    writer.close()
    launcher = MetricsWriter(run_dir, "launcher")
    launcher.write("ended", state=evil, cause=evil)
    launcher.close()
    with open(run_dir / "eval.jsonl", "w") as file:
        record = {
            "kind": "evaluation",
            "format": 1,
            "step": 10,
            "score": "inf",
            "error": evil,
            "suites": {"classical": {"functions": {evil: {evil: -1.0}, "x": 3}}},
        }
        file.write(json.dumps(record) + "\n")
    assert "<script" not in quick(run_dir)


def test_damaged_files_are_said_and_left_out(run_dir: pathlib.Path) -> None:
    (run_dir / "checkpoints" / "10" / checkpoint.MANIFEST).write_text("{")
    (run_dir / "metrics" / "learner-0.jsonl").unlink()
    text = quick(run_dir)
    assert "is incomplete" in text and "no updates: No such file" in text
    said: list[str] = []
    (run_dir / "config.json").write_text('{"format": 99}')
    assert Report(run_dir).run(said.append) == 0
    assert "no comparison:" in (run_dir / "report.html").read_text()


def test_a_step_made_again_counts_as_it_was_made_last(run_dir: pathlib.Path) -> None:
    learner = MetricsWriter(run_dir, "learner")
    learner.write("update", step=7, meta_loss=5.0)
    learner.close()
    curve = dict(collect(run_dir).curve("meta_loss"))
    assert curve[7.0] == 5.0 and len(curve) == 40 and list(curve) == sorted(curve)


# ------------------------------------------------------------------------------------------ charts


@pytest.mark.parametrize(
    "points",
    [
        [(1.0, 2.0)],
        [(1.0, 2.0), (1.0, 2.0)],
        [(0.0, 0.0), (1.0, 0.0)],
        [(0.0, 1e-300), (1e9, 1e300)],
        [(0.0, math.nan), (1.0, 3.0), (2.0, math.inf)],
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_charts_take_any_numbers(points: list[tuple[float, float]], log: bool) -> None:
    drawing = charts.lines({"a": points}, "x", "y", log)
    assert "nan" not in drawing and "inf" not in drawing.replace("aria-label", "")
    if drawing:
        Page(drawing)


def test_nothing_finite_is_no_chart() -> None:
    assert charts.lines({"a": [(1.0, math.nan)], "b": []}, "x", "y") == ""
    assert charts.lines({"a": [(1.0, -1.0)]}, "x", "y", log=True) == ""
    assert charts.smooth([(0.0, math.nan)]) == []


def test_ticks_are_round_and_within() -> None:
    for low, high in ((0.0, 1.0), (-3.2, 17.0), (1e-9, 2e-9), (5e8, 6e8)):
        found = charts.ticks(low, high)
        assert 2 <= len(found) <= 9
        assert all(low - 1e-6 * abs(low) <= t <= high * (1 + 1e-6) + 1e-12 for t in found)
