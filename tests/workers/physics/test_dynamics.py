"""Dynamics without contact: against MuJoCo, against closed forms, and conservation laws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from workers.physics.model import Body, PhysicsModel, Site, model_text
from workers.physics.rotations import exp_map
from workers.physics.simulator import Simulator

SITE = (Site("origin", 0, (0.0, 0.0, 0.0)),)


def mjcf(model: PhysicsModel) -> str:
    """The same mechanism for MuJoCo: no contact, limits, damping or armature."""

    def words(values):
        return " ".join(repr(float(v)) for v in values)

    def element(i):
        b = model.bodies[i]
        kind = {"free": "free", "spherical": "ball", "revolute": "hinge"}[b.joint]
        axis = f' axis="{words(b.axis)}"' if kind == "hinge" else ""
        children = "".join(element(k) for k, c in enumerate(model.bodies) if c.parent == i)
        return (
            f'<body name="{b.name}" pos="{words(b.offset)}"><joint name="{b.name}" type="{kind}"'
            f'{axis}/><inertial pos="{words(b.com)}" mass="{b.mass!r}" '
            f'fullinertia="{words(b.inertia)}"/>{children}</body>')

    roots = "".join(element(i) for i, b in enumerate(model.bodies) if b.parent == -1)
    return (
        '<mujoco><compiler balanceinertia="false" autolimits="false"/>'
        f'<option gravity="{words(model.gravity)}"/><worldbody>{roots}</worldbody></mujoco>')


def random_state(model, rng):
    q, qd = [], []
    for body in model.bodies:
        turn = exp_map(rng.normal(size=3))
        if body.joint == "free":
            q += [*rng.normal(size=3), *turn]
            qd += list(3 * rng.normal(size=6))
        elif body.joint == "spherical":
            q += list(turn)
            qd += list(3 * rng.normal(size=3))
        else:
            q.append(rng.normal())
            qd.append(3 * rng.normal())
    return np.array(q), np.array(qd)


def test_accelerations_agree_with_mujoco(humanoid):
    mujoco = pytest.importorskip("mujoco", reason="mujoco (the oracle) is not installed")
    oracle = mujoco.MjModel.from_xml_string(mjcf(humanoid))
    data = mujoco.MjData(oracle)
    simulator = Simulator(model_text(humanoid), 1 / 120, "torque")
    # MuJoCo numbers joints depth first: map by name.
    to_q, to_v, at_q, at_v = [], [], 0, 0
    for body in humanoid.bodies:
        nq, nv = {"free": (7, 6), "spherical": (4, 3), "revolute": (1, 1)}[body.joint]
        joint = oracle.joint(body.name)
        to_q += range(joint.qposadr[0], joint.qposadr[0] + nq)
        to_v += range(joint.dofadr[0], joint.dofadr[0] + nv)
        at_q, at_v = at_q + nq, at_v + nv
    rng = np.random.default_rng(0)
    for _ in range(30):
        q, qd = random_state(humanoid, rng)
        torque = 20 * rng.normal(size=humanoid.n_actuated)
        data.qpos[to_q], data.qvel[to_v] = q, qd
        data.qfrc_applied[to_v] = np.concatenate([np.zeros(6), torque])
        mujoco.mj_forward(oracle, data)
        ours = simulator.accelerations(q, qd, torque)
        error = np.abs(ours - data.qacc[to_v]).max() / np.abs(data.qacc).max()
        assert error < 1e-9


def test_body_in_free_fall(simulate):
    ball = Body("ball", -1, "free", (0, 0, 0), 2.0, (0, 0, 0), (0.1, 0.1, 0.1, 0, 0, 0))
    q0, qd0 = np.array([0, 0, 10, 1.0, 0, 0, 0]), np.array([1.0, 0, 2, 0, 0, 0])
    q, qd = simulate(PhysicsModel((ball,), sites=SITE), q0, qd0, 1.0, 1 / 240)
    t = np.arange(241) / 240
    np.testing.assert_allclose(qd[:, 2], 2 - 9.81 * t, atol=1e-12)
    # semi-implicit Euler is behind by g t dt / 2
    np.testing.assert_allclose(q[:, 2], 10 + 2 * t - 9.81 * t * (t + 1 / 240) / 2, atol=1e-11)
    np.testing.assert_allclose(q[:, 0], t, atol=1e-12)


def test_tumbling_body_keeps_energy_and_angular_momentum_to_first_order(simulate):
    inertia = np.array([0.1, 0.2, 0.4])
    body = Body("top", -1, "free", (0, 0, 0), 1.0, (0, 0, 0), (*inertia, 0, 0, 0))
    model = PhysicsModel((body,), sites=SITE, gravity=(0.0, 0.0, 0.0))
    q0, w0 = np.array([0, 0, 0, 1.0, 0, 0, 0]), np.array([1.0, 5.0, 0.5])
    drift = []
    for dt in (1 / 240, 1 / 480, 1 / 960):
        q, qd = simulate(model, q0, np.concatenate([np.zeros(3), w0]), 1.0, dt)
        w, quat = qd[-1, 3:], q[-1, 3:]
        energy = 0.5 * w @ (inertia * w) / (0.5 * w0 @ (inertia * w0))
        rotation = np.array([rotate(quat, e) for e in np.eye(3)]).T
        momentum = rotation @ (inertia * w)
        drift.append([abs(energy - 1), np.abs(momentum - inertia * w0).max()])
        assert abs(np.linalg.norm(quat) - 1) < 1e-14
    assert drift[0][0] < 0.05 and drift[0][1] < 0.05
    ratio = np.array(drift[:-1]) / np.array(drift[1:])
    assert (ratio > 1.7).all() and (ratio < 2.3).all()


def rotate(q, v):
    w, u = q[0], q[1:]
    return v + 2 * np.cross(u, np.cross(u, v) + w * v)


def test_pendulum_energy_drift_is_bounded(simulate):
    rod = Body("rod", -1, "revolute", (0, 0, 0), 1.0, (0, 0, -0.5), (1 / 12, 1 / 12, 1e-4, 0, 0, 0),
               axis=(0.0, 1.0, 0.0))
    model = PhysicsModel((rod,), sites=SITE)
    q, qd = simulate(model, np.array([1.0]), np.array([0.0]), 10.0, 1 / 240)
    energy = 0.5 / 3 * qd[:, 0] ** 2 - 9.81 * 0.5 * np.cos(q[:, 0])
    swing = 9.81 * 0.5 * (1 - np.cos(1.0))
    assert np.abs(energy - energy[0]).max() < 0.01 * swing


def test_ballistic_humanoid_center_of_mass(humanoid, simulate):
    """Inner torques do not move the centre of mass: it falls with g, to first order in dt."""
    centers = tuple(Site(b.name, i, b.com) for i, b in enumerate(humanoid.bodies))
    model = dataclasses.replace(humanoid, sites=centers)
    mass = np.array([b.mass for b in humanoid.bodies])
    rng = np.random.default_rng(1)
    q0, _ = random_state(humanoid, rng)
    q0[2] = 10.0
    torque = 0.1 * rng.normal(size=humanoid.n_actuated)
    errors = []
    for dt in (1 / 240, 1 / 960):
        simulator = Simulator(model_text(model), dt, "torque")
        q, _ = simulate(model, q0, np.zeros(34), 0.25, dt, torque)
        com = np.array([mass @ simulator.sites(state) for state in (q[0], q[-1])]) / mass.sum()
        expected = com[0] + [0, 0, -9.81 * 0.25**2 / 2]
        errors.append(np.abs(com[1] - expected).max())
    assert errors[0] < 0.02 and errors[1] < 0.4 * errors[0]
