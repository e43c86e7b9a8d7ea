"""The humanoid, out of pybullet's URDF."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np

from workers.physics.model import Body, Joint, PhysicsModel, Site, Sphere
from workers.physics.model.elements import Element, parse
from workers.physics.model.rotations import from_euler, matrix, snapped
from workers.physics.model.shapes import Ball, Shape, Solid, Vector, combined, vector

SCALE = 0.25  # the URDF is drawn four times too large

# Gains and torque limits of DeepMimic's humanoid (Peng et al. 2018, and pybullet's deep_mimic):
# joint -> kp (N m / rad), kd (N m s / rad), largest torque (N m).
GAINS = {
    "chest": (1000.0, 100.0, 200.0),
    "neck": (100.0, 10.0, 50.0),
    "hip": (500.0, 50.0, 200.0),
    "knee": (500.0, 50.0, 150.0),
    "ankle": (400.0, 40.0, 90.0),
    "shoulder": (400.0, 40.0, 100.0),
    "elbow": (300.0, 30.0, 60.0),
}
# Passive damping uses up a joint's largest torque at this speed (muscles stop pulling at about 20
# rad/s). Torque control has no other damping, and thin limbs would spin up without bound.
FREE_SPEED = 20.0  # rad/s
_SIZES: dict[Solid, tuple[str, ...]] = {"sphere": ("radius",), "capsule": ("radius", "length")}
_ZERO: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class _Link:
    """A link with the joint that carries it, `body.joint`, a fixed one too until it is merged.

    body: lacks parent, mass and gains. shapes: in its axes. merged: links behind fixed joints that
    became part of it, and where they sat.
    """

    element: Element
    parent: str | None
    body: Body
    shapes: tuple[Shape, ...]
    merged: tuple[tuple[str, Vector], ...] = ()

    @property
    def balls(self) -> list[Ball]:
        return [ball for shape in self.shapes for ball in shape.balls()]


def load_humanoid(path: str | Path) -> PhysicsModel:
    """Reads humanoid.urdf: 13 bodies, 28 actuated degrees of freedom.

    Inertias are those of the collision shapes at the URDF's masses (its own are placeholders);
    links behind fixed joints become part of their parents. Raises ValueError naming the file and
    what is wrong in it.
    """
    links = _merge_fixed(_in_order(parse(Path(path), "robot")))
    index = {link.body.name: i for i, link in enumerate(links)}
    bodies = tuple(_body(link, index) for link in links)
    spheres = tuple(Sphere(index[link.body.name], *ball) for link in links for ball in link.balls)
    return PhysicsModel(bodies, spheres, _sites(links, index))


def _body(link: _Link, index: dict[str, int]) -> Body:
    mass = combined([shape.whole_mass() for shape in link.shapes])
    link.element.require(mass.mass > 0, "has no mass")
    body = replace(link.body, mass=mass.mass, com=vector(mass.center), inertia=mass.entries)
    if link.parent is None:
        return body
    kind = body.name.split("_")[-1]
    link.element.require(kind in GAINS, f"no gains are known for joint {body.name}")
    kp, kd, torque = GAINS[kind]
    body = replace(body, kp=kp, kd=kd, torque_max=torque, damping=torque / FREE_SPEED)
    return replace(body, parent=index[link.parent])


def _sites(links: list[_Link], index: dict[str, int]) -> tuple[Site, ...]:
    """All joint origins, and the ends of limbs, so that every joint moves some site."""
    sites = [Site(name, body, _ZERO) for name, body in index.items()]
    sites += [Site(name, index[k.body.name], at) for k in links for name, at in k.merged]
    for name, body in (("head", "neck"), ("right_toe", "right_ankle"), ("left_toe", "left_ankle")):
        balls = links[index[body]].balls if body in index else []
        links[0].element.require(balls, f"link {body} with a collision shape is missing")
        front = max(balls, key=lambda ball: ball[0][0])[0]
        sites.append(Site(name, index[body], (front[0], front[1], 0.0)))
    return tuple(sites)


def _in_order(robot: Element) -> list[_Link]:
    """Links in the file's order, but parents first."""
    joints: dict[str, Element] = {}
    for joint in robot.all("joint"):
        child = joint.one("child").get("link")
        joint.require(child not in joints, f"link {child} has two parent joints")
        joints[child] = joint
    unread: dict[str, _Link] = {}
    for element in robot.all("link"):
        name = element.get("name")
        element.require(name not in unread, f"there are two links {name}")
        unread[name] = _link(element, joints.get(name))
    for name, link in unread.items():
        there = link.parent is None or link.parent in unread
        link.element.require(there, f"link {name} has no parent link {link.parent}")
    roots = sum(link.parent is None for link in unread.values())
    links: list[_Link] = []
    while unread:
        ready = [name for name, link in unread.items() if link.parent not in unread]
        robot.require(ready, f"links {', '.join(unread)} hang on each other in a circle")
        links.append(unread.pop(ready[0]))
    robot.require(roots == 1, "exactly one link must have no parent joint")
    return links


