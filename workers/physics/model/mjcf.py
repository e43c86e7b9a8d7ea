"""Reads MuJoCo's MJCF: bodies with free, ball and hinge joints; sphere, capsule and box geoms.

What our mechanism lacks is refused by name, never left out silently: slide joints, meshes and other
shapes, tendons, equality constraints, joint friction. What only concerns pictures, sensors or
MuJoCo's solver is skipped, and so are collisions between bodies: ours touch the ground only, with
the model's own contact and limit springs.

Our bodies have parallel axes at the zero pose, MuJoCo's may be turned: each body is turned into
its root's axes. Angles and rates stay; a ball joint's quaternion and velocity are turned
(`Mjcf.state`). Several hinges on one body become a chain of massless links. States are otherwise
in MuJoCo's order.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from workers.physics.model import Body, Joint, PhysicsModel, Site, Sphere
from workers.physics.model import mjcf_elements as rules
from workers.physics.model.elements import Element, parse
from workers.physics.model.mjcf_elements import Angles, Defaults, Place, orientation
from workers.physics.model.rotations import NO_TURN, conjugate, matrix, multiply
from workers.physics.model.shapes import Mass, vector

Gains = Mapping[str, tuple[float, float, float]]
_WIDTHS = {"free": (7, 6), "spherical": (4, 3), "revolute": (1, 1)}  # of a joint in q and in qd
_KINDS: dict[str, Joint] = {"free": "free", "ball": "spherical", "hinge": "revolute"}
_PASSIVE = ("damping", "armature", "stiffness")
_ZERO = np.zeros(3)


@dataclass(frozen=True)
class Mjcf:
    """A model and how MuJoCo's states map to ours.

    Attributes:
      model: the mechanism; bodies are named after their joints (a joint without a name: its body),
        sites are the bodies' origins and the file's sites.
      turns: `[n_bodies, 4]`, the quaternion of each body's MuJoCo axes in ours.
      q0: `[nq]`, the pose the file is drawn in, in our layout.
    """

    model: PhysicsModel
    turns: np.ndarray
    q0: np.ndarray

    def state(self, qpos: np.ndarray, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Our (q `[nq]`, qd `[nv]`) of MuJoCo's (qpos, qvel)."""
        q, qd = np.array(qpos, float), np.array(qvel, float)
        at_q = at_v = 0
        for body, turn in zip(self.model.bodies, self.turns):
            if body.joint == "spherical":
                q[at_q : at_q + 4] = multiply(multiply(turn, q[at_q : at_q + 4]), conjugate(turn))
                qd[at_v : at_v + 3] = matrix(turn) @ qd[at_v : at_v + 3]
            at_q += _WIDTHS[body.joint][0]
            at_v += _WIDTHS[body.joint][1]
        return q, qd

    def velocity(self, qvel: np.ndarray) -> np.ndarray:
        """Our layout of a MuJoCo velocity, force or acceleration `[nv]`."""
        return self.state(np.zeros(len(self.q0)), qvel)[1]


@dataclass
class _Link:
    """A body of ours in the making. Everything in its own axes, relative to its joint."""

    body: Body
    turn: np.ndarray
    masses: list[Mass] = field(default_factory=list)
    pose: tuple[float, ...] = ()  # of a free body in the file


def read_mjcf(path: str | Path, gains: Gains | None = None, ignore: Collection[str] = ()) -> Mjcf:
    """Reads an MJCF file.

    Args:
      path: of the file.
      gains: joint name -> kp (N m / rad), kd (N m s / rad), largest torque (N m). Without an entry
        kp and kd are 0 and the largest torque is that of the joint's motor: |gear| max |ctrlrange|.
      ignore: tags below <mujoco> to leave out although they change the motion ("tendon").

    Raises:
      ValueError: in one line with file, line and element: what is malformed or not supported.
    """
    return _Reader(parse(Path(path), "mujoco"), gains or {}, ignore).read()


