"""Draws docs/assets/system-{light,dark}.svg: the four packages and what flows between processes.

python scripts/draw_system.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "docs" / "assets"
WIDTH, HEIGHT = 920, 372


@dataclass(frozen=True)
class Theme:
    """Colours of one form: text, quiet text, frames, and a fill for each package."""

    name: str
    ink: str
    quiet: str
    line: str
    fills: dict[str, str]


LIGHT = Theme(
    "light",
    "#24292f",
    "#57606a",
    "#8c959f",
    {"launch": "#f6f8fa", "workers": "#ddf4ff", "learner": "#fff1e5", "optimus": "#dafbe1"},
)
DARK = Theme(
    "dark",
    "#e6edf3",
    "#9da7b1",
    "#6e7681",
    {"launch": "#161b22", "workers": "#122d4a", "learner": "#3d2412", "optimus": "#12352a"},
)


def box(theme: Theme, x: int, y: int, width: int, height: int, fill: str) -> str:
    """A rounded rectangle."""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="9" '
        f'fill="{fill}" stroke="{theme.line}"/>'
    )


def text(theme: Theme, x: int, y: int, words: str, *, bold: bool = False, at: str = "start") -> str:
    """One line; bold lines are titles, the others are quiet."""
    weight, colour = ("600", theme.ink) if bold else ("400", theme.quiet)
    size = 16 if bold else 13
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{at}">{words}</text>'
    )


def arrow(theme: Theme, path: str) -> str:
    """A path with an arrow head at its end."""
    stroke = f'stroke="{theme.ink}" stroke-width="1.6" marker-end="url(#a)"'
    return f'<path d="{path}" fill="none" {stroke}/>'


def draw(theme: Theme) -> str:
    """The whole picture."""
    fill = theme.fills
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        "<title>Workers evaluate the loss, actors unroll the optimizer, the learner trains it; "
        "launch starts them; all use the optimus library.</title>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        f'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="{theme.ink}"/>',
        "</marker></defs>",
        box(theme, 8, 8, 904, 250, fill["launch"]),
        text(theme, 26, 36, "launch/", bold=True),
        text(theme, 92, 36, "starts the processes; command line, monitoring, many hosts"),
        box(theme, 30, 70, 210, 96, fill["workers"]),
        text(theme, 46, 98, "workers/  physics", bold=True),
        text(theme, 46, 122, "C++ simulator, loss, gradient"),
        text(theme, 46, 144, "up to hundreds of processes"),
        box(theme, 340, 70, 210, 96, fill["workers"]),
        text(theme, 356, 98, "workers/  actor", bold=True),
        text(theme, 356, 122, "unrolls the optimizer"),
        text(theme, 356, 144, "on many tasks at once"),
        box(theme, 680, 70, 210, 96, fill["learner"]),
        text(theme, 696, 98, "learner/", bold=True),
        text(theme, 696, 122, "meta-gradient, Adam,"),
        text(theme, 696, 144, "checkpoints"),
        arrow(theme, "M338 100H243"),
        text(theme, 290, 91, "x", at="middle"),
        arrow(theme, "M242 138H337"),
        text(theme, 290, 156, "f(x), ∇f(x)", at="middle"),
        arrow(theme, "M552 118H677"),
        text(theme, 615, 109, "samples", at="middle"),
        text(theme, 615, 138, "(Reverb queue)", at="middle"),
        arrow(theme, "M785 168V214H445V169"),
        text(theme, 615, 236, "new weights θ", at="middle"),
        box(theme, 8, 274, 904, 90, fill["optimus"]),
        text(theme, 26, 302, "optimus/", bold=True),
        text(theme, 104, 302, "the library under all of them; knows nothing of processes"),
        text(
            theme,
            26,
            328,
            "the learned optimizer · optimus.minimize · optimus.as_optax · trained weights",
        ),
        text(theme, 26, 350, "tasks · meta-losses · estimators · benchmarks"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for each in (LIGHT, DARK):
        (OUT / f"system-{each.name}.svg").write_text(draw(each))
