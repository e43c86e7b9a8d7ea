"""MJCF as XML: elements that know their line, default classes, numbers and orientations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np

from workers.physics.model.rotations import from_matrix, multiply


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Sections that are read, or that have no say in the motion.
SKIPPED = _words(
    "visual statistic size asset sensor contact custom keyframe default compiler option worldbody "
    "actuator"
)
# Attributes that are read, or that only concern pictures and MuJoCo's own solver.
_SOLVER = _words("name class group user")
KNOWN = {
    "body": _SOLVER | _words("childclass pos quat axisangle euler xyaxes zaxis mocap gravcomp"),
    "joint": _SOLVER
    | _words(
        "type pos axis range limited damping armature stiffness frictionloss ref springref "
        "springdamper actuatorgravcomp margin solreflimit solimplimit solreffriction "
        "solimpfriction actuatorfrcrange actuatorfrclimited align"
    ),
    "geom": _SOLVER
    | _words(
        "type size fromto pos quat axisangle euler xyaxes zaxis mass density contype conaffinity "
        "condim friction margin gap solref solimp solmix priority material rgba shellinertia mesh"
    ),
}
# Elements inside a body.
INSIDE = _words("body joint freejoint geom site inertial camera light")


@dataclass
class Element:
    """An XML element. `attributes` hold the default class's values too, once resolved."""

    tag: str
    attributes: dict[str, str]
    path: Path
    line: int
    children: list[Element] = field(default_factory=list)

    def fail(self, what: str) -> NoReturn:
        """ValueError: file, line, element, what is wrong."""
        name = self.attributes.get("name")
        label = f"<{self.tag} name={name!r}>" if name else f"<{self.tag}>"
        raise ValueError(f"{self.path}, line {self.line}: {label}: {what}")

    def all(self, tag: str) -> list[Element]:
        return [child for child in self.children if child.tag == tag]

    def get(self, key: str, default: str = "") -> str:
        return self.attributes.get(key, default)

    def numbers(self, key: str, count: int | None, default: str | None = None) -> np.ndarray:
        """The attribute as finite numbers `[count]`; count None: any positive number of them."""
        words = self.attributes.get(key, default)
        if words is None:
            self.fail(f"lacks {key}")
        try:
            values = np.array([float(word) for word in words.split()])
        except ValueError:
            values = np.array([])
        wrong = len(values) == 0 or (count is not None and len(values) != count)
        if wrong or not np.isfinite(values).all():
            want = "finite numbers" if count is None else f"{count} finite number(s)"
            self.fail(f"{key} needs {want}, got {words!r}")
        return values

    def number(self, key: str, default: float | None = None) -> float:
        text = None if default is None else repr(default)
        return float(self.numbers(key, 1, text)[0])

    def choice(self, key: str, default: str, values: tuple[str, ...]) -> str:
        value = self.get(key, default)
        if value not in values:
            self.fail(f"{key} is {value!r}, want one of {', '.join(values)}")
        return value

    def known(self, keys: frozenset[str]) -> None:
        """Refuses attributes nobody knows: a misspelt one would change the model silently."""
        unknown = sorted(self.attributes.keys() - keys)
        if unknown:
            self.fail(f"has no attribute {unknown[0]!r}")

    def refuse(self, *zero: str) -> None:
        """Refuses attributes that would change the motion, unless they are zero."""
        for key in zero:
            if key in self.attributes and self.numbers(key, None).any():
                self.fail(f"{key} is not supported, want 0 or nothing")


def parse(path: Path) -> Element:
    """The root element; ValueError with file and line where the XML is broken."""
    parser = expat.ParserCreate()
    roots: list[Element] = []
    stack: list[Element] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, dict(attributes), path, parser.CurrentLineNumber)
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except expat.ExpatError as error:
        message = expat.ErrorString(error.code)
        raise ValueError(f"{path}, line {error.lineno}: not well-formed XML ({message})") from error
    if roots[0].tag != "mujoco":
        roots[0].fail("the root element must be <mujoco>")
    return roots[0]


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
            if "class" not in child.attributes:
                child.fail("lacks class")
            self._read(child, name, values)

    def resolve(self, element: Element, childclass: str) -> Element:
        """The element with what its class (or the body's childclass) sets by default."""
        name = element.get("class", childclass)
        if name not in self._classes:
            element.fail(f"no default class {name!r}")
        merged = {**self._classes[name].get(element.tag, {}), **element.attributes}
        return Element(element.tag, merged, element.path, element.line, element.children)


@dataclass(frozen=True)
class Angles:
    """How the compiler element says angles are written."""

    unit: float  # rad per written unit
    sequence: str  # eulerseq: lower case about moving axes, upper case about fixed ones


def matrix(q: np.ndarray) -> np.ndarray:
    """Rotation matrix `[3, 3]` of a unit quaternion `[4]`."""
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Unit quaternion `[4]` of a turn about a unit axis `[3]`, rad."""
    return np.array([math.cos(angle / 2), *(math.sin(angle / 2) * np.asarray(axis))])


def unit(element: Element, key: str, values: np.ndarray) -> np.ndarray:
    """The vector `[3]` or quaternion `[4]` at length 1; an error when its length is zero."""
    norm = float(np.linalg.norm(values))
    if norm < 1e-10:
        element.fail(f"{key} has length zero")
    return values / norm


def z_to(direction: np.ndarray) -> np.ndarray:
    """The shortest turn `[4]` from the z axis to a unit direction `[3]`, as MuJoCo's zaxis."""
    axis = np.cross([0.0, 0.0, 1.0], direction)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-10:
        return about(np.array([1.0, 0.0, 0.0]), math.atan2(0.0, float(direction[2])))
    return about(axis / sine, math.atan2(sine, float(direction[2])))


def orientation(element: Element, angles: Angles) -> np.ndarray:
    """Unit quaternion `[4]` of quat, axisangle, euler, xyaxes or zaxis; identity without any."""
    keys = [k for k in ("quat", "axisangle", "euler", "xyaxes", "zaxis") if k in element.attributes]
    if len(keys) > 1:
        element.fail(f"has more than one orientation: {', '.join(keys)}")
    if not keys:
        return np.array([1.0, 0.0, 0.0, 0.0])
    key = keys[0]
    if key == "quat":
        return unit(element, key, element.numbers(key, 4))
    if key == "axisangle":
        values = element.numbers(key, 4)
        return about(unit(element, key, values[:3]), values[3] * angles.unit)
    if key == "zaxis":
        return z_to(unit(element, key, element.numbers(key, 3)))
    if key == "euler":
        q = np.array([1.0, 0.0, 0.0, 0.0])
        for letter, angle in zip(angles.sequence, element.numbers(key, 3) * angles.unit):
            turn = about(np.eye(3)["xyz".index(letter.lower())], angle)
            q = multiply(q, turn) if letter.islower() else multiply(turn, q)
        return q
    values = element.numbers(key, 6)
    x = unit(element, key, values[:3])
    y = unit(element, key, values[3:] - x * (x @ values[3:]))
    return from_matrix(np.stack([x, y, np.cross(x, y)], axis=1))
