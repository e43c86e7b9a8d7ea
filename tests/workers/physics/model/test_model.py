"""The humanoid as read from the URDF, and what malformed models are told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from workers.physics.model import PhysicsModel, model_text
from workers.physics.model.shapes import Shape
from workers.physics.model.urdf import load_humanoid
from workers.physics.simulation import Camera, PhysicsError, Simulator, WindowSpec


def test_humanoid(humanoid):
    assert [body.name for body in humanoid.bodies] == [
        "root",
        "chest",
        "neck",
        "right_hip",
        "right_knee",
        "right_ankle",
        "right_shoulder",
        "right_elbow",
        "left_hip",
        "left_knee",
        "left_ankle",
        "left_shoulder",
        "left_elbow",
    ]
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
    sampled = 2.0 * np.array(
        [
            np.mean(p[:, 1] ** 2 + p[:, 2] ** 2),
            np.mean(p[:, 0] ** 2 + p[:, 2] ** 2),
            np.mean(p[:, 0] ** 2 + p[:, 1] ** 2),
        ]
    )
    np.testing.assert_allclose(np.diag(capsule.inertia()), sampled, rtol=0.01)


def test_box_contacts_touch_all_its_faces():
    balls = Shape("box", (0.4, 0.1, 0.2), 1.0, (0.0, 0.0, 0.0)).balls()
    assert len(balls) == 4
    for axis, half in enumerate((0.2, 0.05, 0.1)):
        reach = [center[axis] + radius for center, radius in balls]
        assert max(reach) == pytest.approx(half)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('type="revolute"', 'type="prismatic"', "joint right_knee is 'prismatic'"),
        (
            '<parent link="chest" />',
            '<parent link="torso" />',
            "link neck has no parent link torso",
        ),
        ('radius = "0.360000"', 'radius = "wide"', "radius needs 1 finite number"),
        ("</link>", "</lnk>", "not well-formed XML"),
        ('name="chest" type="spherical"', 'name="spine" type="spherical"', None),
        ('<mass value = "14.000000" />', "", "<inertial>: lacks <mass>"),
        (
            '<mass value = "14.000000" />',
            '<mass value = "-14" />',
            "chest has a negative mass, -14",
        ),
        (
            '<mass value = "14.000000" />',
            '<mass value = "nan" />',
            "value needs 1 finite number",
        ),
        (
            '<parent link="chest" />',
            '<parent link="neck" />',
            "links neck hang on each other in a c",
        ),
        (
            '<axis xyz = "0.000000 0.000000 1.000000" />',
            '<axis xyz = "0 0 2" />',
            "an axis that is",
        ),
    ],
)
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


def test_truncated_urdf(assets, tmp_path):
    path, text = tmp_path / "humanoid.urdf", (assets / "humanoid.urdf").read_text()
    for length in range(0, text.index("</robot>"), 211):
        path.write_text(text[:length])
        with pytest.raises(ValueError, match=str(path)):
            load_humanoid(path)


def test_missing_urdf(tmp_path):
    with pytest.raises(ValueError, match=r"nothing.urdf: cannot be read \(No such file"):
        load_humanoid(tmp_path / "nothing.urdf")


FREE = "body a -1 free 0 0 0 0 0 1 {} 0 0 0 {} 0 0 0 0 0 0 0 0 0"
HINGE = "body a -1 revolute 0 0 0 {} 1 0 0 0 1 1 1 0 0 0 {}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("body a 0 free", "line 5: parent must be -1 or an earlier body"),
        ("body a -1 sliding", "line 5: joint type 'sliding' is not free, spherical or revolute"),
        ("sphere 3 0 0 0 1", "line 5: sphere body names no earlier body"),
        ("gravity 0 0 down", "line 5: gravity is not a finite number: 'down'"),
        ("gravity 0 0 -9.81 1", "line 5: unexpected '1' at the end"),
        ("colour red", "line 5: unknown keyword 'colour'"),
        ("site", "line 5: missing site body"),
        (FREE.format("-1", "1 1 1 0 0 0"), "line 5: mass must not be negative"),
        (FREE.format("nan", "1 1 1 0 0 0"), "line 5: mass is not a finite number: 'nan'"),
        (FREE.format("0", "0 0 0 0 0 0"), "line 5: mass must be positive for the outermost body"),
        (FREE.format("0", "1 1 1 0 0 0"), "line 5: mass must be positive where there is inertia"),
        (FREE.format("1", "1 1 -1 0 0 0"), "line 5: inertia must be positive definite"),
        (
            FREE.format("1", "1 1 3 0 0 0"),
            "line 5: no body has such an inertia: a principal moment .*",
        ),
        (HINGE.format("0 0 2", "0 0 0 0 0 0 -1 1 0"), "line 5: axis must have length 1"),
        (
            HINGE.format("0 0 1", "0 0 0 0 0 0 1 -1 0"),
            "line 5: lower limit must be below upper limit",
        ),
        (
            HINGE.format("0 0 1", "0 0 0 0 0 0 -1 inf 0"),
            "line 5: a revolute joint has two limits.*",
        ),
        (HINGE.format("0 0 1", "0 0 0 0 0 0 -1 1 1"), "line 5: only spherical joints have a cone"),
        (HINGE.format("0 0 1", "0 0 0 0 0 -1 -1 1 0"), "line 5: gains, torque_max, damping, .*"),
    ],
)
def test_malformed_model_text(line, message):
    head = model_text(PhysicsModel(())).rstrip("\n")
    with pytest.raises(ValueError, match=f"^model text {message}$"):
        Simulator(f"{head}\n{line}\n", 1 / 120, "pd")


def test_model_text_that_lacks_something():
    with pytest.raises(ValueError, match="model text holds no body"):
        Simulator(model_text(PhysicsModel(())), 1 / 120, "pd")
    with pytest.raises(ValueError, match="line 1: expected 'optimus-physics-model 2'"):
        Simulator("robot", 1 / 120, "pd")


def test_wrong_window_specs(humanoid, stand):
    simulator = Simulator(model_text(humanoid), 1 / 120, "pd")
    q0 = stand(simulator, humanoid)
    spec = WindowSpec(
        28,
        np.tile(np.arange(28), (5, 1)),
        np.tile(q0[7:], (5, 1)),
        np.array([5]),
        np.zeros((1, simulator.n_sites, 3)),
        q0,
        np.zeros(34),
    )
    simulator.window(spec)
    nan = np.full((1, simulator.n_sites, 3), np.nan)
    no_site = np.zeros((1, simulator.n_sites))
    camera = Camera(500.0, 500.0, 0.0, 0.0)
    bent = dataclasses.replace(camera, rotation=((2.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    pixels = {"weight_reprojection": 1.0, "keypoints": np.zeros((1, simulator.n_sites, 2))}
    for change, message in [
        ({"targets": None}, "PD control needs targets"),
        ({"n_controls": 27}, "control_index points outside x"),
        ({"frame_steps": np.array([6])}, "frame_steps must rise strictly within 1..n_steps"),
        ({"q0": np.zeros(42)}, r"q0 must have shape \(43,\), got \(42,\)"),
        ({"q0": np.zeros(43)}, "q0 holds a quaternion of length 0.0*, not 1"),
        ({"q0": np.full(43, np.nan)}, "q0 holds a non-finite number"),
        ({"targets": np.zeros((5, 36))}, "targets holds a quaternion of length 0.0*, not 1"),
        ({"qd0": np.full(34, np.inf)}, "qd0 holds a non-finite number"),
        ({"reference": nan}, "reference holds a non-finite number"),
        ({"reference": None}, "reference is null but its term has a weight"),
        ({"reference": np.zeros((1, 3, 3))}, "reference must have shape"),
        ({"confidence": no_site}, "confidence is zero everywhere"),
        ({"confidence": no_site - 1}, "confidence holds a negative number"),
        ({"weight_com": 1.0}, "com is null but its term has a weight"),
        ({"weight_root": -1.0}, "a weight is negative or not finite"),
        ({"weight_smoothness": 1.0}, "no control changes within the window"),
        (pixels, "2-D keypoints need a camera"),
        ({**pixels, "camera": bent}, "the camera's rotation is not orthonormal"),
        ({**pixels, "camera": dataclasses.replace(camera, fx=0.0)}, "the camera needs fx"),
        ({"control_scale": np.nan}, "control_scale and velocity_scale must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            simulator.window(dataclasses.replace(spec, **change))


def test_stale_handles_are_errors_not_crashes(humanoid):
    simulator = Simulator(model_text(humanoid), 1 / 120, "pd")
    simulator._handle.value += 1000
    with pytest.raises(PhysicsError, match="no model has handle"):
        simulator.sites(np.zeros(43))