def _merge_fixed(links: list[_Link]) -> list[_Link]:
    """Makes links behind fixed joints part of their parents (the root takes its child's name)."""
    merged: dict[str, _Link] = {}
    home: dict[str, tuple[str, Vector]] = {}  # link -> the merged link it is in, and where
    for link in links:
        name = link.body.name
        host, origin = home[link.parent] if link.parent is not None else (None, _ZERO)
        at = vector(np.add(origin, link.body.offset))
        if link.body.joint in get_args(Joint):
            home[name] = (name, _ZERO)
            merged[name] = replace(link, parent=host, body=replace(link.body, offset=at))
            continue
        assert host is not None
        home[name] = (host, at)
        moved = tuple(replace(s, center=vector(np.add(s.center, at))) for s in link.shapes)
        whole = merged[host]
        sat = () if whole.parent is None else ((name, at),)
        merged[host] = replace(whole, shapes=whole.shapes + moved, merged=whole.merged + sat)
    root, *others = merged.values()
    root.element.require(others, "no moving joint")
    others = [replace(k, parent="root") if k.parent == root.body.name else k for k in others]
    return [replace(root, body=replace(root.body, name="root")), *others]


def _link(element: Element, joint: Element | None) -> _Link:
    name, mass = element.get("name"), element.one("inertial").one("mass").number("value")
    element.require(mass >= 0, f"link {name} has a negative mass, {mass}")
    collisions = element.all("collision")
    shape = _shape(collisions[0], mass) if collisions else Shape("point", (), mass, _ZERO)
    if joint is None:
        return _Link(element, None, Body(name, -1, "free", _ZERO), (shape,))
    kind, known = joint.get("type"), ("fixed", "spherical", "revolute")
    joint.require(kind in known, f"joint {name} is {kind!r}, not {', '.join(known)}")
    center, rotation = _origin(joint)
    straight = np.array_equal(rotation, np.eye(3))
    joint.require(straight, f"joint {name} has a rotated origin, which is not supported")
    body = Body(name, -1, cast("Joint", kind), center)
    if kind == "revolute":
        axis = joint.one("axis").numbers("xyz", 3)
        whole = abs(float(np.linalg.norm(axis)) - 1) <= 1e-9
        joint.require(whole, f"joint of link {name} has an axis that is not of length 1")
        lower, upper = (joint.one("limit").number(key) for key in ("lower", "upper"))
        body = replace(body, axis=vector(axis), lower=lower, upper=upper)
    return _Link(element, joint.one("parent").get("link"), body, (shape,))


def _shape(collision: Element, mass: float) -> Shape:
    geometry, (center, rotation) = collision.one("geometry"), _origin(collision)
    for kind, keys in _SIZES.items():
        for found in geometry.all(kind):
            size = tuple(SCALE * found.number(key) for key in keys)
            return Shape(kind, size, mass, center, rotation)
    size = tuple((SCALE * geometry.one("box").numbers("size", 3)).tolist())
    return Shape("box", size, mass, center, rotation)


def _origin(element: Element) -> tuple[Vector, np.ndarray]:
    origin = element.one("origin")
    rotation = matrix(from_euler("XYZ", origin.numbers("rpy", 3)))
    # The file writes a quarter turn as 1.570796: snap, so that exact zeros leave the tape.
    return vector(origin.numbers("xyz", 3) * SCALE), snapped(rotation, 1e-5)
