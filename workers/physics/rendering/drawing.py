"""Stick figures on a ground grid, drawn without a display (Pillow, which comes with matplotlib)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workers.physics.model import PhysicsModel

WIDTH, HEIGHT, OVERSAMPLING = 360, 400, 3
FIELD, ELEVATION, AZIMUTH = 28.0, 12.0, 50.0  # deg: of view, above the ground, from +x to +y
SIDES = {"left": (38, 110, 190), "right": (206, 82, 60), "": (52, 58, 68)}
GHOST, GRID, GROUND, SKY = (176, 182, 190), (205, 209, 214), (231, 233, 236), (250, 250, 251)
INK = (70, 74, 82)


@dataclass(frozen=True)
class View:
    """Where the picture is taken from: eye [3] m, axes [3, 3] (rows right, up, forward), focal
    length in pixels."""

    eye: np.ndarray
    axes: np.ndarray
    focal: float

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [..., 2] in the oversampled picture and depth [...], m, at least 0.1."""
        right, up, depth = np.moveaxis((points - self.eye) @ self.axes.T, -1, 0)
        depth = np.maximum(depth, 0.1)
        center = OVERSAMPLING * np.array([WIDTH / 2, HEIGHT / 2])
        return center + self.focal * np.stack([right, -up], axis=-1) / depth[..., None], depth


def camera_for(points: np.ndarray) -> View:
    """A camera that sees points [..., 3], from a side that shows how they travel."""
    points = points.reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    middle[2] = max(0.75, middle[2])
    spread = points[:, :2] - points[:, :2].mean(axis=0)
    along = np.linalg.svd(spread, full_matrices=False)[2][0]  # the main direction of travel
    azimuth = np.arctan2(along[1], along[0]) - np.radians(AZIMUTH)
    cos, sin = np.cos(np.radians(ELEVATION)), np.sin(np.radians(ELEVATION))
    forward = -np.array([np.cos(azimuth) * cos, np.sin(azimuth) * cos, sin])
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), forward])
    reach = np.max(np.abs((points - middle) @ axes.T), axis=0)
    slope = np.tan(np.radians(FIELD / 2))
    far = max(1.12 * reach[0] / slope * HEIGHT / WIDTH, 1.25 * reach[1] / slope, 2.0) + reach[2]
    return View(middle - far * forward, axes, OVERSAMPLING * HEIGHT / 2 / slope)


def segments(model: PhysicsModel) -> list[tuple[int, int, str, float]]:
    """Limbs as (site, site, side, radius m): from each body's origin to its children and ends."""
    names = [site.name for site in model.sites]
    origin = {site.body: i for i, site in reversed(list(enumerate(model.sites)))}
    found = []
    for i, site in enumerate(model.sites):
        parent = model.bodies[site.body].parent if origin[site.body] == i else site.body
        if parent < 0:
            continue
        side = names[i].split("_")[0] if names[i].startswith(("left_", "right_")) else ""
        trunk = side == "" or names[i].endswith(("hip", "shoulder"))
        found.append((origin[parent], i, "" if trunk else side, 0.05 if trunk else 0.042))
    return found


def picture(
    camera: View,
    bodies: Sequence[tuple[np.ndarray, bool]],
    model: PhysicsModel,
    ground: np.ndarray,
    caption: str,
    corner: str,
) -> Any:
    """One panel, an RGB image.

    Args:
      camera: that sees it.
      bodies: (sites `[n_sites, 3]`, whether it is only a ghost), the first drawn first.
      model: whose sites they are.
      ground: `[2, 2]`, low and high corner of the grid, m.
      caption, corner: texts at the upper left and right.
    """
    from PIL import Image, ImageDraw

    size = (OVERSAMPLING * WIDTH, OVERSAMPLING * HEIGHT)
    image = Image.new("RGB", size, SKY)
    pen = ImageDraw.Draw(image)
    _draw_ground(pen, camera, ground)
    for sites, ghost in bodies:
        _draw_body(pen, camera, sites, model, ghost)
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    pen.text((12, 10), caption, fill=INK, font=_font(15))
    pen.text((WIDTH - 12, 10), corner, fill=INK, font=_font(15), anchor="ra")
    return image


def _font(size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except (TypeError, OSError):  # Pillow before 10.1, or one without FreeType
        return ImageFont.load_default()


def _draw_ground(pen: Any, camera: View, ground: np.ndarray) -> None:
    low, high = ground
    (left, near), (right, far) = ground
    corners = np.array([[left, near, 0], [right, near, 0], [right, far, 0], [left, far, 0]])
    pen.polygon([tuple(p) for p in camera.project(corners)[0]], fill=GROUND)
    for axis in (0, 1):
        for at in np.arange(low[axis], high[axis] + 1e-6, 0.5):
            ends = np.zeros((2, 3))
            ends[:, axis] = at
            ends[:, 1 - axis] = low[1 - axis], high[1 - axis]
            line, _ = camera.project(ends)
            pen.line([tuple(p) for p in line], fill=GRID, width=OVERSAMPLING)


def _draw_body(pen: Any, camera: View, sites: np.ndarray, model: PhysicsModel, ghost: bool) -> None:
    limbs = segments(model)
    at, depth = camera.project(sites)
    if not ghost:
        flat, far = camera.project(sites * np.array([1.0, 1.0, 0.0]))  # the shadow
        for a, b, _, radius in limbs:
            _limb(pen, flat[[a, b]], camera.focal * radius * 0.7 / far[[a, b]], (208, 211, 216))
    for a, b, side, radius in sorted(limbs, key=lambda limb: -(depth[limb[0]] + depth[limb[1]])):
        color = GHOST if ghost else SIDES[side]
        width = camera.focal * radius / depth[[a, b]] * (0.6 if ghost else 1.0)
        if not ghost:
            _limb(pen, at[[a, b]], width + OVERSAMPLING, (255, 255, 255))
        _limb(pen, at[[a, b]], width, color)
    names = [site.name for site in model.sites]
    if "head" in names:
        head = names.index("head")
        _disc(pen, at[head], camera.focal * 0.1 / depth[head], GHOST if ghost else SIDES[""])


def _limb(pen: Any, ends: np.ndarray, radii: np.ndarray, color: tuple[int, int, int]) -> None:
    """A line with round ends; radii in pixels at both."""
    along = ends[1] - ends[0]
    length = float(np.linalg.norm(along))
    if length > 1e-6:
        aside = radii[:, None] * (np.array([-along[1], along[0]]) / length)
        corners = [*(ends + aside), *(ends - aside)[::-1]]
        pen.polygon([tuple(p) for p in corners], fill=color)
    for end, radius in zip(ends, radii):
        _disc(pen, end, float(radius), color)


def _disc(pen: Any, center: np.ndarray, radius: float, color: tuple[int, int, int]) -> None:
    pen.ellipse([*(center - radius), *(center + radius)], fill=color)
