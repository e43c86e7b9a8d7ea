"""Random rollouts: never a crash, never a number that is not finite without a status.

`make test` runs a few hundred short ones; `make stress` (marker `stress`) 10,000 forward and 1,000
with gradient.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.workers.physics.mechanisms import full_spec, walker
from workers.physics.loss import PhysicsLoss, PhysicsOptions, window_spec
from workers.physics.loss.windows import random_window
from workers.physics.model import model_text
from workers.physics.motion import SPLITS
from workers.physics.simulation import Simulator, Status, loss_and_grad_batch

STRESS = os.environ.get("OPTIMUS_STRESS") == "1"


def checked(status: Status, *numbers: np.ndarray | float) -> Status:
    finite = all(np.isfinite(number).all() for number in numbers)
    assert finite == (status is Status.OK), (status, finite)
    return status


def random_rollouts(humanoid, count: int, gradients: int, seconds: float) -> dict[bool, list[int]]:
    """Standing, moving, falling and thrown bodies under tame to absurd controls.

    {tame: [OK, NONFINITE]}. Not tame is what may overflow: PD targets of tens of radians (moments
    of 10 kN m), limbs at hundreds of rad/s.
    """
    rng, counts = np.random.default_rng(0), {True: [0, 0], False: [0, 0]}
    simulators = {
        control: Simulator(model_text(humanoid), 1 / 120, control) for control in ("pd", "torque")
    }
    for i in range(count):
        control = ("pd", "torque")[i % 2]
        clip, start = random_window(i, list(SPLITS)[i % 3], seconds)
        options = PhysicsOptions(
            control=control, weight_velocity=0.1, initial_velocity=True, weight_limit=1.0
        )
        simulator = simulators[control]
        spec = window_spec(clip, start, seconds, options, simulator)
        if i % 5 == 1:  # upside down or lying, somewhere above the ground
            spec.q0[3:7] = rng.normal(size=4)
            spec.q0[3:7] /= np.linalg.norm(spec.q0[3:7])
        if i % 5 == 2:
            spec.q0[2] += rng.uniform(-0.3, 1.0)  # deep in the ground, or falling on it
        tame = True
        if i % 5 == 3:
            faster = 10.0 ** rng.uniform(0, 2)
            spec.qd0[:] *= faster
            tame = faster < 3
        window = simulator.window(spec)
        scale = 10.0 ** rng.uniform(-2, 3)
        x = scale * rng.standard_normal(window.dim)
        tame = tame and (scale < 3 or control == "torque")
        x[window.n_controls :] *= 0.01  # at most some 10 m/s and rad/s
        if i % 50 == 49:
            x *= 10.0 ** rng.uniform(50, 300)
            tame = False
        evaluate = window.loss_and_grad if i < gradients else window.loss
        counts[tame][checked(*evaluate(x))] += 1
        status, q, qd = window.rollout(x)
        assert status is Status.NONFINITE or (np.isfinite(q).all() and np.isfinite(qd).all())
    return counts


def test_500_random_rollouts(humanoid):
    counts = random_rollouts(humanoid, 500, 150, 0.1)
    print("tame: [finite, with a status]", counts)
    assert sum(counts[True]) > 250 and counts[True][1] <= 0.01 * sum(counts[True])


@pytest.mark.skipif(not STRESS, reason="make stress runs it (OPTIMUS_STRESS=1)")
@pytest.mark.timeout(3000)
def test_stress(humanoid):
    counts = random_rollouts(humanoid, 10_000, 1_000, 0.5)
    print("tame: [finite, with a status]", counts)
    assert sum(counts[True]) > 5_000 and counts[True][1] <= 0.02 * sum(counts[True])


def test_small_mechanism_with_every_term_survives_absurd_controls():
    model = walker()
    rng = np.random.default_rng(1)
    for control in ("pd", "torque"):
        simulator = Simulator(model_text(model), 1 / 60, control)
        for seed in range(100):
            window = simulator.window(full_spec(model, simulator, seed))
            x = 10.0 ** rng.uniform(-2, 160) * rng.standard_normal(window.dim)
            status, loss, grad = window.loss_and_grad(x)
            checked(status, loss, grad)
            if status is Status.NONFINITE:
                assert loss == np.inf and np.isnan(grad).all()
                assert set(window.terms(x).values()) <= {np.inf}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_controls_are_a_status(bad, assets):
    for control in ("pd", "torque"):
        window = PhysicsLoss("walk", 0.1, 0.25, PhysicsOptions(control=control)).window
        x = np.zeros(window.dim)
        x[5] = bad
        assert checked(*window.loss_and_grad(x)) is Status.NONFINITE


def test_batch_is_bit_equal_and_keeps_its_rows_apart(assets):
    losses = [PhysicsLoss(clip, 0.1, 0.25) for clip in ("walk", "roll", "kick", "jump", "run")]
    windows = [loss.window for loss in losses]
    x = 0.1 * np.random.default_rng(0).standard_normal((5, 210))
    x[2] = 1e200
    for threads in (0, 1, 2, 9):
        status, loss, grad = loss_and_grad_batch(windows, x, threads)
        assert [s is Status.OK for s in status] == [True, True, False, True, True]
        for i, window in enumerate(windows):
            alone = window.loss_and_grad(x[i])
            assert (status[i], loss[i]) == alone[:2]
            np.testing.assert_array_equal(grad[i], alone[2])
    assert loss_and_grad_batch([], np.zeros((0, 0)))[0] == []
    with pytest.raises(ValueError, match=r"x must have shape \(5, 210\), got \(4, 210\)"):
        loss_and_grad_batch(windows, x[:4])
    other = PhysicsLoss("walk", 0.1, 0.5).window
    with pytest.raises(ValueError, match="x has 210 entries, the window has 420 variables"):
        loss_and_grad_batch([windows[0], other], x[:2])
