"""Solid shapes: inertia and contact spheres."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Vector = tuple[float, float, float]
Ball = tuple[Vector, float]  # center, radius
Solid = Literal["point", "sphere", "capsule", "box"]  # a capsule lies along its local z


@dataclass(frozen=True)
class Mass:
    """Mass (kg), its centre `[3]` (m) and its inertia about that `[3, 3]`, in the link's axes."""

    mass: float
    center: np.ndarray
    inertia: np.ndarray

    @property
    def entries(self) -> tuple[float, float, float, float, float, float]:
        """Of the inertia: xx yy zz xy xz yz."""
        i = self.inertia.tolist()
        return i[0][0], i[1][1], i[2][2], i[0][1], i[0][2], i[1][2]


def combined(masses: Sequence[Mass]) -> Mass:
    """All together; of nothing, or of massless things, zeros."""
    mass = sum(part.mass for part in masses)
    if mass <= 0:
        return Mass(0.0, np.zeros(3), np.zeros((3, 3)))
    com = np.sum([part.mass / mass * part.center for part in masses], axis=0)
    inertia = np.zeros((3, 3))
    for part in masses:
        d = part.center - com
        inertia += part.inertia + part.mass * (d @ d * np.eye(3) - np.outer(d, d))
    return Mass(mass, com, inertia)


@dataclass(frozen=True)
class Shape:
    """Solid of uniform density: `size` is (radius,), (radius, length) or the three box edges."""

    kind: Solid
    size: tuple[float, ...]
    mass: float
    center: Vector
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))

    def inertia(self) -> np.ndarray:
        """Inertia about the centre, link axes, kg m^2 [3, 3]."""
        m = self.mass
        if self.kind == "sphere":
            moments = [0.4 * m * self.size[0] ** 2] * 3
        elif self.kind == "capsule":
            moments = _capsule_moments(m, *self.size)
        elif self.kind == "box":
            x, y, z = (edge**2 for edge in self.size)
            moments = [m * (y + z) / 12, m * (x + z) / 12, m * (x + y) / 12]
        else:
            moments = [0.0] * 3
        return self.rotation @ np.diag(moments) @ self.rotation.T

    def whole_mass(self) -> Mass:
        """The shape as a mass."""
        return Mass(self.mass, np.array(self.center), self.inertia())

    def balls(self) -> list[Ball]:
        """Contact spheres: capsule ends; for a box the four spheres that touch all its faces."""
        if self.kind == "sphere":
            return [(self.center, self.size[0])]
        if self.kind == "capsule":
            half = self.size[1] / 2
            ends = [np.array([0.0, 0.0, half]), np.array([0.0, 0.0, -half])]
            return [(self._at(end), self.size[0]) for end in ends]
        if self.kind == "box":
            edges = np.array(self.size) / 2
            radius = float(edges.min())
            reach = edges - radius  # zero along the thinnest edge
            signs = itertools.product((-1, 1), repeat=3)
            corners = {tuple(reach * np.array(sign) + 0.0) for sign in signs}
            return [(self._at(np.array(corner)), radius) for corner in sorted(corners)]
        return []

    def _at(self, local: np.ndarray) -> Vector:
        return vector(np.array(self.center) + self.rotation @ local)


def vector(values: np.ndarray) -> Vector:
    """Values `[3]` as plain floats, without negative zeros."""
    x, y, z = (float(v) + 0.0 for v in values)
    return x, y, z


def _capsule_moments(mass: float, radius: float, length: float) -> list[float]:
    """A cylinder of `length` along z with two half balls, uniform density."""
    cylinder, ball = radius**2 * length, 4 / 3 * radius**3
    mc, mb = mass * cylinder / (cylinder + ball), mass * ball / (cylinder + ball)
    axial = mc * radius**2 / 2 + mb * 0.4 * radius**2
    across = mc * (length**2 / 12 + radius**2 / 4)
    across += mb * (0.4 * radius**2 + length**2 / 4 + 3 / 8 * length * radius)
    return [across, across, axial]
