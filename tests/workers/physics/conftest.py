"""Fixtures. What cannot be built or fetched here is skipped, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from workers.physics.assets import AssetError, ensure_assets
from workers.physics.build import BuildError, build_library
from workers.physics.model import PhysicsModel, model_text
from workers.physics.model.urdf import load_humanoid
from workers.physics.simulation import Simulator, Status, WindowSpec


@pytest.fixture(scope="session", autouse=True)
def library() -> Path:
    try:
        return build_library()
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def assets() -> Path:
    try:
        return ensure_assets()
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def humanoid(assets: Path) -> PhysicsModel:
    return load_humanoid(assets / "humanoid.urdf")


@pytest.fixture(scope="session")
def simulate() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """simulate(model, q0, qd0, seconds, dt, torque=0) -> q [S + 1, nq], qd [S + 1, nv].

    Torque control; `torque` [n_actuated] is in units of each joint's largest torque.
    """

    def run(model, q0, qd0, seconds, dt, torque=None):
        simulator = Simulator(model_text(model), dt, "torque")
        steps, n = round(seconds / dt), max(1, simulator.n_actuated)
        window = simulator.window(
            WindowSpec(
                n_controls=n,
                control_index=np.tile(np.arange(simulator.n_actuated), (steps, 1)),
                targets=None,
                frame_steps=np.array([steps]),
                reference=np.zeros((1, simulator.n_sites, 3)),
                q0=q0,
                qd0=qd0,
            )
        )
        status, q, qd = window.rollout(np.zeros(n) if torque is None else torque)
        assert status is Status.OK
        return q, qd

    return run


def standing_pose(simulator: Simulator, model: PhysicsModel) -> np.ndarray:
    """All joints at zero, upright, soles on the ground."""
    q = np.zeros(simulator.nq)
    q[3:7] = [np.sqrt(0.5), np.sqrt(0.5), 0, 0]
    at = 7
    for body in model.bodies[1:]:
        width = 4 if body.joint == "spherical" else 1
        if width == 4:
            q[at] = 1.0
        at += width
    radii = np.array([sphere.radius for sphere in model.spheres])
    q[2] = np.max(radii - simulator.spheres(q)[:, 2])
    return q


@pytest.fixture(scope="session")
def stand() -> Callable[[Simulator, PhysicsModel], np.ndarray]:
    return standing_pose
