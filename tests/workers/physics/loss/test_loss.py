"""PhysicsLoss: sizes, options, messages, and behaviour far from sense."""

from __future__ import annotations

import re

import numpy as np
import pytest

from workers.physics import PhysicsLoss, PhysicsOptions, Status, options_hash, random_window
from workers.physics.motion import CLIPS, SPLITS


@pytest.fixture(autouse=True)
def _assets(assets):
    """Every test here needs the clips."""


@pytest.mark.parametrize(("seconds", "n"), [(0.25, 210), (0.5, 420), (1.0, 840)])
@pytest.mark.parametrize("control", ["pd", "torque"])
def test_number_of_variables(seconds, n, control):
    loss = PhysicsLoss("walk", 0.0, seconds, PhysicsOptions(control=control))
    assert loss.dim == n
    x0 = loss.initial_guess(3)
    assert x0.shape == (n,) and x0.dtype == np.float64 and not x0.any()
    value, grad = loss.value_and_grad(x0)
    assert value > 0 and grad.shape == (n,) and grad.dtype == np.float64 and grad.any()


@pytest.mark.parametrize("control", ["pd", "torque"])
def test_every_variable_matters(control):
    loss = PhysicsLoss("walk", 0.1, 0.25, PhysicsOptions(control=control, weight_control=0.0))
    _, grad = loss.value_and_grad(loss.initial_guess(0) + 0.01)
    assert (grad != 0).all()


def test_controls_act_only_forwards():
    """A control that starts at step s leaves every earlier state as it was."""
    loss = PhysicsLoss("run", 0.1, 0.25)
    x = np.zeros(loss.dim)
    _, before, _ = loss.window.rollout(x)
    x[-1] = 0.5
    _, after, _ = loss.window.rollout(x)
    changed = (before != after).any(axis=1)
    assert changed[-1] and not changed[:20].any()


def test_initial_noise_depends_on_the_seed_alone():
    options = PhysicsOptions(initial_noise=0.1)
    one, two = (PhysicsLoss("walk", s, 0.25, options) for s in (0.0, 0.1))
    np.testing.assert_array_equal(one.initial_guess(2**63 + 5), two.initial_guess(2**63 + 5))
    assert (one.initial_guess(1) != one.initial_guess(2)).all()


def test_control_weight_is_the_mean_square():
    a, b = (PhysicsLoss("walk", 0.1, 0.25, PhysicsOptions(weight_control=w)) for w in (0.0, 2.0))
    x = np.full(a.dim, 0.1)
    assert b.value_and_grad(x)[0] - a.value_and_grad(x)[0] == pytest.approx(2 * 0.01)


def test_following_the_clip_beats_holding_still():
    held, followed = (
        PhysicsLoss("walk", 0.1, 0.25, PhysicsOptions(target_base=base))
        for base in ("initial", "reference")
    )
    x = np.zeros(held.dim)
    assert followed.value_and_grad(x)[0] < 0.5 * held.value_and_grad(x)[0]


def test_gradient_descent_finds_the_motion():
    optimize = pytest.importorskip("scipy.optimize")
    loss = PhysicsLoss("walk", 0.1, 0.25)
    start = loss.value_and_grad(np.zeros(loss.dim))[0]
    found = optimize.minimize(
        loss.value_and_grad,
        np.zeros(loss.dim),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 40},
    )
    assert found.fun < 0.05 * start


@pytest.mark.parametrize("clip", CLIPS)
def test_every_clip_evaluates(clip):
    value, grad = PhysicsLoss(clip, 0.1, 0.25).value_and_grad(np.zeros(210))
    assert np.isfinite(value) and np.isfinite(grad).all() and np.abs(grad).max() < 1e3


def test_random_rollouts_are_finite_or_say_so():
    """60 windows, controls from tame to absurd; never a nan that calls itself OK."""
    rng, counts = np.random.default_rng(0), {Status.OK: 0, Status.NONFINITE: 0}
    for seed in range(60):
        split = list(SPLITS)[seed % 3]
        control = ("pd", "torque")[seed % 2]
        clip, start = random_window(seed, split, 0.5)
        loss = PhysicsLoss(clip, start, 0.5, PhysicsOptions(control=control))
        scale = 10.0 ** rng.uniform(-2, 1)
        status, value, grad = loss.evaluate(scale * rng.standard_normal(loss.dim))
        counts[status] += 1
        assert (status is Status.OK) == bool(np.isfinite(value) and np.isfinite(grad).all())
    assert counts[Status.OK] == 60


