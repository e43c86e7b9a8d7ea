"""The humanoid as a frozen dataclass, and the text the C library reads.

State layout (MuJoCo's): q = root position (3, m, world, z up), root quaternion (w, x, y, z), then
for every joint in the clips' order a quaternion (spherical, child relative to parent) or an angle
(revolute). qd = root linear velocity (3, world), root angular velocity (3, body axes), then per
joint an angular velocity (3, child axes) or a rate. nq = 43, nv = 34, 28 of them actuated.

Body axes are those of the URDF: x forward, y up along the limb, z to the right.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np

from optimus.errors import require
from workers.physics.model.shapes import Vector, vector

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
        whole = bool(np.isfinite([length, mass]).all()) and length > 0 and mass > 0
        require(whole, f"length and mass must be positive factors, got {length} and {mass}")

        def grown(v: Vector) -> Vector:
            return vector(length * np.array(v))

        def body(b: Body) -> Body:
            inertia: Any = tuple(mass * length**2 * entry for entry in b.inertia)
            b = replace(b, offset=grown(b.offset), com=grown(b.com), mass=mass * b.mass)
            return replace(b, inertia=inertia)

        balls = [replace(s, center=grown(s.center), radius=length * s.radius) for s in self.spheres]
        sites = [replace(s, position=grown(s.position)) for s in self.sites]
        bodies = tuple(map(body, self.bodies))
        return replace(self, bodies=bodies, spheres=tuple(balls), sites=tuple(sites))

    @property
    def n_actuated(self) -> int:
        """Actuated degrees of freedom: 3 for each spherical joint, 1 for each revolute one."""
        return sum({"free": 0, "spherical": 3, "revolute": 1}[b.joint] for b in self.bodies)


def model_text(model: PhysicsModel) -> str:
    """The text `physics_model_create` reads.

    One item a line, numbers in full precision:
        gravity x y z | contact stiffness damping friction slip_velocity smoothing |
        limit stiffness damping smoothing | sphere body x y z radius | site body x y z |
        body name parent joint offset(3) axis(3) mass com(3) inertia(xx yy zz xy xz yz)
             kp kd torque_max damping stiffness armature lower upper cone
    """
    rows: list[tuple[object, ...]] = [
        *(("gravity", *model.gravity), ("contact", *astuple(model.contact))),
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
