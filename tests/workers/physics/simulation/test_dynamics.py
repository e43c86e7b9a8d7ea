"""Dynamics without contact: against MuJoCo, against closed forms, and conservation laws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.workers.physics.mechanisms import arm, chain, walker
from tests.workers.physics.oracle import (
    bare,
    energy,
    inverse_dynamics,
    joint_addresses,
    mjcf,
    momentum,
)
from workers.physics.model import Body, PhysicsModel, Site, model_text
from workers.physics.model.rotations import exp_map
from workers.physics.simulation import Simulator

SITE = (Site("origin", 0, (0.0, 0.0, 0.0)),)


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


MODELS = {"walker": walker, "arm": arm, "chain": chain}


@pytest.mark.parametrize("name", ["humanoid", *MODELS])
def test_accelerations_agree_with_mujoco(name, humanoid):
    """100 random states, |qd| <= 10 rad/s: no contact, limits, armature, damping and PD."""
    mujoco = pytest.importorskip("mujoco", reason="mujoco (the oracle) is not installed")
    model = bare(humanoid if name == "humanoid" else MODELS[name]())
    oracle = mujoco.MjModel.from_xml_string(mjcf(model))
    data = mujoco.MjData(oracle)
    to_q, to_v = joint_addresses(oracle, model)
    simulator = Simulator(model_text(model), 1 / 120, "torque")
    free = simulator.nv - simulator.n_actuated
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(100):
        q, _ = random_state(model, rng)
        qd = rng.uniform(-10, 10, size=simulator.nv)
        torque = 20 * rng.normal(size=model.n_actuated)
        data.qpos[to_q], data.qvel[to_v] = q, qd
        data.qfrc_applied[to_v] = np.concatenate([np.zeros(free), torque])
        mujoco.mj_forward(oracle, data)
        ours = simulator.accelerations(q, qd, torque)
        error = np.abs(ours - data.qacc[to_v]).max() / max(1.0, np.abs(data.qacc).max())
        worst = max(worst, error)
    print(f"{name}: largest error {worst:.1e} of max(1, max |qdd|)")
    assert worst < 1e-9


def test_armature_agrees_with_mujoco():
    mujoco = pytest.importorskip("mujoco", reason="mujoco (the oracle) is not installed")
    model = walker()
    oracle = mujoco.MjModel.from_xml_string(mjcf(model))
    data = mujoco.MjData(oracle)
    to_q, to_v = joint_addresses(oracle, model)
    at = np.repeat(
        [b.armature for b in model.bodies],
        [{"free": 6, "spherical": 3, "revolute": 1}[b.joint] for b in model.bodies],
    )
    assert at.any()
    oracle.dof_armature[to_v] = at
    simulator = Simulator(model_text(model), 1 / 120, "torque")
    rng = np.random.default_rng(1)
    for _ in range(30):
        q, qd = random_state(model, rng)
        data.qpos[to_q], data.qvel[to_v] = q, qd
        mujoco.mj_forward(oracle, data)
        ours = simulator.accelerations(q, qd, np.zeros(model.n_actuated))
        assert np.abs(ours - data.qacc[to_v]).max() < 1e-9 * max(1.0, np.abs(data.qacc).max())


@pytest.mark.parametrize("name", ["humanoid", *MODELS])
def test_inverse_dynamics_residual(name, humanoid):
    """Accelerations put into recursive Newton-Euler (NumPy, body by body) give the torques back."""
    model = bare(humanoid if name == "humanoid" else MODELS[name]())
    simulator = Simulator(model_text(model), 1 / 120, "torque")
    rng, worst = np.random.default_rng(2), 0.0
    for _ in range(100):
        q, _ = random_state(model, rng)
        qd = rng.uniform(-10, 10, size=simulator.nv)
        torque = 20 * rng.normal(size=model.n_actuated)
        wanted = np.concatenate([np.zeros(simulator.nv - model.n_actuated), torque])
        found, size = inverse_dynamics(model, q, qd, simulator.accelerations(q, qd, torque))
        worst = max(worst, np.abs(found - wanted).max() / size)
    print(f"{name}: largest residual {worst:.1e} of the largest force or torque on a body")
    assert worst < 1e-10


def test_thrown_mechanism_keeps_momentum(simulate):
    """No gravity, no contact, inner torques: linear and angular momentum stay, to first order."""
    model = dataclasses.replace(bare(walker()), gravity=(0.0, 0.0, 0.0))
    rng = np.random.default_rng(3)
    q0, qd0 = random_state(model, rng)
    torque = 0.3 * rng.normal(size=model.n_actuated)
    drift = []
    for dt in (1 / 240, 1 / 480, 1 / 960):
        q, qd = simulate(model, q0, qd0, 0.5, dt, torque)
        before, after = (momentum(model, q[i], qd[i]) for i in (0, -1))
        drift.append(np.abs(after - before).reshape(2, 3).max(axis=1))
    ratio = np.array(drift[:-1]) / np.array(drift[1:])
    print(f"momentum drift (linear, angular) {drift}, ratios {ratio.tolist()}")
    assert (ratio > 1.7).all() and (ratio < 2.4).all()
    assert (drift[-1] < 0.02 * np.abs(before).max()).all()


def test_ballistic_energy_error_is_first_order(humanoid, simulate):
    model = bare(humanoid)
    rng = np.random.default_rng(4)
    q0, qd0 = random_state(model, rng)
    q0[2] = 20.0
    errors = []
    for dt in (1 / 240, 1 / 480, 1 / 960):
        q, qd = simulate(model, q0, qd0 / 3, 0.5, dt)
        errors.append(abs(energy(model, q[-1], qd[-1]) - energy(model, q[0], qd[0])))
    ratio = np.array(errors[:-1]) / np.array(errors[1:])
    print(f"energy errors {errors} J, ratios {ratio.tolist()}")
    assert (ratio > 1.8).all() and (ratio < 2.2).all()


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
    inertia = np.array([0.2, 0.3, 0.4])
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
    rod = Body(
        "rod",
        -1,
        "revolute",
        (0, 0, 0),
        1.0,
        (0, 0, -0.5),
        (1 / 12, 1 / 12, 1e-4, 0, 0, 0),
        axis=(0.0, 1.0, 0.0),
    )
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