def test_torques_are_bounded():
    loss = PhysicsLoss("walk", 0.0, 0.5, PhysicsOptions(control="torque", weight_control=0.0))
    at_most, far = (loss.value_and_grad(np.full(loss.dim, x))[0] for x in (1e6, 1e100))
    assert far == pytest.approx(at_most, rel=1e-6)


def test_overflow_is_a_status():
    loss = PhysicsLoss("walk", 0.0, 0.5)
    status, value, grad = loss.evaluate(np.full(loss.dim, 1e200))
    assert status is Status.NONFINITE and value == np.inf and np.isnan(grad).all()
    value, grad = loss.value_and_grad(np.full(loss.dim, 1e200))
    assert value == np.inf and np.isnan(grad).all()
    assert loss.evaluate(np.zeros(loss.dim))[0] is Status.OK  # nothing is left over


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(209), r"x must have shape \(210,\), got \(209,\)"),
        (np.zeros((1, 210)), r"x must have shape \(210,\), got \(1, 210\)"),
        (np.zeros(210, np.float32), r"x must be a float64 array \[210\], got float32"),
        ([0.0] * 210, r"x must be a float64 array \[210\], got list"),
        (np.where(np.arange(210) == 7, np.nan, 0.0), r"x must be finite, x\[7\] is nan"),
    ],
)
def test_wrong_x(x, message):
    loss = PhysicsLoss("walk", 0.1, 0.25)
    with pytest.raises(ValueError, match=f"^{message}$"):
        loss.value_and_grad(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("moonwalk", 0.0, 0.25), "no clip 'moonwalk'; there are: backflip, cartwheel, crawl"),
        (("run", 0.5, 0.5), "a window of 0.5 s from 0.5 s does not fit: clip 'run' is 0.80 s long"),
        (("run", -1.0, 0.5), "a window needs start >= 0 and seconds > 0, got -1.0 and 0.5"),
        (("run", 0.0, float("nan")), "a window needs start >= 0 and seconds > 0"),
        (("run", 0.0, 0.251), "seconds=0.251 is not a whole number of steps dt=0.00833333"),
        (("run", 0.0, 1 / 60), "14 controls are too few for 28 joint axes"),
        (("run", 0.0, 0.25, PhysicsOptions(control_rate=240.0)), "do not fit into 30 steps"),
    ],
)
def test_wrong_windows(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        PhysicsLoss(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "velocity"}, "control: got 'velocity', want one of torque, pd"),
        ({"target_base": "zero"}, "target_base: got 'zero', want one of initial, reference"),
        ({"dt": 0.0}, "dt: got 0.0, want > 0"),
        ({"weight_control": -1.0}, "weight_control: got -1.0, want >= 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        PhysicsOptions(**options)


def test_wrong_backend():
    with pytest.raises(ValueError, match="backend: got 'window', want one of direct, tensorflow"):
        PhysicsLoss("walk", 0.0, 0.25, backend="window")


def test_options_hash_is_stable():
    assert options_hash(PhysicsOptions()) == options_hash(PhysicsOptions(control="pd"))
    assert options_hash(PhysicsOptions()) != options_hash(PhysicsOptions(dt=1 / 240))
    assert re.fullmatch("[0-9a-f]{16}", options_hash(PhysicsOptions()))


def test_random_windows():
    drawn = {random_window(seed, "train", 0.25) for seed in range(300)}
    assert {clip for clip, _ in drawn} == set(SPLITS["train"]) and len(drawn) > 200
    assert random_window(7, "train", 0.25) == random_window(7, "train", 0.25)
    assert random_window(2**64 - 1, "test", 0.25)[0] in SPLITS["test"]
    for clip, start in sorted(drawn)[::10]:
        PhysicsLoss(clip, start, 0.25)
        assert abs(start * 30 - round(start * 30)) < 1e-9
    assert all(clip != "run" for clip, _ in (random_window(s, "train", 1.0) for s in range(100)))


def test_random_window_messages():
    with pytest.raises(ValueError, match="split: got 'dev', want one of train, validation, test"):
        random_window(0, "dev", 0.25)
    with pytest.raises(ValueError, match=r"no clip of split 'test' holds 9 s; the longest is 2.7"):
        random_window(0, "test", 9.0)
