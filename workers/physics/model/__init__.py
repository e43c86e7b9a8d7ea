"""The humanoid as a frozen dataclass, and the text the C library reads.

State layout (MuJoCo's): q = root position (3, m, world, z up), root quaternion (w, x, y, z), then
for every joint in the clips' order a quaternion (spherical, child relative to parent) or an angle
(revolute). qd = root linear velocity (3, world), root angular velocity (3, body axes), then per
joint an angular velocity (3, child axes) or a rate. nq = 43, nv = 34, 28 of them actuated.

Body axes are those of the URDF: x forward, y up along the limb, z to the right.
"""

from __future__ import annotations

import functools
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from workers.physics.model.shapes import Vector, vector
from workers.physics.model.urdf import Link, merge_fixed, read_urdf

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


Joint = Literal["free", "spherical", "revolute"]


@dataclass(frozen=True)
class Body:
    """A rigid body and the joint to its parent (SI units, body axes, parallel at the zero pose).

    inertia: about com. mass 0 with inertia 0 is allowed where bodies further out have mass: several
    revolute joints in one place are a chain of massless links.
    """

    name: str
    parent: int  # index of an earlier body, -1: the world
    joint: Joint
    offset: Vector  # joint origin in the parent's frame
    mass: float = 0.0
    com: Vector = (0.0,) * 3
    inertia: tuple[float, float, float, float, float, float] = (0.0,) * 6  # xx yy zz xy xz yz
    axis: Vector = (0.0, 0.0, 1.0)
    kp: float = 0.0
    kd: float = 0.0
    torque_max: float = 0.0
    damping: float = 0.0  # N m s / rad
    lower: float = -3.14  # range of a revolute joint, rad; -inf and inf: none
    upper: float = 3.14
    stiffness: float = 0.0  # revolute: spring towards angle 0, N m / rad
    armature: float = 0.0  # inertia of the drive on each axis of the joint, kg m^2
    cone: float = 0.0  # spherical: largest rotation angle, rad, at most 3.1; 0: none


@dataclass(frozen=True)
class Sphere:
    """A contact sphere, touching the plane z = 0.

    A capsule touches a plane with its end spheres, exactly. A box is one, two or four spheres that
    touch all its faces: its edges are rounded by half its thinnest edge. Bodies do not touch each
    other.
    """

    body: int
    center: Vector
    radius: float


@dataclass(frozen=True)
class Site:
    """A point whose position the loss compares."""

    name: str
    body: int
    position: Vector


@dataclass(frozen=True)
class Contact:
    """Ground contact of the plane z = 0 (equations: native/mechanics/contact.hpp)."""

    stiffness: float = 3e4  # N/m
    damping: float = 1.0  # s/m
    friction: float = 0.9
    slip_velocity: float = 0.05  # m/s
    smoothing: float = 0.005  # m


@dataclass(frozen=True)
class Limit:
    """Springs at the ends of ranges and cones (equations: native/mechanics/joint_forces.hpp)."""

    stiffness: float = 1000.0  # N m / rad
    damping: float = 0.2  # s/rad
    smoothing: float = 0.02  # rad


@dataclass(frozen=True)
class PhysicsModel:
    """Everything the simulator knows of a mechanism."""

    bodies: tuple[Body, ...]
    spheres: tuple[Sphere, ...] = ()
    sites: tuple[Site, ...] = ()
    contact: Contact = Contact()
    limit: Limit = Limit()
    gravity: Vector = (0.0, 0.0, -9.81)

    @property
    def mass(self) -> float:
        """Mass of all bodies, kg."""
        return sum(body.mass for body in self.bodies)

    def scaled(self, length: float, mass: float) -> PhysicsModel:
        """The same mechanism for a person `length` times as tall and `mass` times as heavy.

        Offsets, centres of mass, spheres and sites scale with length, masses with mass, inertias
        with mass * length^2. Joints, gains and limits stay. It shares tapes and generated code.
        """
        if not (np.isfinite([length, mass]).all() and length > 0 and mass > 0):
            raise ValueError(f"length and mass must be positive factors, got {length} and {mass}")

        def grown(v: Vector) -> Vector:
            return (v[0] * length, v[1] * length, v[2] * length)

        def body(b: Body) -> Body:
            xx, yy, zz, xy, xz, yz = (mass * length**2 * entry for entry in b.inertia)
            b = replace(b, offset=grown(b.offset), com=grown(b.com), mass=mass * b.mass)
            return replace(b, inertia=(xx, yy, zz, xy, xz, yz))

        def sphere(s: Sphere) -> Sphere:
            return replace(s, center=grown(s.center), radius=length * s.radius)

        bodies, spheres = tuple(map(body, self.bodies)), tuple(map(sphere, self.spheres))
        sites = tuple(replace(s, position=grown(s.position)) for s in self.sites)
        return replace(self, bodies=bodies, spheres=spheres, sites=sites)

    @property
    def n_actuated(self) -> int:
        """Actuated degrees of freedom: 3 for each spherical joint, 1 for each revolute one."""
        return sum({"free": 0, "spherical": 3, "revolute": 1}[b.joint] for b in self.bodies)


