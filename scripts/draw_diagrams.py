"""Draws the diagrams of docs/explanation/architecture.md, for light and dark pages.

python scripts/draw_diagrams.py     # writes docs/assets/{processes,sample}-{light,dark}.svg
"""

from __future__ import annotations

import html
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "docs/assets"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
# text, faint text, line, frame, fill of boxes: plain, actor, worker, head, disk
LIGHT = dict(text="#1c2333", faint="#5b6477", line="#4a5266", frame="#aab2c5", plain="#ffffff")
LIGHT |= dict(actor="#e3e8fb", worker="#dff3e8", head="#fdeccf", disk="#eceff4")
DARK = dict(text="#e6e9f2", faint="#a6aec2", line="#9aa3ba", frame="#565f78", plain="#232838")
DARK |= dict(actor="#303d72", worker="#22523c", head="#5e481d", disk="#363c4d")


class Drawing:
    """Boxes, arrows and words of one SVG file."""

    def __init__(self, width: int, height: int, title: str, colours: dict[str, str]) -> None:
        self._colours, line = colours, colours["line"]
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="{FONT}" role="img">',
            f"<title>{html.escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse">'
            f'<path d="M0 0 L10 5 L0 10 z" fill="{line}"/></marker></defs>',
        ]

    def box(
        self, x: int, y: int, width: int, height: int, words: list[str], fill: str, copies: int = 1
    ) -> None:
        """A box. The first line is bold, one that begins with `/` is the name of a file.

        Args:
          x, y, width, height: px.
          words: its lines, centred.
          fill: a key of the colours.
          copies: how many are drawn behind each other.
        """
        colours = self._colours
        for k in reversed(range(copies)):
            self._parts.append(
                f'<rect x="{x + 5 * k}" y="{y - 5 * k}" width="{width}" height="{height}" rx="7" '
                f'fill="{colours[fill]}" stroke="{colours["frame"]}"/>'
            )
        top = y + height / 2 - 8.5 * (len(words) - 1)
        for number, line in enumerate(words):
            style = "bold" if number == 0 else "file" if line.startswith("/") else "plain"
            self.text(x + width // 2, int(top + 17 * number + 4.5), line.lstrip("/"), style)

    def frame(self, x: int, y: int, width: int, height: int, title: str) -> None:
        """A dashed frame around boxes, with its title at the top left."""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="none" '
            f'stroke="{self._colours["frame"]}" stroke-dasharray="5 4"/>'
        )
        self.text(x + 10, y + 17, title, "faint", "start")

    def text(
        self, x: int, y: int, words: str, style: str = "faint", anchor: str = "middle"
    ) -> None:
        """Words at a place: bold, plain, faint, or file for a monospaced name."""
        size, weight = ("13.5", "600") if style == "bold" else ("12", "400")
        colour = self._colours["faint" if style in ("faint", "file") else "text"]
        family = f' font-family="{MONO}"' if style == "file" else ""
        size = "10.5" if style == "file" else size
        self._parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" '
            f'font-weight="{weight}" fill="{colour}"{family}>{html.escape(words)}</text>'
        )

    def arrow(self, points: str, dashed: bool = False) -> None:
        """An arrow along `x,y x,y ...`."""
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self._parts.append(
            f'<polyline points="{points}" fill="none" stroke="{self._colours["line"]}" '
            f'stroke-width="1.5" stroke-linejoin="round" marker-end="url(#tip)"{dash}/>'
        )

    def svg(self) -> str:
        """The file's text."""
        return "\n".join([*self._parts, "</svg>\n"])


