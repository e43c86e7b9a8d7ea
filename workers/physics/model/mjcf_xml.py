"""What MJCF's XML means: which names are known, default classes, orientations."""

from dataclasses import dataclass

import numpy as np

from workers.physics.model.elements import Element
from workers.physics.model.rotations import NO_TURN, about, from_euler, from_matrix, z_to


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
        return NO_TURN
    key = keys[0]
    values = element.numbers(key, {"euler": 3, "zaxis": 3, "xyaxes": 6}.get(key, 4))
    if key == "quat":
        return element.unit(key, values)
    if key == "axisangle":
        return about(element.unit(key, values[:3]), values[3] * angles.unit)
    if key == "zaxis":
        return z_to(element.unit(key, values))
    if key == "euler":
        return from_euler(angles.sequence, values * angles.unit)
    x = element.unit(key, values[:3])
    y = element.unit(key, values[3:] - x * (x @ values[3:]))
    return from_matrix(np.stack([x, y, np.cross(x, y)], axis=1))
