"""Small mechanisms with every kind of joint, and windows whose loss has every term."""

from __future__ import annotations

import dataclasses

import numpy as np

from workers.physics.model import Body, PhysicsModel, Site, Sphere, model_text
from workers.physics.model.rotations import exp_map
from workers.physics.simulation import Camera, Simulator, WindowSpec

ROUND = (0.02, 0.02, 0.02, 0.0, 0.0, 0.0)
UNEVEN = (0.03, 0.02, 0.025, 0.002, -0.001, 0.003)
GAINS = {"kp": 40.0, "kd": 2.0, "torque_max": 15.0, "damping": 0.3}


def walker() -> PhysicsModel:
    """Free root, two hinges in one place (a massless link), a ball with a cone, a sprung hinge."""
    bodies = (
        Body("trunk", -1, "free", (0, 0, 0), 3.0, (0.01, 0.0, 0.02), UNEVEN),
        Body(
            "hip_x",
            0,
            "revolute",
            (0.0, 0.1, -0.1),
            0.0,
            (0, 0, 0),
            (0.0,) * 6,
            (1.0, 0.0, 0.0),
            **GAINS,
            lower=-0.3,
            upper=0.2,
        ),
        Body(
            "hip_y",
            1,
            "revolute",
            (0, 0, 0),
            1.0,
            (0.0, 0.0, -0.15),
            UNEVEN,
            (0.0, 0.6, 0.8),
            **GAINS,
            lower=-np.inf,
            upper=np.inf,
            armature=0.02,
        ),
        Body(
            "shoulder",
            0,
            "spherical",
            (0.1, 0.0, 0.15),
            0.8,
            (0.1, 0.0, 0.0),
            ROUND,
            **GAINS,
            cone=0.4,
            armature=0.01,
        ),
        Body(
            "elbow",
            3,
            "revolute",
            (0.25, 0.0, 0.0),
            0.4,
            (0.08, 0.0, 0.01),
            ROUND,
            (0.0, 1.0, 0.0),
            **GAINS,
            stiffness=5.0,
        ),
        Body("neck", 0, "spherical", (0.0, 0.0, 0.3), 0.6, (0.0, 0.0, 0.1), UNEVEN, **GAINS),
    )
    spheres = (
        Sphere(2, (0.0, 0.0, -0.3), 0.05),
        Sphere(0, (0.0, -0.1, -0.3), 0.06),
        Sphere(4, (0.2, 0.0, 0.0), 0.04),
    )
    sites = tuple(Site(b.name, i, (0.05, 0.02, -0.1)) for i, b in enumerate(bodies))
    return PhysicsModel(bodies, spheres, sites)


def arm() -> PhysicsModel:
    """No free body: a ball on the world, then a hinge; its tip touches the ground."""
    bodies = (
        Body("upper", -1, "spherical", (0.0, 0.0, 0.45), 1.0, (0.0, 0.0, -0.1), UNEVEN, **GAINS),
        Body(
            "lower",
            0,
            "revolute",
            (0.0, 0.0, -0.2),
            0.5,
            (0.0, 0.0, -0.1),
            UNEVEN,
            (0.0, 1.0, 0.0),
            **GAINS,
            lower=-0.5,
            upper=0.5,
        ),
    )
    return PhysicsModel(
        bodies,
        (Sphere(1, (0.0, 0.0, -0.2), 0.05),),
        (Site("tip", 1, (0.0, 0.0, -0.2)), Site("middle", 0, (0.0, 0.0, -0.2))),
    )


def chain() -> PhysicsModel:
    """Seven links in a row from the world, balls and hinges in turn."""
    bodies = [
        Body(
            "link0", -1, "revolute", (0.0, 0.0, 2.0), 1.0, (0.1, 0.0, 0.0), UNEVEN, (0.0, 1.0, 0.0)
        )
    ]
    for i in range(1, 7):
        kind, axis = ("spherical", (0.0, 0.0, 1.0)) if i % 2 else ("revolute", (0.6, 0.0, 0.8))
        bodies.append(
            Body(f"link{i}", i - 1, kind, (0.2, 0.0, 0.01), 1.0 / i, (0.1, 0.01, 0.0), UNEVEN, axis)
        )
    return PhysicsModel(tuple(bodies), (), (Site("end", 6, (0.2, 0.0, 0.0)),))


def state(
    model: PhysicsModel, rng: np.random.Generator, spread: float = 0.4, height: float = 0.33
) -> tuple[np.ndarray, np.ndarray]:
    """A random state: rotations of about `spread` rad, the free root at `height` m."""
    q: list[float] = []
    qd: list[float] = []
    for body in model.bodies:
        turn = exp_map(spread * rng.normal(size=3))
        if body.joint == "free":
            q += [*(0.1 * rng.normal(size=2)), height, *turn]
            qd += list(rng.normal(size=6))
        elif body.joint == "spherical":
            q += list(turn)
            qd += list(rng.normal(size=3))
        else:
            q.append(spread * rng.normal())
            qd.append(rng.normal())
    return np.array(q), np.array(qd)


CAMERA = Camera.looking_at((3.0, 0.5, 1.0), (0.0, 0.0, 0.3), 600.0, (320.0, 240.0))
# As far as its data goes a term's weight is what makes it of the order of 1.
WEIGHTS = {
    "weight_position": 10.0,
    "weight_root": 5.0,
    "weight_com": 7.0,
    "weight_velocity": 0.3,
    "weight_reprojection": 1e-4,
    "weight_limit": 20.0,
    "weight_control": 0.1,
    "weight_smoothness": 0.2,
}


def full_spec(
    model: PhysicsModel, simulator: Simulator, seed: int, steps: int = 24, **changes: object
) -> WindowSpec:
    """A window with every term at work and the initial velocity in x."""
    rng = np.random.default_rng(seed)
    q0, qd0 = state(model, rng)
    axes, periods, frames = simulator.n_actuated, 3, 4
    index = (np.arange(steps)[:, None] * periods // steps) * axes + np.arange(axes)[None, :]
    sites = simulator.n_sites
    reference = simulator.sites(q0) + 0.1 * rng.normal(size=(frames, sites, 3))
    at = 7 if model.bodies[0].joint == "free" else 0
    confidence = rng.uniform(0.2, 1.0, size=(2, frames, sites))
    confidence[:, 0, 0] = 0.0
    reference[0, 0] = np.nan  # what has no confidence is not looked at
    keypoints = CAMERA.project(np.nan_to_num(reference)) + 5 * rng.normal(size=(frames, sites, 2))
    spec = WindowSpec(
        n_controls=axes * periods,
        control_index=index,
        targets=np.tile(q0[at:], (steps, 1)) if simulator.control == "pd" else None,
        frame_steps=np.array([steps // 4, steps // 2, 3 * steps // 4, steps]),
        reference=reference,
        q0=q0,
        qd0=qd0,
        control_scale=0.7,
        **WEIGHTS,
        confidence=confidence[0],
        root=q0[:3] + 0.1 * rng.normal(size=(frames, 3)),
        com=0.3 + 0.1 * rng.normal(size=(frames, 3)),
        velocities=rng.normal(size=(frames, sites, 3)),
        keypoints=keypoints,
        keypoint_confidence=confidence[1],
        camera=CAMERA,
        initial_velocity=True,
        velocity_scale=0.5,
    )
    if at == 0:
        spec = dataclasses.replace(spec, weight_root=0.0)
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


def simulator_of(model: PhysicsModel, control: str, dt: float = 1 / 120) -> Simulator:
    return Simulator(model_text(model), dt, control)
