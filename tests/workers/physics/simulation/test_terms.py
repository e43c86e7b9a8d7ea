"""The terms of the loss: what each is, and the gradient by forward mode and by differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.workers.physics.mechanisms import CAMERA, WEIGHTS, arm, full_spec, simulator_of, walker
from workers.physics.loss import PhysicsLoss, PhysicsOptions, options_hash, window_spec
from workers.physics.model import model_text
from workers.physics.native.binding import TERMS
from workers.physics.simulation import Camera, Simulator, Status

MODELS = {"walker": walker, "arm": arm}


def forward_mode(window, x):
    rows = [window.derivative(x, direction) for direction in np.eye(window.dim)]
    assert all(status is Status.OK for status, _, _ in rows)
    return np.array([slope for _, _, slope in rows])


def agree(grad, slopes):
    """1e-10 of every coordinate, but for what rounding leaves of the largest."""
    assert (np.abs(grad - slopes) <= 1e-10 * np.abs(slopes) + 1e-14 * np.abs(slopes).max()).all()


def differences(window, x, h=1e-5):
    steps = h * np.eye(window.dim)
    return np.array([(window.loss(x + d)[1] - window.loss(x - d)[1]) / (2 * h) for d in steps])


@pytest.mark.parametrize("height", [0.33, 2.0])
@pytest.mark.parametrize("control", ["pd", "torque"])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_of_all_terms_agrees_with_forward_mode(name, control, height):
    model = MODELS[name]()
    simulator = simulator_of(model, control)
    for seed in range(3):
        spec = full_spec(model, simulator, seed)
        if name == "walker":
            spec.q0[2] = height
        window = simulator.window(spec)
        x = 0.5 * np.random.default_rng(seed).standard_normal(window.dim)
        terms = window.terms(x)
        used = [term for term in TERMS if getattr(spec, f"weight_{term}")]
        assert all(terms[term] > 0 for term in used if term != "limit"), terms
        _, loss, grad = window.loss_and_grad(x)
        assert sum(terms.values()) == pytest.approx(loss, rel=1e-12)
        slopes = forward_mode(window, x)
        agree(grad, slopes)
        assert np.abs(grad - differences(window, x)).max() < 1e-6 * np.abs(grad).max()
    if name == "walker":
        q = window.rollout(x)[1]
        touching = min(simulator.spheres(state)[:, 2].min() for state in q) < 0.06
        assert touching == (height < 1)


@pytest.mark.parametrize("term", sorted(WEIGHTS))
def test_gradient_of_each_term_alone(term):
    model = walker()
    simulator = simulator_of(model, "pd")
    none = dict.fromkeys(WEIGHTS, 0.0)
    spec = full_spec(model, simulator, 5, **{**none, term: WEIGHTS[term]})
    window = simulator.window(spec)
    x = np.random.default_rng(5).standard_normal(window.dim)
    status, loss, grad = window.loss_and_grad(x)
    assert status is Status.OK and loss > 0
    assert window.terms(x)[term.removeprefix("weight_")] == loss
    agree(grad, forward_mode(window, x))


@pytest.mark.parametrize("control", ["pd", "torque"])
@pytest.mark.parametrize(("clip", "start"), [("backflip", 0.5), ("getup_facedown", 0.2)])
def test_humanoid_gradient_agrees_with_forward_mode(clip, start, control, humanoid):
    camera = Camera.looking_at((4.0, 0.0, 1.0), (0.0, 0.0, 1.0), 1000.0, (500.0, 500.0))
    options = PhysicsOptions(
        control=control,
        weight_root=10.0,
        weight_com=10.0,
        weight_velocity=0.1,
        camera=camera,
        weight_reprojection=1e-4,
        weight_limit=1.0,
        weight_smoothness=0.1,
        initial_velocity=True,
    )
    for fast in (False, True):
        simulator = Simulator(model_text(humanoid), options.dt, control, fast=fast)
        window = simulator.window(window_spec(clip, start, 0.1, options, simulator))
        x = 0.1 * np.random.default_rng(0).standard_normal(window.dim)
        _, _, grad = window.loss_and_grad(x)
        slopes = forward_mode(window, x)
        agree(grad, slopes)
    assert window.dim == 84 + 34 and (slopes != 0).all()


def test_terms_are_what_they_say(humanoid):
    """Each term by NumPy from the rollout."""
    model = walker()
    simulator = simulator_of(model, "pd")
    spec = full_spec(model, simulator, 1, camera=dataclasses.replace(CAMERA, near=0.01))
    window = simulator.window(spec)
    x = 0.3 * np.random.default_rng(0).standard_normal(window.dim)
    _, q, qd = window.rollout(x)
    terms = window.terms(x)
    n = spec.n_controls
    np.testing.assert_allclose(qd[0], spec.qd0 + 0.5 * x[n:])
    q, qd = q[spec.frame_steps], qd[spec.frame_steps]
    sites = np.stack([simulator.sites(state) for state in q])
    speeds = np.stack([simulator.site_velocities(*pair) for pair in zip(q, qd)])
    com = np.stack([simulator.center_of_mass(state) for state in q])

    def weighted(errors, weights):
        return np.sum(weights * np.nan_to_num(errors**2).sum(-1)) / np.sum(weights)

    changes = x[:n].reshape(3, -1)
    limited = [(7, -0.3, 0.2), (13, -3.14, 3.14)]  # hip_x and elbow in q
    excess = sum(
        np.sum(np.maximum(lo - q[:, i], 0) ** 2 + np.maximum(q[:, i] - hi, 0) ** 2)
        for i, lo, hi in limited
    )
    assert excess < 1 / 20  # the limits hold, up to their smoothing
    expected = {
        "position": weighted(sites - spec.reference, spec.confidence),
        "root": np.mean(np.sum((q[:, :3] - spec.root) ** 2, -1)),
        "com": np.mean(np.sum((com - spec.com) ** 2, -1)),
        "velocity": weighted(speeds - spec.velocities, spec.confidence),
        "reprojection": weighted(CAMERA.project(sites) - spec.keypoints, spec.keypoint_confidence),
        "control": np.mean(x[:n] ** 2),
        "smoothness": np.mean((changes[1:] - changes[:-1]) ** 2),
    }
    for term, value in expected.items():
        assert terms[term] == pytest.approx(WEIGHTS[f"weight_{term}"] * value, rel=1e-12), term


def test_limit_term_counts_excesses():
    """A state beyond a hinge's range and a ball's cone, held for one step."""
    model = walker()
    simulator = simulator_of(model, "torque", dt=1e-6)
    none = dict.fromkeys(WEIGHTS, 0.0)
    spec = full_spec(
        model, simulator, 0, steps=4, **{**none, "weight_limit": 1.0}, initial_velocity=False
    )
    q0 = np.zeros(simulator.nq)
    q0[[2, 3, 9, 14]] = 1.0
    q0[7] = 0.2 + 0.1
    angle = 0.4 + 0.2
    q0[9:13] = [np.cos(angle / 2), 0, np.sin(angle / 2), 0]
    window = simulator.window(dataclasses.replace(spec, q0=q0, qd0=np.zeros(simulator.nv)))
    cone = (np.sin(angle / 2) ** 2 - np.sin(0.2) ** 2) * 2 / np.sin(0.4)
    assert cone == pytest.approx(0.2, rel=0.3)  # radians, near the limit
    assert simulator.n_limited == 3
    assert window.loss(np.zeros(window.dim))[1] == pytest.approx((0.1**2 + cone**2) / 3, rel=1e-4)


def test_reprojection_is_smooth_through_the_camera():
    """A body that flies through the camera plane: finite, continuous, and differentiable."""
    model = walker()
    simulator = simulator_of(model, "pd")
    none = dict.fromkeys(WEIGHTS, 0.0)
    spec = full_spec(model, simulator, 2, **{**none, "weight_reprojection": 1e-4})
    losses = []
    for shift in np.linspace(-0.6, 0.6, 121):
        camera = dataclasses.replace(
            CAMERA, translation=(0.1, -0.2, CAMERA.translation[2] - 3.0 + shift)
        )
        window = simulator.window(dataclasses.replace(spec, camera=camera))
        x = np.zeros(window.dim)
        status, loss, grad = window.loss_and_grad(x)
        assert status is Status.OK
        if abs(shift) < 0.02:
            agree(grad, forward_mode(window, x))
        losses.append(loss)
    jumps = np.abs(np.diff(losses))
    assert jumps.max() < 0.2 * max(losses)


def test_zero_weight_needs_no_data_and_changes_nothing():
    plain, explicit = (
        PhysicsLoss("walk", 0.1, 0.25, options)
        for options in (PhysicsOptions(), PhysicsOptions(site_weight=(1.0,) * 18))
    )
    x = 0.1 * np.random.default_rng(0).standard_normal(210)
    assert plain.value_and_grad(x)[0] == explicit.value_and_grad(x)[0]


def test_options_of_the_terms():
    assert options_hash(PhysicsOptions()) == options_hash(PhysicsOptions(weight_com=0.0))
    assert options_hash(PhysicsOptions()) != options_hash(PhysicsOptions(weight_com=1.0))
    assert PhysicsLoss("walk", 0.1, 0.25, PhysicsOptions(initial_velocity=True)).dim == 210 + 34
    with pytest.raises(ValueError, match="camera: got None, want one where"):
        PhysicsOptions(weight_reprojection=1.0)
    with pytest.raises(ValueError, match=r"all of weight_position, .* are 0"):
        PhysicsOptions(weight_position=0.0)
    with pytest.raises(ValueError, match=r"site_weight has 2 numbers, the model has \d+ sites"):
        PhysicsLoss("walk", 0.1, 0.25, PhysicsOptions(site_weight=(1.0, 1.0)))


def test_optimising_the_initial_velocity_helps():
    optimize = pytest.importorskip("scipy.optimize")
    found = []
    for free in (False, True):
        loss = PhysicsLoss("jump", 0.4, 0.25, PhysicsOptions(initial_velocity=free))
        found.append(
            optimize.minimize(
                loss.value_and_grad,
                np.zeros(loss.dim),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 60},
            ).fun
        )
    assert found[1] < found[0]


def test_loss_from_a_users_spec():
    model = walker()
    simulator = simulator_of(model, "pd")
    spec = full_spec(model, simulator, 3)
    loss = PhysicsLoss.from_spec(spec, simulator, name="mine")
    x = loss.initial_guess(0)
    assert (loss.clip, loss.dim) == ("mine", spec.n_controls + simulator.nv)
    assert loss.seconds == pytest.approx(0.2)
    assert loss.value_and_grad(x)[0] == simulator.window(spec).loss(x)[1]