@functools.lru_cache(maxsize=4)
def load_humanoid(path: str | Path) -> PhysicsModel:
    """Reads humanoid.urdf: 13 bodies, 28 actuated degrees of freedom.

    Inertias are those of the collision shapes at the URDF's masses (its own are placeholders);
    links behind fixed joints become part of their parents. Raises ValueError naming the file and
    what is wrong in it.
    """
    path = Path(path)
    links = merge_fixed(read_urdf(path, SCALE), path)
    index = {link.name: i for i, link in enumerate(links)}
    bodies = tuple(_body(link, index, path) for link in links)
    spheres = tuple(Sphere(index[link.name], *ball) for link in links for ball in link.balls)
    return PhysicsModel(bodies, spheres, _sites(links, index, path))


def _body(link: Link, index: dict[str, int], path: Path) -> Body:
    mass = link.mass
    if mass.mass <= 0:
        raise ValueError(f"{path}: link {link.name} has no mass")
    com = vector(mass.center)
    body = Body(link.name, -1, "free", link.offset, mass.mass, com, mass.entries)
    if link.parent is None:
        return body
    kind = link.name.split("_")[-1]
    if kind not in GAINS:
        raise ValueError(f"{path}: no gains are known for joint {link.name}")
    kp, kd, torque_max = GAINS[kind]
    body = replace(body, kp=kp, kd=kd, torque_max=torque_max, damping=torque_max / FREE_SPEED)
    body = replace(body, axis=link.axis, lower=link.lower, upper=link.upper)
    joint = cast("Joint", link.joint)  # fixed ones are merged
    return replace(body, parent=index[link.parent], joint=joint)


def _sites(links: list[Link], index: dict[str, int], path: Path) -> tuple[Site, ...]:
    """All joint origins, and the ends of limbs, so that every joint moves some site."""
    sites = [Site(link.name, index[link.name], (0.0, 0.0, 0.0)) for link in links]
    for link in links:
        for name, position in link.fixed:
            sites.append(Site(name, index[link.name], position))
    by_name = {link.name: link for link in links}
    for name, body in (("head", "neck"), ("right_toe", "right_ankle"), ("left_toe", "left_ankle")):
        if body not in by_name or not by_name[body].balls:
            raise ValueError(f"{path}: link {body} with a collision shape is missing")
        front = max(by_name[body].balls, key=lambda ball: ball[0][0])[0]
        sites.append(Site(name, index[body], (front[0], front[1], 0.0)))
    return tuple(sites)


def model_text(model: PhysicsModel) -> str:
    """The text `physics_model_create` reads.

    One item a line, numbers in full precision:
        gravity x y z | contact stiffness damping friction slip_velocity smoothing |
        limit stiffness damping smoothing | sphere body x y z radius | site body x y z |
        body name parent joint offset(3) axis(3) mass com(3) inertia(xx yy zz xy xz yz)
             kp kd torque_max damping stiffness armature lower upper cone
    """
    rows: list[tuple[object, ...]] = [
        ("gravity", *model.gravity),
        ("contact", *astuple(model.contact)),
        ("limit", *astuple(model.limit)),
    ]
    for b in model.bodies:
        rows.append(
            ("body", b.name, b.parent, b.joint, *b.offset, *b.axis, b.mass, *b.com, *b.inertia)
            + (b.kp, b.kd, b.torque_max, b.damping, b.stiffness, b.armature)
            + (b.lower, b.upper, b.cone)
        )
    rows += [("sphere", s.body, *s.center, s.radius) for s in model.spheres]
    rows += [("site", s.body, *s.position) for s in model.sites]
    lines = ["optimus-physics-model 2", *(" ".join(map(_word, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def _word(value: object) -> str:
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)
