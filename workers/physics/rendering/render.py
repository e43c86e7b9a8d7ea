"""A reconstruction beside its reference, as GIF, MP4 or one PNG; no display, nothing interactive.

    frames = render.frames(reference, motion, model, rate=30.0)     # sites [F, n_sites, 3] each
    render.save(frames, Path("walk.gif"), rate=30.0)

MP4 needs the program ffmpeg. Left limbs are blue, right ones red; behind the reconstruction the
reference stands in grey.
"""

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from optimus.errors import require
from workers.physics.model import PhysicsModel
from workers.physics.rendering.drawing import HEIGHT, WIDTH, camera_for, picture

SUFFIXES = (".gif", ".mp4", ".png")
STRIP = 6  # moments shown in a PNG
FFMPEG_SECONDS = 60.0


def frames(
    reference: np.ndarray,
    motion: np.ndarray,
    model: PhysicsModel,
    rate: float,
    title: str = "reconstruction",
) -> list[Any]:
    """RGB pictures, one per frame: reference left, motion right.

    Args:
      reference, motion: site positions float64 [F, n_sites, 3], m, z up.
      rate: frames a second.

    Raises:
      ValueError: other shapes, or positions that are not finite.
    """
    from PIL import Image

    wanted = (len(reference), len(model.sites), 3)
    both_are = reference.shape == motion.shape == wanted and len(reference) > 0
    got = f"{reference.shape} and {motion.shape}"
    require(both_are, f"motions must be two arrays [F, {len(model.sites)}, 3], got {got}")
    both = np.concatenate([reference, motion])
    require(bool(np.isfinite(both).all()), "a motion that is not finite cannot be drawn")
    camera = camera_for(both)
    low, high = both[..., :2].min(axis=(0, 1)), both[..., :2].max(axis=(0, 1))
    ground = np.stack([np.floor(2 * (low - 0.6)) / 2, np.ceil(2 * (high + 0.6)) / 2])
    pictures = []
    for i, (left, right) in enumerate(zip(reference, motion)):
        time = f"{(i + 1) / rate:.2f} s"
        error = f"{1000 * float(np.mean(np.linalg.norm(left - right, axis=-1))):.0f} mm"
        panels = [
            picture(camera, [(left, False)], model, ground, "reference", time),
            picture(camera, [(left, True), (right, False)], model, ground, title, error),
        ]
        sheet = Image.new("RGB", (2 * WIDTH + 2, HEIGHT), (255, 255, 255))
        for k, panel in enumerate(panels):
            sheet.paste(panel, (k * (WIDTH + 2), 0))
        pictures.append(sheet)
    return pictures


def check_path(path: Path) -> None:
    """ValueError, one line, when `save` could not write such a file here."""
    require(path.suffix in SUFFIXES, f"{path}: want a file that ends in {', '.join(SUFFIXES)}")
    able = path.suffix != ".mp4" or shutil.which("ffmpeg") is not None
    require(able, f"{path}: MP4 needs the program ffmpeg, which is not here; write a .gif")


def save(pictures: list[Any], path: Path, rate: float) -> Path:
    """Writes the pictures as GIF or MP4, or a strip of STRIP moments as PNG.

    A GIF counts hundredths of a second, so its rate is the nearest that they allow.
    """
    check_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gif":
        # One palette for all: choosing one for each frame makes colours flicker.
        palette = _stacked(_spread(pictures, 3)).quantize(96)
        images = [each.quantize(palette=palette, dither=0) for each in pictures]
        times = np.diff(np.round(100 / rate * np.arange(len(images) + 1))) * 10
        times[-1] += 600  # rest at the end before it starts again
        how = {"duration": [int(t) for t in times], "loop": 0, "optimize": False}
        images[0].save(path, save_all=True, append_images=images[1:], **how)
    elif path.suffix == ".mp4":
        _ffmpeg(pictures, path, rate)
    else:
        _stacked(_spread(pictures, STRIP)).save(path)
    return path


def _spread(pictures: list[Any], count: int) -> list[Any]:
    """The first, the last and evenly spread ones between."""
    at = np.linspace(0, len(pictures) - 1, min(count, len(pictures))).round().astype(int)
    return [pictures[i] for i in at]


def _stacked(pictures: list[Any]) -> Any:
    """Pictures on one sheet, two in a row."""
    from PIL import Image

    width, height = pictures[0].size
    columns = min(2, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    for i, each in enumerate(pictures):
        sheet.paste(each, (i % columns * width, i // columns * height))
    return sheet


def _ffmpeg(pictures: list[Any], path: Path, rate: float) -> None:
    width, height = pictures[0].size
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", f"{rate:g}", "-i", "-", "-pix_fmt", "yuv420p"]
    data = b"".join(each.tobytes() for each in pictures)
    command.append(str(path))
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=FFMPEG_SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path}: ffmpeg did not finish in {FFMPEG_SECONDS:g} s") from None
    reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
    require(done.returncode == 0, f"{path}: ffmpeg: {reason[-1]}")
