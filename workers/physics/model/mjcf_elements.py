"""What MJCF's elements mean: known names, default classes, orientations, masses and solids."""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np

from workers.physics.model import rotations
from workers.physics.model.elements import Element
from workers.physics.model.shapes import Mass, Shape, Solid, combined, vector


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Sections that are read, or that have no say in the motion.
SKIPPED = _words(
    "visual statistic size asset sensor contact custom keyframe default compiler option worldbody "
    "actuator"
)
# Attributes that are read, or that only concern pictures and MuJoCo's own solver.
_SOLVER = "name class group user "
KNOWN = {
    "body": _words(_SOLVER + "childclass pos quat axisangle euler xyaxes zaxis mocap gravcomp"),
    "joint": _words(
        _SOLVER + "type pos axis range limited damping armature stiffness frictionloss ref "
        "springref springdamper actuatorgravcomp margin solreflimit solimplimit solreffriction "
        "solimpfriction actuatorfrcrange actuatorfrclimited align"
    ),
    "geom": _words(
        _SOLVER + "type size fromto pos quat axisangle euler xyaxes zaxis mass density contype "
        "conaffinity condim friction margin gap solref solimp solmix priority material rgba "
        "shellinertia mesh"
    ),
}
# Elements inside a body.
INSIDE = _words("body joint freejoint geom site inertial camera light")
Place = tuple[np.ndarray, np.ndarray]  # where a body's frame lies in its link: origin, quaternion
_SIZES = {"sphere": 1, "capsule": 2, "box": 3}
_TURNS = ("quat", "axisangle", "euler", "xyaxes", "zaxis")


class Defaults:
    """Default classes: `<default class="a">` holds elements, classes within inherit from it."""

    def __init__(self, root: Element):
        self._classes: dict[str, dict[str, dict[str, str]]] = {"main": {}}
        for element in root.all("default"):
            self._read(element, "main", {})

    def _read(self, element: Element, name: str, inherited: dict[str, dict[str, str]]) -> None:
        name = element.get("class", name)
        values = {tag: dict(attributes) for tag, attributes in inherited.items()}
        for child in element.children:
            if child.tag != "default":
                values.setdefault(child.tag, {}).update(child.attributes)
        self._classes[name] = values
        for child in element.all("default"):
            child.require("class" in child.attributes, "lacks class")
            self._read(child, name, values)

    def resolve(self, element: Element, childclass: str) -> Element:
        """The element with what its class (or the body's childclass) sets by default."""
        name = element.get("class", childclass)
        element.require(name in self._classes, f"no default class {name!r}")
        merged = {**self._classes[name].get(element.tag, {}), **element.attributes}
        return Element(element.tag, merged, element.path, element.line, element.children)


@dataclass(frozen=True)
class Angles:
    """How the compiler element says angles are written."""

    unit: float  # rad per written unit
    sequence: str  # eulerseq: lower case about moving axes, upper case about fixed ones


def orientation(element: Element, angles: Angles) -> np.ndarray:
    """Unit quaternion `[4]` of quat, axisangle, euler, xyaxes or zaxis; identity without any."""
    keys = [key for key in _TURNS if key in element.attributes]
    element.require(len(keys) < 2, f"has more than one orientation: {', '.join(keys)}")
    if not keys:
        return rotations.NO_TURN
    key = keys[0]
    values = element.numbers(key, {"euler": 3, "zaxis": 3, "xyaxes": 6}.get(key, 4))
    if key == "quat":
        return element.unit(key, values)
    if key == "axisangle":
        return rotations.about(element.unit(key, values[:3]), values[3] * angles.unit)
    if key == "zaxis":
        return rotations.z_to(element.unit(key, values))
    if key == "euler":
        return rotations.from_euler(angles.sequence, values * angles.unit)
    x = element.unit(key, values[:3])
    y = element.unit(key, values[3:] - x * (x @ values[3:]))
    return rotations.from_matrix(np.stack([x, y, np.cross(x, y)], axis=1))


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
    center = origin + rotations.matrix(turn) @ element.numbers("pos", 3)
    r = rotations.matrix(rotations.multiply(turn, orientation(element, angles)))
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
        center, turn = (a + b) / 2, rotations.z_to((a - b) / length)
        size = np.array([*size[:wanted], length / 2])
    else:
        center, turn = geom.numbers("pos", 3, "0 0 0"), orientation(geom, angles)
    origin, frame = place
    center = origin + rotations.matrix(frame) @ center
    rotation = rotations.snapped(rotations.matrix(rotations.multiply(frame, turn)), 1e-12)
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
