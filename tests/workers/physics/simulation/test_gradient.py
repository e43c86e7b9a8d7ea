"""The whole gradient against central differences at one fixed step, and along time."""

from __future__ import annotations

import numpy as np
import pytest

from workers.physics.loss import PhysicsLoss, PhysicsOptions, window_spec
from workers.physics.model import model_text
from workers.physics.simulation import Simulator, Status, Window

STEP = 1e-5
# Airborne, walking, and lying on the ground with many contacts.
WINDOWS = [("backflip", 0.5), ("walk", 0.1), ("getup_facedown", 0.2), ("roll", 0.8)]


@pytest.fixture(autouse=True)
def _assets(assets):
    """Every test here needs the clips."""


def central_differences(window: Window, x: np.ndarray) -> np.ndarray:
    columns = []
    for i in range(window.n_controls):
        ahead, behind = x.copy(), x.copy()
        ahead[i] += STEP
        behind[i] -= STEP
        columns.append((window.loss(ahead)[1] - window.loss(behind)[1]) / (2 * STEP))
    return np.array(columns)


@pytest.mark.parametrize("control", ["pd", "torque"])
@pytest.mark.parametrize(("clip", "start"), WINDOWS)
def test_gradient_agrees_with_central_differences(clip, start, control, humanoid):
    options = PhysicsOptions(control=control)
    simulator = Simulator(model_text(humanoid), options.dt, control, fast=False)  # by tape
    window = simulator.window(window_spec(clip, start, 0.25, options, simulator))
    x = 0.1 * np.random.default_rng(0).standard_normal(window.n_controls)
    status, _, grad = window.loss_and_grad(x)
    assert status is Status.OK
    error = np.abs(grad - central_differences(window, x)).max() / np.abs(grad).max()
    print(f"{clip} {control}: max error {error:.1e} of the largest component")
    assert error < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        PhysicsOptions(dt=1 / 240),
        PhysicsOptions(target_base="reference", control_scale=0.3),
        PhysicsOptions(control_rate=25.0),
        PhysicsOptions(frame_rate=60.0, weight_control=1.0),
    ],
)
def test_directional_derivative(options):
    loss = PhysicsLoss("run", 0.2, 0.3 if options.control_rate == 25 else 0.5, options)
    rng = np.random.default_rng(1)
    x, d = 0.2 * rng.standard_normal(loss.dim), rng.standard_normal(loss.dim)
    _, _, grad = loss.evaluate(x)
    ahead, behind = (loss.window.loss(x + s * STEP * d)[1] for s in (1, -1))
    assert grad @ d == pytest.approx((ahead - behind) / (2 * STEP), rel=1e-6)


def test_loss_alone_is_the_loss_with_gradient():
    loss = PhysicsLoss("jump", 0.3, 0.25)
    x = 0.3 * np.random.default_rng(2).standard_normal(loss.dim)
    assert loss.window.loss(x) == loss.evaluate(x)[:2]


def test_gradient_at_zero_rotation_vectors():
    """x = 0 is where a careless logarithm or square root gives nan."""
    loss = PhysicsLoss("walk", 0.1, 0.25)
    x = np.zeros(loss.dim)
    _, _, grad = loss.evaluate(x)
    assert np.abs(grad - central_differences(loss.window, x)).max() < 1e-6 * np.abs(grad).max()
