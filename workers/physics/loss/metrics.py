"""Errors of a motion against its reference, and measures of how it moves: mm, pixels, percent.

p, r: positions of the same J points over F frames, float64 `[F, J, 3]`, m (world, z up), at one
frame rate, which is 30 Hz unless the loss's options say otherwise. All are means over frames and
points. Names as in the paper's tables; its definitions of foot skate and total variation are not
published, so ours are written out here.
"""

import math

import numpy as np

from optimus.errors import require
from workers.physics.simulation.window_spec import Camera

MM = 1000.0
CONTACT_HEIGHT = 0.01  # m: a sole this near the ground, or in it, is in contact
SKATE_DISTANCE = 0.02  # m a frame
# What `every` computes, and as what a table shows it.
HEADS = {
    "mpjpe_g": "MPJPE-G mm",
    "mpjpe": "MPJPE mm",
    "mpjpe_pa": "MPJPE-PA mm",
    "mpjpe_2d": "2-D px",
    "foot_skate": "foot skate %",
    "total_variation": "TV mm/f²",
    "acceleration_error": "acc. error mm/f²",
}
COLUMNS = tuple(HEADS)
Soles = tuple[np.ndarray, np.ndarray, np.ndarray]  # centers, radii and feet of `foot_skate`


def mpjpe_global(p: np.ndarray, r: np.ndarray) -> float:
    """MPJPE-G, mm: mean |p - r| in world coordinates, p and r `[F, J, 3]`."""
    _same(p, r)
    return MM * float(np.mean(np.linalg.norm(p - r, axis=-1)))


def mpjpe(p: np.ndarray, r: np.ndarray, root: int = 0) -> float:
    """MPJPE, mm: mean |(p - p_root) - (r - r_root)| of p and r `[F, J, 3]`, with point `root` moved
    onto the origin in every frame."""
    return mpjpe_global(p - p[:, root : root + 1], r - r[:, root : root + 1])


def mpjpe_pa(p: np.ndarray, r: np.ndarray) -> float:
    """MPJPE-PA, mm: mean |s R p + t - r| after the similarity (s > 0, R a rotation, t) of each
    frame that minimises the sum of squares; p and r `[F, J, 3]`.

    R is a proper rotation: a mirrored pose stays wrong. Points that coincide are only moved.
    """
    _same(p, r)
    if not (np.isfinite(p).all() and np.isfinite(r).all()):
        return math.nan
    a, b = p - p.mean(axis=1, keepdims=True), r - r.mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(np.swapaxes(a, 1, 2) @ b)  # of sum over points of a b^T
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    s[:, -1] *= sign
    vt[:, -1] *= sign[:, None]
    size = np.sum(a * a, axis=(1, 2))
    scale = np.where(size > 0, np.sum(s, axis=1) / np.where(size > 0, size, 1.0), 1.0)
    return mpjpe_global(scale[:, None, None] * (a @ (u @ vt)), b)


def mpjpe_2d(p: np.ndarray, r: np.ndarray, weights: np.ndarray | None = None) -> float:
    """2-D error, pixels: mean |p - r| over points [F, J, 2], weighted by confidence [F, J].

    NaN where all weights are 0.
    """
    _same(p, r, 2)
    distance = np.linalg.norm(p - r, axis=-1)
    if weights is None:
        return float(np.mean(distance))
    total = float(np.sum(weights))
    return float(np.sum(weights * distance)) / total if total > 0 else math.nan


def foot_skate(centers: np.ndarray, radii: np.ndarray, feet: np.ndarray) -> float:
    """Foot skate, %: share of the F - 1 pairs of frames in which a foot in contact moves.

    A foot moves when a contact sphere of it lies within CONTACT_HEIGHT of the ground in both frames
    and its centre travels more than SKATE_DISTANCE horizontally between them. At 30 Hz that is a
    speed of 0.6 m/s.

    Args:
      centers: float64 [F, P, 3], m.
      radii: [P], m.
      feet: bool [P], spheres that belong to a foot.
    """
    centers, radii = centers[:, feet], radii[feet]
    touching = centers[..., 2] - radii < CONTACT_HEIGHT
    travel = np.linalg.norm(np.diff(centers[..., :2], axis=0), axis=-1)
    skating = touching[1:] & touching[:-1] & (travel > SKATE_DISTANCE)
    return 100.0 * float(np.mean(skating.any(axis=1)))


def total_variation(p: np.ndarray) -> float:
    """TV, mm/frame^2: mean |p[t + 1] - 2 p[t] + p[t - 1]|, the mean 3-D acceleration."""
    if len(p) < 3:
        return math.nan
    return MM * float(np.mean(np.linalg.norm(np.diff(p, 2, axis=0), axis=-1)))


def acceleration_error(p: np.ndarray, r: np.ndarray) -> float:
    """mm/frame^2: mean distance between the second differences of p and r `[F, J, 3]`."""
    _same(p, r)
    return total_variation(p - r)


def project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Pixels [F, J, 2] of world points [F, J, 3], m; NaN for those behind camera.near."""
    at = points @ np.array(camera.rotation).T + np.array(camera.translation)
    depth = np.where(at[..., 2] > camera.near, at[..., 2], np.nan)
    return (at[..., :2] / depth[..., None] * [camera.fx, camera.fy]) + [camera.cx, camera.cy]


def side_camera(root: np.ndarray) -> Camera:
    """The camera of `mpjpe_2d` where a window has none of its own: as in Human3.6M's recordings.

    Focal length 1145 pixels, centre (512, 512), 4.5 m from the root's position [3] (m) along -y and
    0.5 m above it.
    """
    x, y, z = map(float, root)
    return Camera.looking_at((x, y - 4.5, z + 0.5), (x, y, z), 1145.0, (512.0, 512.0))


def every(p: np.ndarray, r: np.ndarray, soles: Soles, camera: Camera) -> dict[str, float]:
    """All of `COLUMNS`.

    Args:
      p, r: `[F, J, 3]`, m; point 0 is the root.
      soles: what `foot_skate` takes.
      camera: of the 2-D error.
    """
    return {
        "mpjpe_g": mpjpe_global(p, r),
        "mpjpe": mpjpe(p, r),
        "mpjpe_pa": mpjpe_pa(p, r),
        "mpjpe_2d": mpjpe_2d(project(p, camera), project(r, camera)),
        "foot_skate": foot_skate(*soles),
        "total_variation": total_variation(p),
        "acceleration_error": acceleration_error(p, r),
    }


def _same(p: np.ndarray, r: np.ndarray, width: int = 3) -> None:
    both = p.shape == r.shape and p.ndim == 3 and p.shape[2] == width
    require(both, f"points must be two arrays [F, J, {width}], got {p.shape} and {r.shape}")
