"""Unit quaternions (w, x, y, z) on numpy arrays `[..., 4]`."""

import math
from collections.abc import Iterable

import numpy as np

NO_TURN = np.array([1.0, 0.0, 0.0, 0.0])


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product a b `[..., 4]`: turn by b first, then by a."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(q: np.ndarray) -> np.ndarray:
    """The turn back, `[..., 4]`."""
    return q * np.array([1.0, -1.0, -1.0, -1.0])


def snapped(rotation: np.ndarray, tolerance: float) -> np.ndarray:
    """A matrix `[3, 3]` of quarter turns without rounding, so that exact zeros stay structure."""
    rounded = np.round(rotation)
    return rounded if np.abs(rotation - rounded).max() < tolerance else rotation


def matrix(q: np.ndarray) -> np.ndarray:
    """Rotation matrix `[3, 3]` of a unit quaternion `[4]`."""
    across = np.cross(np.eye(3), q[1:])  # across @ p = (x, y, z) x p
    return np.eye(3) + 2 * (q[0] * across + across @ across)


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Unit quaternion `[4]` of a turn about a unit axis `[3]`, rad."""
    return np.array([math.cos(angle / 2), *(math.sin(angle / 2) * np.asarray(axis))])


def z_to(direction: np.ndarray) -> np.ndarray:
    """The shortest turn `[4]` from the z axis to a unit direction `[3]`, as MuJoCo's zaxis."""
    axis = np.cross([0.0, 0.0, 1.0], direction)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-10:
        return about(np.array([1.0, 0.0, 0.0]), math.atan2(0.0, float(direction[2])))
    return about(axis / sine, math.atan2(sine, float(direction[2])))


def from_euler(sequence: str, angles: Iterable[float]) -> np.ndarray:
    """Unit quaternion `[4]` of turns one after the other, rad.

    sequence: their axes, such as "xyz": in lower case those that moved, in upper case fixed ones.
    """
    q = NO_TURN
    for letter, angle in zip(sequence, angles):
        turn = about(np.eye(3)["xyz".index(letter.lower())], angle)
        q = multiply(q, turn) if letter.islower() else multiply(turn, q)
    return q


def from_matrix(r: np.ndarray) -> np.ndarray:
    """Unit quaternion `[4]` of a rotation matrix `[3, 3]`."""
    from scipy.spatial.transform import Rotation

    return np.roll(Rotation.from_matrix(r).as_quat(), 1)  # SciPy's scalar comes last


def log_map(q: np.ndarray) -> np.ndarray:
    """Rotation vector [..., 3] (rad, at most half a turn) of a unit quaternion."""
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., :1])
    return q[..., 1:] * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 2.0)


def exp_map(v: np.ndarray) -> np.ndarray:
    """Unit quaternion of a rotation vector [..., 3] (rad)."""
    angle = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.concatenate([np.cos(angle / 2), v * 0.5 * np.sinc(angle / (2 * np.pi))], axis=-1)


def slerp(a: np.ndarray, b: np.ndarray, u: np.ndarray) -> np.ndarray:
    """From a (u = 0) to b (u = 1) [T, 4], u [T, 1]; the sign of a is kept."""
    return multiply(a, exp_map(u * log_map(multiply(conjugate(a), b))))