class _Reader:
    def __init__(self, root: Element, gains: Gains, ignore: Collection[str]):
        self._root = root
        self._gains = gains
        for element in root.children:
            known = element.tag in rules.SKIPPED or element.tag in ignore
            element.require(known, "is not supported")
        self._compiler(root.all("compiler"))
        self._defaults = Defaults(root)
        self._links: list[_Link] = []
        self._spheres: list[Sphere] = []
        self._sites: list[Site] = []
        self._motors = self._read_motors()

    def _compiler(self, elements: list[Element]) -> None:
        settings = {k: v for element in elements for k, v in element.attributes.items()}
        line = elements[0].line if elements else self._root.line
        compiler = Element("compiler", settings, self._root.path, line)
        angle = compiler.choice("angle", "degree", ("degree", "radian"))
        compiler.choice("coordinate", "local", ("local",))
        sequence = compiler.get("eulerseq", "xyz")
        letters = len(sequence) == 3 and set(sequence.lower()) <= set("xyz")
        compiler.require(letters, f"eulerseq {sequence!r} is not three letters of xyz or XYZ")
        compiler.refuse("boundmass", "boundinertia")
        compiler.choice("balanceinertia", "false", ("false",))
        self._angles = Angles(np.pi / 180 if angle == "degree" else 1.0, sequence)
        self._from_geoms = compiler.choice("inertiafromgeom", "auto", ("auto", "true", "false"))
        self._autolimits = compiler.choice("autolimits", "true", ("true", "false")) == "true"
        self._total_mass = compiler.number("settotalmass", -1.0)

    def _read_motors(self) -> dict[str, float]:
        motors: dict[str, float] = {}
        for group in self._root.all("actuator"):
            for raw in group.children:
                motor = self._defaults.resolve(raw, "main")
                known = motor.tag == "motor" and "joint" in motor.attributes
                motor.require(known, "is not supported, only <motor joint=...> is")
                gear = float(np.abs(motor.numbers("gear", None, "1"))[0])
                reach = float(np.abs(motor.numbers("ctrlrange", 2, "1 1")).max())
                motors[motor.get("joint")] = gear * reach
        return motors

    def read(self) -> Mjcf:
        gravity = (0.0, 0.0, -9.81)
        for option in self._root.all("option"):
            option.refuse("wind", "density", "viscosity", "magnetic")
            if "gravity" in option.attributes:
                gravity = vector(option.numbers("gravity", 3))
        for world in self._root.all("worldbody"):
            for raw in world.all("geom"):
                geom = self._defaults.resolve(raw, "main")
                apart = geom.get("type", "sphere") == "plane" or not _touches(geom)
                geom.require(apart, "is fixed to the world; only planes are supported there")
            for body in world.all("body"):
                self._body(body, -1, (_ZERO, NO_TURN), "main")
        self._root.require(self._links, "holds no joint")
        joints = {link.body.name for link in self._links}
        for name in sorted({**self._motors, **self._gains}.keys() - joints):
            self._root.fail(f"no joint {name!r} for a motor or gain")
        return self._finish(gravity)

    def _body(self, element: Element, host: int, place: Place, childclass: str) -> None:
        """Adds a body whose parent's frame lies at `place` in link `host`."""
        childclass = element.get("childclass", childclass)
        element.known(rules.KNOWN["body"])
        element.refuse("gravcomp")
        element.choice("mocap", "false", ("false",))
        start = element.numbers("pos", 3, "0 0 0")
        own = orientation(element, self._angles)
        origin, turn = place[0] + matrix(place[1]) @ start, multiply(place[1], own)
        joints = [j for j in element.children if j.tag in ("joint", "freejoint")]
        for raw in joints:
            joint = self._defaults.resolve(raw, childclass)
            joint.known(rules.KNOWN["joint"])
            kind = self._kind(joint, alone=host < 0 and len(joints) == 1)
            if kind == "free":
                origin, turn = _ZERO, NO_TURN
                name = joint.get("name") or element.get("name", "root")
                body = Body(name, -1, "free", vector(_ZERO))
                self._links.append(_Link(body, turn, pose=(*start, *own)))
            else:
                name = joint.get("name") or element.get("name", f"body{len(self._links)}")
                anchor = origin + matrix(turn) @ joint.numbers("pos", 3, "0 0 0")
                body = self._joint(joint, Body(name, host, kind, vector(anchor)), turn)
                self._links.append(_Link(body, turn))
                origin = origin - anchor
            host = len(self._links) - 1
        if host < 0:
            geoms = [self._defaults.resolve(geom, childclass) for geom in element.all("geom")]
            fixed = any(_touches(geom) for geom in geoms)
            element.require(not fixed, "is fixed to the world; a body needs a joint")
        else:
            self._contents(element, host, (origin, turn), childclass)
        for child in element.children:
            child.require(child.tag in rules.INSIDE, "is not supported")
        for child in element.all("body"):
            self._body(child, host, (origin, turn), childclass)

    def _kind(self, joint: Element, alone: bool) -> Joint:
        written = "free" if joint.tag == "freejoint" else joint.get("type", "hinge")
        what = f"type {written!r} is not supported, only free, ball and hinge are"
        joint.require(written in _KINDS, what)
        joint.refuse("frictionloss", "ref", "springref", "springdamper", "actuatorgravcomp")
        if written == "free":
            joint.require(alone, "a free joint must be alone on a body of the world")
            joint.refuse(*_PASSIVE)
        return _KINDS[written]

    def _joint(self, joint: Element, body: Body, turn: np.ndarray) -> Body:
        """`body` with what its ball or hinge says; `turn`: of its axes."""
        lower, upper, cone = self._limits(joint, body.joint)
        axis = np.array([0.0, 0.0, 1.0])
        if body.joint == "revolute":
            axis = joint.unit("axis", matrix(turn) @ joint.numbers("axis", 3, "0 0 1"))
        passive: dict[str, Any] = {key: joint.number(key, 0.0) for key in _PASSIVE}
        stiff = body.joint == "spherical" and passive["stiffness"] != 0
        joint.require(not stiff, "stiffness of a ball joint is not supported")
        for key, value in passive.items():
            joint.require(value >= 0, f"{key} must not be negative")
        motor = (0.0, 0.0, self._motors.get(body.name, 0.0))
        kp, kd, torque = self._gains.get(body.name, motor)
        body = replace(body, axis=vector(axis), kp=kp, kd=kd, torque_max=torque, **passive)
        return replace(body, lower=lower, upper=upper, cone=cone)

    def _limits(self, joint: Element, kind: Joint) -> tuple[float, float, float]:
        """(lower, upper, cone) of a joint, rad; of a spherical one the cone alone."""
        lower, upper = (0.0, 0.0) if kind == "spherical" else (-np.inf, np.inf)
        limited = joint.choice("limited", "auto", ("true", "false", "auto"))
        has_range = "range" in joint.attributes
        said = limited != "auto" or not has_range or self._autolimits
        joint.require(said, "has a range, but neither limited nor autolimits")
        if limited == "false" or (limited == "auto" and not has_range):
            return lower, upper, 0.0
        first, second = (joint.numbers("range", 2) * self._angles.unit).tolist()
        if kind == "spherical":
            cone = first == 0 and 0 < second <= 3.1
            joint.require(cone, "range of a ball needs 0 and an angle of at most 3.1 rad")
            return lower, upper, second
        joint.require(first < second, "range needs a lower and a higher angle")
        return first, second, 0.0

    def _contents(self, element: Element, host: int, place: Place, childclass: str) -> None:
        """Masses, contact spheres and sites of a body whose frame lies at `place` in its link."""
        link, (origin, turn) = self._links[host], place
        geoms = [self._defaults.resolve(g, childclass) for g in element.all("geom")]
        for geom in geoms:
            geom.known(rules.KNOWN["geom"])
        shapes = [rules.geom_shape(geom, place, self._angles) for geom in geoms]
        inertials = element.all("inertial")
        if inertials and self._from_geoms != "true":
            link.masses.append(rules.inertial_mass(inertials[0], place, self._angles))
        elif self._from_geoms != "false":
            link.masses += [shape.whole_mass() for shape in shapes]
        for geom, shape in zip(geoms, shapes):
            if _touches(geom):
                self._spheres += [Sphere(host, *ball) for ball in shape.balls()]
        self._sites.append(Site(element.get("name", link.body.name), host, vector(origin)))
        for site in element.all("site"):
            at = origin + matrix(turn) @ site.numbers("pos", 3, "0 0 0")
            self._sites.append(Site(site.get("name", "site"), host, vector(at)))

    def _finish(self, gravity: tuple[float, float, float]) -> Mjcf:
        whole = sum(mass.mass for link in self._links for mass in link.masses)
        factor = self._total_mass / whole if self._total_mass > 0 and whole > 0 else 1.0
        bodies: list[Body] = []
        q0: list[float] = []
        for link in self._links:
            mass = rules.total(link.masses, factor)
            body = replace(link.body, mass=mass.mass, com=vector(mass.center))
            bodies.append(replace(body, inertia=mass.entries))
            q0.extend(link.pose or (NO_TURN if body.joint == "spherical" else (0.0,)))
        spheres, sites = tuple(self._spheres), tuple(self._sites)
        model = PhysicsModel(tuple(bodies), spheres, sites, gravity=gravity)
        turns = np.stack([link.turn for link in self._links])
        return Mjcf(model, turns, np.array(q0, float))


def _touches(geom: Element) -> bool:
    """Whether a geom collides with anything: contype and conaffinity are not both 0."""
    return any(geom.number(key, 1.0) for key in ("contype", "conaffinity"))
