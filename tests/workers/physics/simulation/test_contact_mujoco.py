"""Contact against MuJoCo: a drop, a slide, a stand.

The laws differ: ours is a smooth spring with Hunt-Crossley damping and regularised Coulomb
friction, MuJoCo's a soft constraint. What both must agree on is what the ground does to the body:
the impulse it gives, where it stops, where it rests. MuJoCo's solref is given as stiffness s and
damping (negative numbers) with a constant impedance d in solimp. A contact's regularisation is
(1 - d) / d of its inverse mass A, so at rest it carries s p / ((1 - d) A) at penetration p: s is
chosen to make that our spring, k p, for every contact; its dynamic stiffness is about s, so d is
small. Its cone is elliptic, its friction ours and as stiff as its step allows (else it creeps).
Tolerances: impulse 1 % (the humanoid's sideways 2 % of the vertical); stopping distance 3 % (our
friction is weaker by v / sqrt(v^2 + v0^2) below v0 = 5 cm/s); a box at rest 0.5 mm, the width
over which its contact sets in, and 2 mm at the deepest of a landing from 30 cm (12 and 13 mm: the
damping differs); the humanoid 8 mm, for its contact sets in over 5 mm and MuJoCo takes the foot's
inverse mass for that of the body above it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.workers.physics.oracle import joint_addresses, mjcf
from tests.workers.physics.simulation.test_contact import FLAT, box
from workers.physics.model import Contact, model_text
from workers.physics.model.rotations import multiply
from workers.physics.simulation import Simulator, WindowSpec

mujoco = pytest.importorskip("mujoco", reason="mujoco (the oracle) is not installed")
DT = 1 / 2000


IMPEDANCE = 0.3


def oracle_of(model):
    """MuJoCo's model with every contact as stiff as ours."""
    d = IMPEDANCE
    option = f'timestep="{DT}" cone="elliptic" impratio="50" integrator="implicitfast"'
    pair = (
        f'solref="-1 -1" solimp="{d} {d} 0.001" solreffriction="-1 {-0.2 / DT}" condim="3" '
        f'friction="{model.contact.friction} {model.contact.friction} 0 0 0"'
    )
    oracle = mujoco.MjModel.from_xml_string(mjcf(model, option, pair))
    for k, sphere in enumerate(model.spheres):
        body = oracle.body(model.bodies[sphere.body].name).id
        stiffness = model.contact.stiffness * oracle.body_invweight0[body, 0]
        oracle.pair_solref[k] = [-(1 - d) * stiffness, -(1 - d) * 2 * np.sqrt(stiffness)]
    return oracle, mujoco.MjData(oracle)


def ground_force(oracle, data) -> np.ndarray:
    """Sum of all contact forces, world axes, N."""
    total, wrench = np.zeros(3), np.zeros(6)
    for i, contact in enumerate(data.contact[: data.ncon]):
        mujoco.mj_contactForce(oracle, data, i, wrench)
        total += contact.frame.reshape(3, 3).T @ wrench[:3]
    return total


def run_oracle(oracle, data, seconds, control=lambda: None):
    """Integrated ground force (N s) and the heights of the first body."""
    impulse, z = np.zeros(3), []
    for _ in range(round(seconds / DT)):
        control()
        mujoco.mj_step(oracle, data)
        impulse += DT * ground_force(oracle, data)
        z.append(data.qpos[2])
    return impulse, np.array(z)


def stiff_box():
    return dataclasses.replace(box(), contact=Contact(smoothing=0.0005))


@pytest.mark.parametrize("speed", [0.0, 2.0], ids=["drop", "slide"])
def test_box_against_mujoco(speed, simulate):
    model, seconds = stiff_box(), 1.0 if speed else 2.0
    mass, height = 10.0, 0.3 if speed == 0 else 0.0
    q0, qd0 = FLAT + [0, 0, height, 0, 0, 0, 0], np.array([speed, 0, 0, 0, 0, 0])
    q, qd = simulate(model, q0, qd0, seconds, 1 / 960)
    ours = mass * (qd[-1, :3] - qd0[:3] - [0, 0, -9.81 * seconds])
    oracle, data = oracle_of(model)
    data.qpos[:], data.qvel[:] = q0, qd0
    theirs, z = run_oracle(oracle, data, seconds)
    print(
        f"impulse {ours} and {theirs} N s; stops at {q[-1, 0]:.4f} and {data.qpos[0]:.4f} m; "
        f"rests at {q[-1, 2] - 0.1:.5f} and {z[-1] - 0.1:.5f} m"
    )
    assert np.abs(ours - theirs).max() < 0.01 * np.linalg.norm(theirs)
    assert q[-1, 0] == pytest.approx(data.qpos[0], rel=0.03, abs=1e-6)
    assert abs(q[-1, 2] - z[-1]) < 0.0005
    assert q[:, 2].min() == pytest.approx(z.min(), abs=0.002)  # the deepest of the landing


def test_standing_humanoid_against_mujoco(humanoid, stand):
    """The same PD stance for 0.5 s: in MuJoCo explicit springs and implicit damping."""
    dt, seconds = 1 / 480, 0.5
    simulator = Simulator(model_text(humanoid), dt, "pd")
    q0 = stand(simulator, humanoid)
    steps = round(seconds / dt)
    window = simulator.window(
        WindowSpec(
            28,
            np.tile(np.arange(28), (steps, 1)),
            np.tile(q0[7:], (steps, 1)),
            np.array([steps]),
            np.zeros((1, simulator.n_sites, 3)),
            q0,
            np.zeros(34),
        )
    )
    _, q, _ = window.rollout(np.zeros(28))
    centers = np.array([simulator.center_of_mass(state) for state in q])
    mass = humanoid.mass
    oracle, data = oracle_of(humanoid)
    to_q, to_v = joint_addresses(oracle, humanoid)
    data.qpos[to_q] = q0
    kp, at_q, at_v = [], 7, 6
    for body in humanoid.bodies[1:]:
        nq, nv = (4, 3) if body.joint == "spherical" else (1, 1)
        rows = slice(at_v, at_v + nv)
        oracle.dof_damping[np.array(to_v)[rows]] = body.kd + body.damping
        kp.append((body, slice(at_q, at_q + nq), rows))
        at_q, at_v = at_q + nq, at_v + nv

    def control():
        now, torque = data.qpos[to_q], np.zeros(34)
        for body, where, rows in kp:
            if body.joint == "spherical":
                error = multiply(now[where] * [1, -1, -1, -1], q0[where])
                torque[rows] = 2 * body.kp * error[1:]
            else:
                torque[rows] = body.kp * (q0[where] - now[where])
        data.qfrc_applied[to_v] = torque

    theirs, z = run_oracle(oracle, data, seconds, control)
    before, after = (
        (centers[i + 1] - centers[i]) / dt for i in (0, -2)
    )  # of the centre of mass, m/s
    ours = mass * (after - before + [0, 0, 9.81 * (seconds - dt)])
    print(f"impulse {ours} and {theirs} N s; root {q[-1, 2]:.4f} and {z[-1]:.4f} m")
    assert ours[2] == pytest.approx(theirs[2], rel=0.01)
    assert q[-1, 2] == pytest.approx(z[-1], abs=0.008)
    assert np.abs(ours[:2] - theirs[:2]).max() < 0.02 * theirs[2]
    lowest = (simulator.spheres(q[-1])[:, 2] - [s.radius for s in humanoid.spheres]).min()
    assert abs(lowest - min(contact.dist for contact in data.contact[: data.ncon])) < 0.008
