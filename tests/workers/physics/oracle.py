"""Independent answers: our models written as MJCF, and rigid-body mechanics in plain NumPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from workers.physics.model import PhysicsModel
from workers.physics.model.rotations import about, matrix

WIDTHS = {"free": (7, 6), "spherical": (4, 3), "revolute": (1, 1)}


def bare(model: PhysicsModel) -> PhysicsModel:
    """The mechanism without ground, limits, springs, damping, armature."""
    bodies = tuple(
        dataclasses.replace(
            b,
            damping=0.0,
            stiffness=0.0,
            armature=0.0,
            cone=0.0,
            lower=-np.inf,
            upper=np.inf,
            torque_max=1.0,
        )
        for b in model.bodies
    )
    return dataclasses.replace(model, bodies=bodies, spheres=())


def mjcf(model: PhysicsModel, option: str = "", pair: str = "") -> str:
    """The same mechanism for MuJoCo: no limits, damping, springs or armature.

    pair: attributes of a contact between the ground plane and each contact sphere; "" leaves the
    ground out. Massless links get 1e-14 kg (MuJoCo refuses none).
    """

    def words(values):
        return " ".join(repr(float(v)) for v in values)

    def element(i):
        b = model.bodies[i]
        kind = {"free": "free", "spherical": "ball", "revolute": "hinge"}[b.joint]
        axis = f' axis="{words(b.axis)}"' if kind == "hinge" else ""
        inertial = f'mass="{b.mass!r}" fullinertia="{words(b.inertia)}"'
        if b.mass == 0:
            inertial = 'mass="1e-14" diaginertia="1e-14 1e-14 1e-14"'
        geoms = "".join(
            f'<geom name="sphere{k}" type="sphere" pos="{words(s.center)}" size="{s.radius!r}" '
            'contype="0" conaffinity="0"/>'
            for k, s in enumerate(model.spheres)
            if s.body == i
        )
        children = "".join(element(k) for k, c in enumerate(model.bodies) if c.parent == i)
        return (
            f'<body name="{b.name}" pos="{words(b.offset)}"><joint name="{b.name}" type="{kind}"'
            f'{axis}/><inertial pos="{words(b.com)}" {inertial}/>{geoms}{children}</body>'
        )

    roots = "".join(element(i) for i, b in enumerate(model.bodies) if b.parent == -1)
    pairs = "".join(
        f'<pair geom1="floor" geom2="sphere{k}" {pair}/>' for k in range(len(model.spheres)) if pair
    )
    return (
        '<mujoco><compiler balanceinertia="false" autolimits="false"/>'
        f'<option gravity="{words(model.gravity)}" {option}/><worldbody>'
        '<geom name="floor" type="plane" size="9 9 1" contype="0" conaffinity="0"/>'
        f"{roots}</worldbody><contact>{pairs}</contact></mujoco>"
    )


def joint_addresses(oracle: Any, model: PhysicsModel) -> tuple[list[int], list[int]]:
    """Where our q and qd entries lie in MuJoCo's, which numbers joints depth first: by name."""
    to_q: list[int] = []
    to_v: list[int] = []
    for body in model.bodies:
        nq, nv = WIDTHS[body.joint]
        joint = oracle.joint(body.name)
        to_q += range(joint.qposadr[0], joint.qposadr[0] + nq)
        to_v += range(joint.dofadr[0], joint.dofadr[0] + nv)
    return to_q, to_v


def _entries(model: PhysicsModel, q: np.ndarray, *rates: np.ndarray):
    """(index, body, its part of q, its parts of the rates), in order."""
    at_q = at_v = 0
    for i, body in enumerate(model.bodies):
        nq, nv = WIDTHS[body.joint]
        yield i, body, q[at_q : at_q + nq], [rate[at_v : at_v + nv] for rate in rates]
        at_q, at_v = at_q + nq, at_v + nv


def _motion(model, q, qd, qdd):
    """Per body: rotation, joint origin, angular velocity and acceleration, velocity and
    acceleration of the joint origin."""
    found = []
    for _, body, qi, (vi, ai) in _entries(model, q, qd, qdd):
        if body.joint == "free":
            r = matrix(qi[3:])
            found.append((r, qi[:3], r @ vi[3:], r @ ai[3:], vi[:3], ai[:3]))
            continue
        if body.parent < 0:
            up = (np.eye(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3))
        else:
            up = found[body.parent]
        ur, up_p, uw, ual, uv, uac = up
        arm = ur @ np.array(body.offset)
        ball = body.joint == "spherical"
        r = ur @ matrix(qi if ball else about(np.array(body.axis), qi[0]))
        turn = r if ball else (r @ np.array(body.axis))[:, None]
        w = uw + turn @ vi
        alpha = ual + turn @ ai + np.cross(uw, turn @ vi)
        v = uv + np.cross(uw, arm)
        a = uac + np.cross(ual, arm) + np.cross(uw, np.cross(uw, arm))
        found.append((r, up_p + arm, w, alpha, v, a))
    return found


def _inertia(body, r):
    xx, yy, zz, xy, xz, yz = body.inertia
    return r @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ r.T


def inverse_dynamics(model, q, qd, qdd) -> tuple[np.ndarray, float]:
    """Generalised forces [nv] (free: force in the world, torque in the body) by Newton-Euler, and
    the size of the largest force or torque on a body."""
    motion = _motion(model, q, qd, qdd)
    force, torque, size = np.zeros((len(motion), 3)), np.zeros((len(motion), 3)), 1.0
    for i in reversed(range(len(motion))):
        body = model.bodies[i]
        r, p, w, alpha, _, a = motion[i]
        arm, inertia = r @ np.array(body.com), _inertia(body, r)
        at = a + np.cross(alpha, arm) + np.cross(w, np.cross(w, arm))
        push = body.mass * (at - np.array(model.gravity))
        turn = inertia @ alpha + np.cross(w, inertia @ w)
        size = max(size, np.abs(push).max(), np.abs(turn).max())
        force[i] += push
        torque[i] += turn + np.cross(arm, push)
        if body.parent >= 0:
            force[body.parent] += force[i]
            torque[body.parent] += torque[i] + np.cross(p - motion[body.parent][1], force[i])
    out = []
    for i, body in enumerate(model.bodies):
        local = motion[i][0].T @ torque[i]
        if body.joint == "free":
            out += [*force[i], *local]
        else:
            out += list(local) if body.joint == "spherical" else [np.array(body.axis) @ local]
    return np.array(out), size


def momentum(model, q, qd) -> np.ndarray:
    """Linear (3) and angular momentum about the origin (3)."""
    linear, angular = np.zeros(3), np.zeros(3)
    for body, (r, p, w, _, v, _) in zip(model.bodies, _motion(model, q, qd, 0 * qd)):
        arm = r @ np.array(body.com)
        mv = body.mass * (v + np.cross(w, arm))
        linear += mv
        angular += np.cross(p + arm, mv) + _inertia(body, r) @ w
    return np.concatenate([linear, angular])


def energy(model, q, qd) -> float:
    """Kinetic and potential energy, J."""
    total = 0.0
    for body, (r, p, w, _, v, _) in zip(model.bodies, _motion(model, q, qd, 0 * qd)):
        arm = r @ np.array(body.com)
        speed = v + np.cross(w, arm)
        total += 0.5 * body.mass * speed @ speed + 0.5 * w @ _inertia(body, r) @ w
        total -= body.mass * np.array(model.gravity) @ (p + arm)
    return float(total)
