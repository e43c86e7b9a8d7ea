"""Geoms and inertial elements of MJCF as masses and solid shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from workers.physics.model.mjcf_xml import Angles, Element, matrix, orientation, z_to
from workers.physics.model.rotations import multiply
from workers.physics.model.shapes import Shape, Vector, vector

Place = tuple[np.ndarray, np.ndarray]  # where a body's frame lies in its link: origin, quaternion
_SIZES = {"sphere": 1, "capsule": 2, "box": 3}


@dataclass(frozen=True)
class Mass:
    """Mass (kg), its centre [3] (m) and its inertia about that [3, 3], in the link's axes."""

    mass: float
    center: np.ndarray
    inertia: np.ndarray


Six = tuple[float, float, float, float, float, float]


def total(masses: list[Mass], factor: float) -> tuple[float, Vector, Six]:
    """Mass, centre and inertia (xx yy zz xy xz yz) of all together, mass times `factor`."""
    mass = sum(part.mass for part in masses)
    if mass == 0:
        return 0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    com = np.sum([part.mass / mass * part.center for part in masses], axis=0)
    inertia = np.zeros((3, 3))
    for part in masses:
        d = part.center - com
        inertia += part.inertia + part.mass * (d @ d * np.eye(3) - np.outer(d, d))
    entries = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    # Zeros that rounding made 1e-18 would cost arithmetic in every step: they are structure.
    small = 1e-14 * np.trace(inertia)
    numbers = (float(inertia[entry]) for entry in entries)
    xx, yy, zz, xy, xz, yz = (factor * v if abs(v) > small else 0.0 for v in numbers)
    return factor * mass, vector(com), (xx, yy, zz, xy, xz, yz)


def inertial_mass(element: Element, place: Place, angles: Angles) -> Mass:
    """What an <inertial> says."""
    mass = element.number("mass")
    if mass < 0:
        element.fail("mass must not be negative")
    origin, turn = place
    center = origin + matrix(turn) @ element.numbers("pos", 3)
    r = matrix(multiply(turn, orientation(element, angles)))
    if "fullinertia" in element.attributes:
        xx, yy, zz, xy, xz, yz = element.numbers("fullinertia", 6)
        inertia = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    else:
        inertia = np.diag(element.numbers("diaginertia", 3))
    if np.linalg.eigvalsh(inertia).min() < 0 or (mass > 0) != (np.trace(inertia) > 0):
        element.fail("inertia must be positive definite")
    return Mass(mass, center, r @ inertia @ r.T)


def geom_shape(geom: Element, place: Place, angles: Angles) -> Shape:
    """A geom as a solid in its link's axes. ValueError naming a shape that is not supported."""
    kind = "mesh" if "mesh" in geom.attributes else geom.get("type", "sphere")
    if kind not in _SIZES:
        geom.fail(f"type {kind!r} is not supported, only sphere, capsule and box are")
    if geom.get("shellinertia", "false") != "false":
        geom.fail("shellinertia is not supported")
    size = geom.numbers("size", None)
    ends = "fromto" in geom.attributes
    wanted = 1 if ends and kind == "capsule" else 2 if ends else _SIZES[kind]
    if len(size) < wanted or (size[:wanted] <= 0).any():
        geom.fail(f"size needs {wanted} positive number(s), got {geom.get('size')!r}")
    if ends:
        a, b = np.split(geom.numbers("fromto", 6), 2)
        length = float(np.linalg.norm(b - a))
        if kind == "sphere" or length < 1e-10:
            geom.fail("fromto needs a capsule or box and two different points")
        center, turn = (a + b) / 2, z_to((a - b) / length)
        size = np.array([*size[:wanted], length / 2])
        if kind == "box":
            size = np.array([size[0], size[1], length / 2])
    else:
        center, turn = geom.numbers("pos", 3, "0 0 0"), orientation(geom, angles)
    origin, frame = place
    center = origin + matrix(frame) @ center
    rotation = _snapped(matrix(multiply(frame, turn)))
    if kind == "sphere":
        whole, volume = (float(size[0]),), 4 / 3 * math.pi * size[0] ** 3
    elif kind == "capsule":
        radius, length = float(size[0]), 2 * float(size[1])
        whole = (radius, length)  # type: ignore[assignment]
        volume = math.pi * radius**2 * (length + 4 / 3 * radius)
    else:
        whole = tuple(2 * float(edge) for edge in size[:3])  # type: ignore[assignment]
        volume = float(np.prod(whole))
    mass = (
        geom.number("mass")
        if "mass" in geom.attributes
        else (geom.number("density", 1000.0) * volume)
    )
    if mass < 0:
        geom.fail("mass must not be negative")
    return Shape(kind, whole, float(mass), vector(center), rotation)


def _snapped(rotation: np.ndarray) -> np.ndarray:
    """Quarter turns without rounding, so that exact zeros stay structure."""
    rounded = np.round(rotation)
    return rounded if np.abs(rotation - rounded).max() < 1e-12 else rotation
