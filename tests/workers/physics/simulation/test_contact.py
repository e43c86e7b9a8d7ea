"""Ground contact: weight, friction, and what never happens."""

from __future__ import annotations

import numpy as np
import pytest

from workers.physics.model import Body, PhysicsModel, Site, Sphere, model_text
from workers.physics.simulation import Simulator, WindowSpec

SITE = (Site("origin", 0, (0.0, 0.0, 0.0)),)
FLAT = np.array([0, 0, 0.1, 1.0, 0, 0, 0])


def box() -> PhysicsModel:
    body = Body("box", -1, "free", (0, 0, 0), 10.0, (0, 0, 0), (0.2, 0.2, 0.2, 0, 0, 0))
    corners = [(x, y, 0.0) for x in (-0.3, 0.3) for y in (-0.3, 0.3)]
    return PhysicsModel((body,), tuple(Sphere(0, c, 0.1) for c in corners), SITE)


@pytest.mark.parametrize("dt", [1 / 30, 1 / 120, 1 / 480])
def test_box_comes_to_rest_and_the_ground_carries_its_weight(simulate, dt):
    q0 = FLAT + [0, 0, 0.2, 0, 0, 0, 0]
    q, qd = simulate(box(), q0, np.zeros(6), 2.0, dt)
    assert np.abs(qd[-1]).max() < 1e-3
    forces = Simulator(model_text(box()), dt, "torque").contacts(q[-1], qd[-1])
    assert forces[:, 2].sum() == pytest.approx(98.1, rel=1e-3)
    assert 0.09 < q[-1, 2] < 0.1 + 0.005


def test_no_force_out_of_reach():
    simulator = Simulator(model_text(box()), 1 / 120, "torque")
    above = FLAT + [0, 0, 0.006, 0, 0, 0, 0]
    assert not simulator.contacts(above, np.zeros(6)).any()
    leaving = simulator.contacts(FLAT - [0, 0, 0.001, 0, 0, 0, 0], np.array([0, 0, 2.0, 0, 0, 0]))
    assert not leaving.any()  # a body on its way up is not held back


def test_sliding_box_stops_where_coulomb_says(simulate):
    dt = 1 / 480
    q, qd = simulate(box(), FLAT, np.array([2.0, 0, 0, 0, 0, 0]), 0.6, dt)
    distance = 2.0**2 / (2 * 0.9 * 9.81)
    assert q[-1, 0] == pytest.approx(distance, rel=0.1)
    assert abs(qd[-1, 0]) < 0.01


def test_friction_cone(simulate):
    """|friction| <= mu times the elastic normal force, and it opposes the slip."""
    simulator = Simulator(model_text(box()), 1 / 120, "torque")
    rng = np.random.default_rng(0)
    for _ in range(100):
        q = FLAT - [0, 0, rng.uniform(-0.004, 0.02), 0, 0, 0, 0]
        qd = np.concatenate([rng.normal(size=2), np.zeros(4)])
        force = simulator.contacts(q, qd)
        friction = np.linalg.norm(force[:, :2], axis=1)
        assert (force[:, 2] >= 0).all() and (friction <= 0.9 * force[:, 2]).all()
        assert (force[:, :2] @ qd[:2] <= 0).all()
        fast = 0.9 * force[:, 2] * np.hypot(*qd[:2]) / np.hypot(0.05, np.hypot(*qd[:2]))
        np.testing.assert_allclose(friction, fast, rtol=1e-9)


def test_humanoid_stands_under_pd_control(humanoid, stand):
    dt = 1 / 120
    simulator = Simulator(model_text(humanoid), dt, "pd")
    q0 = stand(simulator, humanoid)
    steps = 120
    window = simulator.window(
        WindowSpec(
            n_controls=28,
            control_index=np.tile(np.arange(28), (steps, 1)),
            targets=np.tile(q0[7:], (steps, 1)),
            frame_steps=np.array([steps]),
            reference=np.zeros((1, simulator.n_sites, 3)),
            q0=q0,
            qd0=np.zeros(34),
        )
    )
    _, q, qd = window.rollout(np.zeros(28))
    assert abs(q[-1, 2] - q0[2]) < 0.02
    weight = 9.81 * sum(b.mass for b in humanoid.bodies)
    late = [simulator.contacts(q[s], qd[s])[:, 2].sum() for s in range(90, 121)]
    assert np.mean(late) == pytest.approx(weight, rel=0.05)
