"""Bodies of different people: numbers are data, structure is what tapes and code are made for."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.workers.physics.mechanisms import full_spec, walker
from workers.physics.loss import PhysicsOptions, window_spec
from workers.physics.model import PhysicsModel, model_text
from workers.physics.native import generated_library
from workers.physics.simulation import Simulator


def changed(model: PhysicsModel, rng: np.random.Generator) -> PhysicsModel:
    """Every number of the model by up to 20 %: masses, lengths, gains, limits, contact."""

    def other(value):
        if isinstance(value, tuple):
            return tuple(other(v) for v in value)
        return value * rng.uniform(0.9, 1.1) if isinstance(value, float) else value

    def part(item, *kept):
        return dataclasses.replace(
            item,
            **{
                f.name: other(getattr(item, f.name))
                for f in dataclasses.fields(item)
                if f.name not in (*kept, "axis")
            },
        )

    def body(b):
        xx, yy, zz, *rest = b.inertia
        factor = rng.uniform(0.9, 1.1)  # one factor: the round stay round
        return dataclasses.replace(
            part(b, "inertia"), inertia=tuple(factor * v for v in (xx, yy, zz, *rest))
        )

    return dataclasses.replace(
        model,
        bodies=tuple(map(body, model.bodies)),
        spheres=tuple(map(part, model.spheres)),
        sites=tuple(map(part, model.sites)),
        contact=part(model.contact),
        limit=part(model.limit),
    )


@pytest.mark.parametrize("control", ["pd", "torque"])
def test_models_of_one_structure_share_a_tape_and_keep_their_numbers(control):
    """Windows of several people in turn, and at once, each with its own gradient."""
    people = [walker(), *(changed(walker(), np.random.default_rng(i)) for i in range(3))]
    people.append(walker().scaled(1.1, 1.3))
    simulators = [Simulator(model_text(model), 1 / 120, control, fast=False) for model in people]
    assert len({s.structure for s in simulators}) == 1
    windows = [s.window(full_spec(m, s, 1)) for m, s in zip(people, simulators)]
    x = 0.3 * np.random.default_rng(0).standard_normal(windows[0].dim)
    first = [w.loss_and_grad(x) for w in windows]
    assert len({loss for _, loss, _ in first}) == len(people)
    for window, (_, _, grad) in zip(windows, first):
        direction = np.random.default_rng(1).standard_normal(window.dim)
        _, _, slope = window.derivative(x, direction)
        assert grad @ direction == pytest.approx(slope, rel=1e-11)
    with ThreadPoolExecutor(6) as pool:
        for k, (_, loss, grad) in enumerate(
            pool.map(lambda k: windows[k % len(windows)].loss_and_grad(x), range(60))
        ):
            assert loss == first[k % len(people)][1]
            np.testing.assert_array_equal(grad, first[k % len(people)][2])


@pytest.mark.parametrize("dt", [1 / 60, 1 / 120, 1 / 240, 1 / 500])
def test_humanoids_of_any_size_and_step_use_the_shipped_code(dt, humanoid):
    person = humanoid.scaled(0.9, 0.8)
    options = PhysicsOptions(dt=dt)
    fast, tape = (Simulator(model_text(person), dt, "pd", fast=fast) for fast in (True, False))
    if not fast.fast:
        pytest.skip("generated code is not built (python -m workers.physics.build --fast)")
    windows = [s.window(window_spec("walk", 0.1, 0.2, options, s)) for s in (fast, tape)]
    x = 0.1 * np.random.default_rng(0).standard_normal(windows[0].dim)
    (_, loss, grad), (_, tape_loss, tape_grad) = (w.loss_and_grad(x) for w in windows)
    assert loss == tape_loss
    assert np.abs(grad - tape_grad).max() <= 1e-12 * np.abs(grad).max()


def test_structure(humanoid):
    def key(model, dt=1 / 120, control="pd"):
        return generated_library(Simulator(model_text(model), dt, control, fast=False).structure)

    assert key(humanoid) == key(humanoid, dt=1 / 300) == key(humanoid.scaled(1.2, 0.7))
    assert key(humanoid) != key(humanoid, control="torque")
    armed = dataclasses.replace(humanoid.bodies[1], armature=0.01)
    cone = dataclasses.replace(humanoid.bodies[1], cone=1.0)
    for body in (armed, cone):
        bodies = (humanoid.bodies[0], body, *humanoid.bodies[2:])
        assert key(dataclasses.replace(humanoid, bodies=bodies)) != key(humanoid)
    assert key(dataclasses.replace(humanoid, sites=humanoid.sites[:-1])) != key(humanoid)


def test_scaled(humanoid):
    tall = humanoid.scaled(1.1, 1.4)
    assert tall.mass == pytest.approx(1.4 * humanoid.mass)
    one, other = (Simulator(model_text(m), 1 / 120, "pd", fast=False) for m in (humanoid, tall))
    q = np.zeros(43)
    q[[3, 7, 11, 15, 20, 24, 29, 34, 38]] = 1.0
    np.testing.assert_allclose(other.sites(q), 1.1 * one.sites(q), atol=1e-12)
    with pytest.raises(ValueError, match="length and mass must be positive factors, got 0 and 1"):
        humanoid.scaled(0, 1)


def test_spherical_limit_holds_and_is_conservative(simulate):
    """A ball thrown against its cone comes back with the energy it had (but for what the implicit
    step takes, first order in dt), and no further than k lets it; without a cone it passes."""
    from workers.physics.model import Body, Limit, Site, Sphere  # noqa: F401

    turns = []
    for cone in (0.0, 0.8):
        ball = Body(
            "ball", -1, "spherical", (0, 0, 0), 1.0, (0, 0, 0), (0.1, 0.1, 0.1, 0, 0, 0), cone=cone
        )
        model = PhysicsModel(
            (ball,),
            sites=(Site("a", 0, (0.0, 0.0, 0.0)),),
            gravity=(0, 0, 0),
            limit=Limit(damping=0.0),
        )
        q, qd = simulate(model, np.array([1.0, 0, 0, 0]), np.array([1.0, 2.0, -1.0]), 0.8, 1 / 7680)
        turns.append(2 * np.arccos(np.clip(q[:, 0], -1, 1)))
        speed = np.linalg.norm(qd, axis=1)
    assert turns[0].max() > 1.9
    assert 0.8 < turns[1].max() < 0.9  # 0.3 J against 1000 N m / rad
    assert speed[-1] == pytest.approx(speed[0], rel=0.05) and turns[1][-1] < 0.8
