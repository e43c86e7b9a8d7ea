"""Geoms and inertial elements of MJCF as masses and solid shapes."""

import math
from typing import cast

import numpy as np

from workers.physics.model.elements import Element
from workers.physics.model.mjcf_xml import Angles, orientation
from workers.physics.model.rotations import matrix, multiply, snapped, z_to
from workers.physics.model.shapes import Mass, Shape, Solid, combined, vector

Place = tuple[np.ndarray, np.ndarray]  # where a body's frame lies in its link: origin, quaternion
_SIZES = {"sphere": 1, "capsule": 2, "box": 3}


def total(masses: list[Mass], factor: float) -> Mass:
    """All together, mass times `factor`."""
    whole = combined(masses)
    # Zeros that rounding made 1e-18 would cost arithmetic in every step: they are structure.
    small = 1e-14 * np.trace(whole.inertia)
    inertia = np.where(np.abs(whole.inertia) > small, factor * whole.inertia, 0.0)
    return Mass(factor * whole.mass, whole.center, inertia)


def inertial_mass(element: Element, place: Place, angles: Angles) -> Mass:
    """What an <inertial> says."""
    mass = element.number("mass")
    element.require(mass >= 0, "mass must not be negative")
    origin, turn = place
    center = origin + matrix(turn) @ element.numbers("pos", 3)
    r = matrix(multiply(turn, orientation(element, angles)))
    if "fullinertia" in element.attributes:
        xx, yy, zz, xy, xz, yz = element.numbers("fullinertia", 6)
        inertia = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    else:
        inertia = np.diag(element.numbers("diaginertia", 3))
    definite = np.linalg.eigvalsh(inertia).min() >= 0 and (mass > 0) == (np.trace(inertia) > 0)
    element.require(definite, "inertia must be positive definite")
    return Mass(mass, center, r @ inertia @ r.T)


def geom_shape(geom: Element, place: Place, angles: Angles) -> Shape:
    """A geom as a solid in its link's axes. ValueError naming a shape that is not supported."""
    kind = "mesh" if "mesh" in geom.attributes else geom.get("type", "sphere")
    what = f"type {kind!r} is not supported, only sphere, capsule and box are"
    geom.require(kind in _SIZES, what)
    geom.require(geom.get("shellinertia", "false") == "false", "shellinertia is not supported")
    size = geom.numbers("size", None)
    ends = "fromto" in geom.attributes
    wanted = 1 if ends and kind == "capsule" else 2 if ends else _SIZES[kind]
    positive = len(size) >= wanted and bool((size[:wanted] > 0).all())
    geom.require(positive, f"size needs {wanted} positive number(s), got {geom.get('size')!r}")
    if ends:
        a, b = np.split(geom.numbers("fromto", 6), 2)
        length = float(np.linalg.norm(b - a))
        apart = kind != "sphere" and length >= 1e-10
        geom.require(apart, "fromto needs a capsule or box and two different points")
        center, turn = (a + b) / 2, z_to((a - b) / length)
        size = np.array([*size[:wanted], length / 2])
    else:
        center, turn = geom.numbers("pos", 3, "0 0 0"), orientation(geom, angles)
    origin, frame = place
    center = origin + matrix(frame) @ center
    rotation = snapped(matrix(multiply(frame, turn)), 1e-12)
    radius, *others = size[: _SIZES[kind]].tolist()
    whole = (radius, *(2 * half for half in others))
    if kind == "sphere":
        volume = 4 / 3 * math.pi * radius**3
    elif kind == "capsule":
        volume = math.pi * radius**2 * (whole[1] + 4 / 3 * radius)
    else:
        whole = (2 * radius, *whole[1:])
        volume = float(np.prod(whole))
    given = "mass" in geom.attributes
    mass = geom.number("mass") if given else geom.number("density", 1000.0) * volume
    geom.require(mass >= 0, "mass must not be negative")
    return Shape(cast("Solid", kind), whole, mass, vector(center), rotation)
