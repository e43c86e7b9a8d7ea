"""Draws docs/assets/motion-{light,dark}.png, the picture of the README and of the home page,
and docs/assets/roll-{light,dark}.png, that of the tutorial on motions.

    optimus bench physics --split test --windows 12 --seconds 0.5 --methods optimus,bfgs,l_bfgs_b \
        --out runs/motion
    python scripts/draw_motion.py runs/motion runs/compared/cells/optimus-roll@0.000-*.npz

Left: a window of the test clips after 20 evaluations, at its last moment, by Optimus and by BFGS,
with the reference behind them. Right: the median loss over all windows of that benchmark. The table
of docs/results/physics-flagship.md beside that picture is printed. The roll is of the cell that the
tutorial makes, at two moments.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.colors
import numpy as np
from PIL import Image

from optimus.bench.storage import markdown_table
from workers.physics.benchmark import cells
from workers.physics.benchmark.methods import METHODS, Models
from workers.physics.loss import PhysicsOptions, humanoid, reconstruction
from workers.physics.loss.metrics import COLUMNS
from workers.physics.rendering import drawing, render, showing

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CLIP, START, SECONDS, EVALUATIONS = "cartwheel", 16 / 30, 0.5, 20
SHOWN = f"{CLIP}@{START:.3f}"  # name of that window
TOP = 130  # rows of sky that are cut off
OUT = Path(__file__).resolve().parents[1] / "docs" / "assets"
NAMES = {"optimus": "Optimus", "bfgs": "BFGS", "l_bfgs_b": "L-BFGS-B"}


@dataclass(frozen=True)
class Theme:
    """Colours of one form of the picture."""

    name: str
    ink: str
    sky: tuple[int, int, int]
    ground: tuple[int, int, int]
    grid: tuple[int, int, int]
    shadow: tuple[int, int, int]
    trunk: tuple[int, int, int]
    ghost: tuple[int, int, int]
    curves: tuple[str, str, str]


LIGHT = Theme(
    "light",
    "#24292f",
    (255, 255, 255),
    (238, 240, 243),
    (208, 212, 218),
    (205, 209, 215),
    (52, 58, 68),
    (160, 167, 176),
    ("#0969da", "#bc4c00", "#6e7781"),
)
DARK = Theme(
    "dark",
    "#d0d7de",
    (13, 17, 23),
    (30, 36, 44),
    (54, 62, 72),
    (46, 53, 62),
    (190, 198, 208),
    (104, 112, 122),
    ("#58a6ff", "#f0883e", "#8b949e"),
)


def colour(theme: Theme) -> None:
    """Has `workers.physics.rendering.drawing` draw in the colours of a theme."""
    drawing.WIDTH, drawing.HEIGHT = 500, 560
    drawing.SKY, drawing.GROUND, drawing.GRID = theme.sky, theme.ground, theme.grid
    drawing.GHOST, drawing.SIDES[""] = theme.ghost, theme.trunk
    fixed = {(255, 255, 255): theme.sky, (208, 211, 216): theme.shadow}  # outlines, the shadow

    def limb(pen: Any, ends: Any, radii: Any, color: Any, plain: Any = plain_limb) -> None:
        plain(pen, ends, radii, fixed.get(color, color))

    drawing._limb = limb


plain_limb = drawing._limb


def panels(theme: Theme) -> list[tuple[str, Any]]:
    """(title, picture) of each method."""
    colour(theme)
    task = reconstruction.of_clip(CLIP, START, SECONDS, PhysicsOptions())
    motions = {}
    for method in ("optimus", "bfgs"):
        models = Models("optimus-physics", "adafactor-mlp-physics")
        run = METHODS[method](task, np.zeros(task.dim), EVALUATIONS, models)
        motions[method] = task.sites_of(task.states(run.points[-1]))
    reference = task.reference
    everything = np.concatenate([reference, *motions.values()])
    camera = drawing.camera_for(everything)
    low, high = everything[..., :2].min(axis=(0, 1)), everything[..., :2].max(axis=(0, 1))
    ground = np.stack([np.floor(2 * (low - 0.6)) / 2, np.ceil(2 * (high + 0.6)) / 2])
    found = []
    for method, motion in motions.items():
        error = 1000 * float(np.mean(np.linalg.norm(motion - reference, axis=-1)))
        bodies = [(reference[-1], True), (motion[-1], False)]
        image = drawing.picture(camera, bodies, humanoid(), ground, "", "").convert("RGBA")
        pixels = np.array(image)
        pixels[(pixels[..., :3] == theme.sky).all(axis=-1), 3] = 0
        found.append((f"{NAMES[method]}: off by {error:.0f} mm", pixels[TOP:]))
    return found


def draw(theme: Theme, curves: dict[str, list[float]]) -> Path:
    """Writes one form; returns its path."""
    plt.rcParams.update({"font.size": 13, "font.family": "DejaVu Sans", "text.color": theme.ink})
    figure, axes = plt.subplots(
        1, 3, figsize=(11.6, 3.5), width_ratios=(1, 1, 1.25), layout="constrained"
    )
    for axis, (title, pixels) in zip(axes, panels(theme)):
        axis.imshow(pixels)
        axis.set_axis_off()
        axis.set_title(title, fontsize=15, color=theme.ink)
    axis = axes[2]
    for (method, values), shade in zip(curves.items(), theme.curves):
        axis.loglog(np.arange(1, len(values) + 1), values, color=shade, lw=2.4, label=NAMES[method])
    axis.axvline(EVALUATIONS, color=theme.ink, lw=0.8, ls=":")
    axis.set_xlabel("evaluations", color=theme.ink)
    axis.set_title("median loss, 12 windows", fontsize=15, color=theme.ink)
    axis.tick_params(colors=theme.ink, which="both")
    axis.grid(alpha=0.2, color=theme.ink)
    axis.patch.set_alpha(0)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.ink)
    axis.legend(frameon=False, labelcolor=theme.ink)
    path = OUT / f"motion-{theme.name}.png"
    figure.savefig(path, dpi=150, transparent=True)
    plt.close(figure)
    return path


def draw_cell(theme: Theme, cell: Path) -> Path:
    """Writes one form of the tutorial's picture; returns its path."""
    colour(theme)
    drawing.WIDTH, drawing.HEIGHT = render.WIDTH, render.HEIGHT
    red, green, blue = matplotlib.colors.to_rgb(theme.ink)
    drawing.INK = (round(255 * red), round(255 * green), round(255 * blue))
    shown = showing.of_cell(cell)
    every = render.frames(shown.reference, shown.motion, humanoid(), shown.rate, shown.title)
    chosen = [np.array(every[k]) for k in (len(every) // 2, -1)]
    sheet = np.concatenate(chosen, axis=1)[:, :, :3]
    sheet[(sheet == 255).all(axis=-1)] = theme.sky
    path = OUT / f"roll-{theme.name}.png"
    Image.fromarray(sheet).quantize(96, dither=0).save(path, optimize=True)
    return path


def after(bench: Path, count: int) -> list[str]:
    """A table of the windows after so many evaluations: losses and joint errors (MPJPE-G)."""
    column = COLUMNS.index("mpjpe_g")
    found: dict[str, dict[str, tuple[float, float]]] = {method: {} for method in NAMES}
    for path in sorted((bench / "cells").glob("*.npz")):
        cell = cells.load(path.parent, path.stem)
        if cell is not None and cell.method in NAMES:
            newest = np.searchsorted(cell.at, count) - 1
            error = float(cell.metrics[newest, column])
            found[cell.method][cell.window] = float(cell.best[count - 1]), error
    rows = []
    for method, windows in found.items():
        loss, error = np.median(list(windows.values()), axis=0)
        shown = windows[SHOWN][1]
        row = {"method": NAMES[method], "loss, median": f"{loss:.3g}"}
        row |= {"mm, median": f"{error:.1f}", "mm, the picture's window": f"{shown:.1f}"}
        rows.append(row)
    return markdown_table(rows)


def main(bench: Path, cell: Path) -> None:
    """Draws both forms of both, from a benchmark's folder and a cell of another."""
    print(*after(bench, EVALUATIONS), sep="\n")
    curves: dict[str, list[float]] = {method: [] for method in NAMES}
    with (bench / "curves.csv").open() as file:
        for row in csv.DictReader(file):
            if row["method"] in curves:
                curves[row["method"]].append(float(row["loss_median"]))
    OUT.mkdir(exist_ok=True)
    for theme in (LIGHT, DARK):
        print(draw(theme, curves))
        print(draw_cell(theme, cell))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