def processes(colours: dict[str, str]) -> str:
    """Who there is, and who talks to whom."""
    d = Drawing(800, 480, "The processes of a run and what travels between them", colours)
    d.box(20, 110, 170, 96, ["Loss workers", "simulate a window:", "loss, gradient"], "worker", 3)
    d.box(300, 110, 190, 96, ["Actors", "unroll the optimizer", "at θ + ε and θ − ε"], "actor", 3)
    d.frame(590, 34, 200, 302, "head: fixed addresses")
    d.box(605, 62, 170, 56, ["Coordinator", "who is there"], "head")
    d.box(605, 146, 170, 56, ["Stream", "samples, 2 batches"], "head")
    d.box(605, 230, 170, 88, ["Learner", "estimate, clip, Adam:", "the next version of θ"], "head")

    d.arrow("300,138 204,138")
    d.text(250, 130, "x, window")
    d.arrow("190,180 298,180")
    d.text(245, 197, "loss,")
    d.text(245, 212, "gradient")
    d.arrow("500,160 603,160")
    d.text(545, 152, "samples")
    d.arrow("690,202 690,228")
    d.arrow("605,262 410,262 410,208")
    d.text(505, 254, "θ, episode ids")
    d.arrow("110,98 110,52 570,52 570,78 603,78", dashed=True)
    d.text(330, 44, "heartbeats; the list of workers to the actors")
    d.arrow("400,98 400,54", dashed=True)

    d.box(
        300,
        372,
        300,
        78,
        ["Run directory", "config.json, checkpoints/,", "metrics/, logs/, eval.jsonl"],
        "disk",
    )
    d.box(20, 372, 170, 78, ["optimus watch,", "report, monitor, eval"], "plain")
    d.box(655, 372, 120, 78, ["Evaluator", "marks BEST"], "head")
    d.arrow("690,318 690,346 560,346 560,370")
    d.text(548, 362, "checkpoints", anchor="end")
    d.arrow("300,411 192,411")
    d.text(245, 403, "files only")
    d.arrow("600,400 653,400")
    d.arrow("655,424 602,424")
    return d.svg()


def sample(colours: dict[str, str]) -> str:
    """One sample, from a draw of noise to the step of Adam."""
    d = Drawing(800, 500, "The way of one sample, from a draw of noise to an update", colours)
    d.frame(6, 8, 788, 118, "loss worker")
    d.frame(6, 150, 788, 128, "actor")
    d.frame(6, 362, 788, 128, "learner")
    width, height, lanes = 142, 86, (20, 174, 328, 482, 636)
    d.box(
        lanes[2],
        30,
        width,
        height,
        ["4 simulate", "loss and gradient", "/workers/physics/"],
        "worker",
    )
    actor = (
        ["1 draw ε", "seed, episode, window", "/optimus/meta/"],
        ["2 step x", "at θ + ε and θ − ε", "/optimus/model/"],
        ["3 ask for losses", "of all lanes at once", "/workers/unroll/"],
        ["5 score the window", "mean of log f / f₀", "/optimus/meta/"],
        ["6 write a sample", "ids, L₊, L₋, checksum", "/optimus/wire/"],
    )
    for x, words in zip(lanes, actor, strict=True):
        d.box(x, 178, width, height, words, "actor")
    for left in lanes[:2]:
        d.arrow(f"{left + width},221 {left + width + 11},221")
    d.arrow("385,178 385,118")
    d.arrow("328,73 245,73 245,176")
    d.text(235, 66, "loss, gradient:", anchor="end")
    d.text(235, 81, "the next of 5 steps", anchor="end")
    d.arrow("470,73 553,73 553,176")
    d.text(575, 66, "after step 5", anchor="start")
    d.arrow("624,221 635,221")

    d.box(lanes[4], 298, width, 46, ["7 queue"], "head")
    d.text(625, 318, "blocks the actor", anchor="end")
    d.text(625, 334, "when it is full", anchor="end")
    d.arrow("707,264 707,296")
    d.arrow("707,344 707,388")
    learner = (
        ["12 publish θ", "to actors, on disk", "/optimus/rundir/"],
        ["11 clip, Adam", "one meta-update", "/optimus/meta/"],
        ["10 estimate", "mean ξ (L₊ − L₋) / 2σ²", "/optimus/meta/"],
        ["9 draw ε again", "ξ = sum over episode", "/learner/"],
        ["8 check", "stale, doubled, foreign?", "/learner/"],
    )
    for x, words in zip(lanes, learner, strict=True):
        d.box(x, 390, width, height, words, "head")
    for right in lanes[1:]:
        d.arrow(f"{right},433 {right - 11},433")
    d.arrow("91,390 91,266")
    d.text(104, 325, "the next version of θ", anchor="start")
    return d.svg()


def drawings() -> dict[str, str]:
    """File name -> text."""
    return {
        f"{draw.__name__}-{name}.svg": draw(colours)
        for draw in (processes, sample)
        for name, colours in (("light", LIGHT), ("dark", DARK))
    }


if __name__ == "__main__":
    for name, text in drawings().items():
        (ASSETS / name).write_text(text)
