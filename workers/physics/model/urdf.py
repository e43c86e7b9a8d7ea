"""Reads the pybullet humanoid's URDF: spherical joints, and a NUL byte behind the last tag."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from workers.physics.model.rotations import snapped
from workers.physics.model.shapes import Ball, Mass, Shape, Solid, Vector, combined, vector


@dataclass(frozen=True)
class Link:
    """A link with the joint that carries it. Lengths already scaled to metres."""

    name: str
    parent: str | None
    joint: str  # "free", "spherical", "revolute", "fixed"
    offset: Vector
    axis: Vector
    lower: float
    upper: float
    shapes: tuple[Shape, ...]
    fixed: tuple[tuple[str, Vector], ...] = ()  # merged child links and where they sat

    @property
    def balls(self) -> list[Ball]:
        return [ball for shape in self.shapes for ball in shape.balls()]

    @property
    def mass(self) -> Mass:
        """Of all its shapes."""
        return combined([shape.whole_mass() for shape in self.shapes])


def read_urdf(path: Path, scale: float) -> list[Link]:
    """Links in the file's order, parents first, lengths times `scale`.

    Raises ValueError naming the file and the element that is malformed or not supported.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        robot = ElementTree.fromstring(text.split("</robot>")[0] + "</robot>")
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: not well-formed XML ({error})") from error
    joints: dict[str, ElementTree.Element] = {}
    for joint in robot.findall("joint"):
        child = _need(joint, "child", path).get("link", "")
        if child in joints:
            raise ValueError(f"{path}: link {child} has two parent joints")
        joints[child] = joint
    names = [element.get("name", "") for element in robot.findall("link")]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: there are two links {name}")
    found = robot.findall("link")
    unread = [_link(each, joints.get(name), scale, path) for each, name in zip(found, names)]
    for link in unread:
        if link.parent is not None and link.parent not in names:
            raise ValueError(f"{path}: link {link.name} has no parent link {link.parent}")
    links: list[Link] = []
    while unread:  # the file's order, but parents first
        known = {link.name for link in links}
        ready = next((k for k in unread if k.parent is None or k.parent in known), None)
        if ready is None:
            names = [link.name for link in unread]
            raise ValueError(f"{path}: links {', '.join(names)} hang on each other in a circle")
        links.append(ready)
        unread.remove(ready)
    if sum(link.parent is None for link in links) != 1:
        raise ValueError(f"{path}: exactly one link must have no parent joint")
    return links


def merge_fixed(links: list[Link], path: Path) -> list[Link]:
    """Makes links behind fixed joints part of their parents (the root takes its child's name)."""
    merged: dict[str, Link] = {}
    home: dict[str, tuple[str, Vector]] = {}  # link -> the merged link it is in, and where
    for link in links:
        host, origin = home[link.parent] if link.parent is not None else (None, (0.0, 0.0, 0.0))
        at = np.add(origin, link.offset)
        if link.joint != "fixed":
            home[link.name] = (link.name, (0.0, 0.0, 0.0))
            merged[link.name] = replace(link, parent=host, offset=vector(at))
            continue
        assert host is not None
        home[link.name] = (host, vector(at))
        moved = tuple(replace(s, center=vector(np.array(s.center) + at)) for s in link.shapes)
        whole = merged[host]
        merged[host] = replace(whole, shapes=whole.shapes + moved)
        if whole.parent is not None:
            merged[host] = replace(merged[host], fixed=(*whole.fixed, (link.name, vector(at))))
    result = list(merged.values())
    if len(result) < 2:
        raise ValueError(f"{path}: no moving joint")
    root = result[0]
    return [replace(root, name="root")] + [
        replace(link, parent="root") if link.parent == root.name else link for link in result[1:]
    ]


def _link(
    element: ElementTree.Element, joint: ElementTree.Element | None, scale: float, path: Path
) -> Link:
    name = element.get("name", "")
    mass = _numbers(_need(element, "inertial/mass", path), "value", 1, path)[0]
    if mass < 0:
        raise ValueError(f"{path}: link {name} has a negative mass, {mass}")
    shape = Shape("point", (), mass, (0.0, 0.0, 0.0))
    collision = element.find("collision")
    if collision is not None:
        shape = _shape(collision, mass, scale, path)
    if joint is None:
        return Link(name, None, "free", (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), -3.14, 3.14, (shape,))
    kind = joint.get("type", "")
    if kind not in ("fixed", "spherical", "revolute"):
        raise ValueError(f"{path}: joint {name} is {kind!r}, not fixed, spherical, revolute")
    center, rotation = _origin(joint, scale, path)
    if not np.array_equal(rotation, np.eye(3)):
        raise ValueError(f"{path}: joint {name} has a rotated origin, which is not supported")
    axis, lower, upper = (0.0, 0.0, 1.0), -3.14, 3.14
    if kind == "revolute":
        axis = vector(np.array(_numbers(_need(joint, "axis", path), "xyz", 3, path)))
        if abs(float(np.linalg.norm(axis)) - 1) > 1e-9:
            raise ValueError(f"{path}: joint of link {name} has an axis that is not of length 1")
        limit = _need(joint, "limit", path)
        lower, upper = (_numbers(limit, key, 1, path)[0] for key in ("lower", "upper"))
    parent = _need(joint, "parent", path).get("link")
    return Link(name, parent, kind, center, axis, lower, upper, (shape,))


def _shape(collision: ElementTree.Element, mass: float, scale: float, path: Path) -> Shape:
    geometry = _need(collision, "geometry", path)
    center, rotation = _origin(collision, scale, path)
    round_kinds: dict[Solid, tuple[str, ...]]
    round_kinds = {"sphere": ("radius",), "capsule": ("radius", "length")}
    for kind, keys in round_kinds.items():
        found = geometry.find(kind)
        if found is not None:
            size = tuple(scale * _numbers(found, key, 1, path)[0] for key in keys)
            return Shape(kind, size, mass, center, rotation)
    box = _need(geometry, "box", path)
    size = tuple(scale * edge for edge in _numbers(box, "size", 3, path))
    return Shape("box", size, mass, center, rotation)


def _origin(element: ElementTree.Element, scale: float, path: Path) -> tuple[Vector, np.ndarray]:
    origin = _need(element, "origin", path)
    xyz = np.array(_numbers(origin, "xyz", 3, path)) * scale
    roll, pitch, yaw = _numbers(origin, "rpy", 3, path)
    cr, sr, cp, sp = math.cos(roll), math.sin(roll), math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    rotation = np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )
    # The file writes a quarter turn as 1.570796: snap, so that exact zeros leave the tape.
    return vector(xyz), snapped(rotation, 1e-5)


def _need(element: ElementTree.Element, tag: str, path: Path) -> ElementTree.Element:
    found = element.find(tag)
    if found is None:
        raise ValueError(f"{path}: <{element.tag} name={element.get('name')!r}> lacks <{tag}>")
    return found


def _numbers(element: ElementTree.Element, key: str, count: int, path: Path) -> list[float]:
    words = element.get(key, "").split()
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        want = f"{key} with {count} finite number(s)"
        raise ValueError(f"{path}: <{element.tag}> needs {want}, got {words}")
    return values
