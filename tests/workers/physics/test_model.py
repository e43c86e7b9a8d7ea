"""The humanoid as read from the URDF, and what malformed models are told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from workers.physics.model import PhysicsModel, load_humanoid, model_text
from workers.physics.shapes import Shape
from workers.physics.simulator import PhysicsError, Simulator, WindowSpec


def test_humanoid(humanoid):
    assert [body.name for body in humanoid.bodies] == [
        "root", "chest", "neck", "right_hip", "right_knee", "right_ankle", "right_shoulder",
        "right_elbow", "left_hip", "left_knee", "left_ankle", "left_shoulder", "left_elbow"]
    assert humanoid.n_actuated == 28
    assert sum(body.mass for body in humanoid.bodies) == pytest.approx(45.0, abs=1e-3)
    knee = humanoid.bodies[4]
    assert (knee.joint, knee.lower, knee.upper) == ("revolute", -3.14, 0.0)
    elbow = humanoid.bodies[7]
    assert elbow.mass == 1.5  # forearm and hand
    assert {"right_wrist", "left_wrist", "head", "right_toe"} <= {s.name for s in humanoid.sites}
    simulator = Simulator(model_text(humanoid), 1 / 120, "pd")
    assert (simulator.nq, simulator.nv, simulator.n_actuated) == (43, 34, 28)
    assert simulator.n_target == 36 and simulator.n_spheres == len(humanoid.spheres)


def test_left_and_right_mirror_each_other(humanoid):
    by_name = {body.name: body for body in humanoid.bodies}
    for name, body in by_name.items():
        if name.startswith("right_"):
            other = by_name["left_" + name[6:]]
            assert body.mass == other.mass and body.inertia == other.inertia
            assert body.offset[:2] == other.offset[:2] and body.offset[2] == -other.offset[2]


def test_capsule_inertia_against_sampling():
    capsule = Shape("capsule", (0.3, 0.8), 2.0, (0.0, 0.0, 0.0))
    rng = np.random.default_rng(0)
    p = rng.uniform(-0.7, 0.7, size=(400_000, 3))
    inside = np.hypot(np.hypot(p[:, 0], p[:, 1]), np.maximum(np.abs(p[:, 2]) - 0.4, 0)) < 0.3
    p = p[inside]
    sampled = 2.0 * np.array([np.mean(p[:, 1] ** 2 + p[:, 2] ** 2),
                              np.mean(p[:, 0] ** 2 + p[:, 2] ** 2),
                              np.mean(p[:, 0] ** 2 + p[:, 1] ** 2)])
    np.testing.assert_allclose(np.diag(capsule.inertia()), sampled, rtol=0.01)


def test_box_contacts_touch_all_its_faces():
    balls = Shape("box", (0.4, 0.1, 0.2), 1.0, (0.0, 0.0, 0.0)).balls()
    assert len(balls) == 4
    for axis, half in enumerate((0.2, 0.05, 0.1)):
        reach = [center[axis] + radius for center, radius in balls]
        assert max(reach) == pytest.approx(half)


@pytest.mark.parametrize(("old", "new", "message"), [
    ('type="revolute"', 'type="prismatic"', "joint right_knee is 'prismatic'"),
    ('<parent link="chest" />', '<parent link="torso" />', "link neck has no earlier parent torso"),
    ('radius = "0.360000"', 'radius = "wide"', "needs radius with 1 finite number"),
    ("</link>", "</lnk>", "not well-formed XML"),
    ('name="chest" type="spherical"', 'name="spine" type="spherical"', None),
    ('<mass value = "14.000000" />', "", "<link name='chest'> lacks <inertial/mass>"),
])
def test_malformed_urdf(old, new, message, assets, tmp_path):
    path = tmp_path / "humanoid.urdf"
    text = (assets / "humanoid.urdf").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    if message is None:  # joint names do not matter, links carry them
        load_humanoid(path)
        return
    with pytest.raises(ValueError, match=message) as caught:
        load_humanoid(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_missing_urdf(tmp_path):
    with pytest.raises(ValueError, match=r"nothing.urdf: cannot be read \(No such file"):
        load_humanoid(tmp_path / "nothing.urdf")


@pytest.mark.parametrize(("line", "message"), [
    ("body a 0 free", "line 5: parent must be -1 or an earlier body"),
    ("body a -1 sliding", "line 5: joint type 'sliding' is not free, spherical or revolute"),
    ("sphere 3 0 0 0 1", "line 5: sphere body names no earlier body"),
    ("gravity 0 0 down", "line 5: gravity is not a finite number: 'down'"),
    ("gravity 0 0 -9.81 1", "line 5: unexpected '1' at the end"),
    ("colour red", "line 5: unknown keyword 'colour'"),
    ("site", "line 5: missing site body"),
])
def test_malformed_model_text(line, message):
    head = model_text(PhysicsModel(())).rstrip("\n")
    with pytest.raises(ValueError, match=f"^model text {message}$"):
        Simulator(f"{head}\n{line}\n", 1 / 120, "pd")


def test_model_text_that_lacks_something():
    with pytest.raises(ValueError, match="model text holds no body"):
        Simulator(model_text(PhysicsModel(())), 1 / 120, "pd")
    with pytest.raises(ValueError, match="line 1: expected 'optimus-physics-model 1'"):
        Simulator("robot", 1 / 120, "pd")


def test_wrong_window_specs(humanoid):
    simulator = Simulator(model_text(humanoid), 1 / 120, "pd")
    spec = WindowSpec(28, np.tile(np.arange(28), (5, 1)), np.zeros((5, 36)), np.array([5]),
                      np.zeros((1, simulator.n_sites, 3)), np.zeros(43), np.zeros(34))
    simulator.window(spec)
    for change, message in [
        ({"targets": None}, "PD control needs targets"),
        ({"n_controls": 27}, "control_index points outside x"),
        ({"frame_steps": np.array([6])}, "frame_steps must rise strictly within 1..n_steps"),
        ({"q0": np.zeros(42)}, r"q0 must have shape \(43,\), got \(42,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            simulator.window(dataclasses.replace(spec, **change))


def test_stale_handles_are_errors_not_crashes(humanoid):
    simulator = Simulator(model_text(humanoid), 1 / 120, "pd")
    simulator._handle.value += 1000
    with pytest.raises(PhysicsError, match="no model has handle"):
        simulator.sites(np.zeros(43))
