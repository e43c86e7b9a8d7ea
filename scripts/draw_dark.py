"""Draws the dark form of plots and renderings that were drawn for light pages.

    python scripts/draw_dark.py docs/results/data/*-light.png     # writes *-dark.png beside them

Lightness is inverted and hue kept, so that both forms show the same data. White becomes the
background of the site's dark pages. The results' pictures are made by `optimus bench`, `optimus
sweep` and `optimus render`, which draw for light pages.
"""

from __future__ import annotations

import colorsys
import sys
from pathlib import Path

import numpy as np
from PIL import Image

DARKEST, LIGHTEST = 0.14, 0.90  # lightness of what was white, and of what was black
BACKGROUND = np.array([0x1E, 0x21, 0x29]) / 255  # of the site's dark pages
COLOURS = 255  # of the palette


def turned(red: float, green: float, blue: float) -> tuple[float, float, float]:
    """A colour of a light picture -> that of the dark one, all in 0..1."""
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    share = 1.0 - lightness
    lightness = DARKEST + (LIGHTEST - DARKEST) * share**0.8
    colour = np.array(colorsys.hls_to_rgb(hue, lightness, 0.9 * saturation))
    # Greys near white take the background's tint.
    weight = max(0.0, 1.0 - 4.0 * share) * (1.0 - saturation if share else 1.0)
    mixed = weight * BACKGROUND + (1.0 - weight) * colour
    return float(mixed[0]), float(mixed[1]), float(mixed[2])


def dark(picture: Image.Image) -> Image.Image:
    """The dark form of a picture, with a palette."""
    few = picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=0)
    palette = np.array(few.getpalette(), dtype=float).reshape(-1, 3) / 255
    colours = [channel for colour in palette for channel in turned(*colour)]
    few.putpalette([round(255 * channel) for channel in colours])
    return few


def opened(path: Path) -> Image.Image:
    """A picture of a file, its pixels read."""
    with Image.open(path) as picture:
        return picture.copy()


def drawn(path: Path) -> Image.Image:
    """The dark form of a light picture's file."""
    return dark(opened(path))


def beside(path: Path) -> Path:
    """`X-dark.png` of `X-light.png`."""
    if not path.name.endswith("-light.png"):
        raise SystemExit(f"{path}: the name must end with -light.png")
    return path.with_name(path.name.replace("-light.png", "-dark.png"))


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures of one size, of 255."""
    first, second = (np.asarray(each.convert("RGB"), dtype=float) for each in (one, other))
    return float(np.mean(np.abs(first - second)))


if __name__ == "__main__":
    for light in map(Path, sys.argv[1:]):
        drawn(light).save(beside(light), optimize=True)
