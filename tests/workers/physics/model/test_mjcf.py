"""The MJCF reader: against MuJoCo's own reading of the same file, and its messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workers.physics.model import model_text
from workers.physics.model.mjcf import read_mjcf
from workers.physics.simulation import Simulator

FILE = Path(__file__).with_name("humanoid.xml")
FIXED = """
<mujoco><compiler angle="radian" eulerseq="XZY" settotalmass="7" inertiafromgeom="true"/>
<worldbody><body pos="0 0 1" euler="0.3 0.2 -0.4"><body><joint name="a" axis="1 2 3"/>
<joint name="b" type="ball"/><inertial pos="0 0 0" mass="9" diaginertia="1 1 1"/>
<geom type="box" size="0.1 0.2 0.3" pos="0.3 0 0"/><geom type="box" size="0.1 0.05" mass="2"
 fromto="0 0 0 0.3 0.2 0.1"/><body pos="0.2 0 0"><geom size="0.1"/><body euler="1 2 3">
<joint name="c"/><geom type="capsule" size="0.1 0.2" axisangle="1 0 0 1"/></body></body></body>
</body></worldbody></mujoco>"""


def oracle_of(text: str):
    mujoco = pytest.importorskip("mujoco", reason="mujoco (the oracle) is not installed")
    return mujoco, mujoco.MjModel.from_xml_string(text)


@pytest.mark.parametrize("text", [FILE.read_text(), FIXED], ids=["humanoid", "fixed"])
def test_masses_poses_and_accelerations_are_mujocos(text, tmp_path):
    mujoco, oracle = oracle_of(text)
    oracle.opt.disableflags |= (
        mujoco.mjtDisableBit.mjDSBL_CONSTRAINT
        | mujoco.mjtDisableBit.mjDSBL_SPRING
        | mujoco.mjtDisableBit.mjDSBL_DAMPER
    )
    data = mujoco.MjData(oracle)
    path = tmp_path / "model.xml"
    path.write_text(text)
    ours = read_mjcf(path)
    simulator = Simulator(model_text(ours.model), 1 / 120, "torque")
    assert (simulator.nq, simulator.nv) == (oracle.nq, oracle.nv)
    assert ours.model.mass == pytest.approx(oracle.body_subtreemass[0], rel=1e-12)
    np.testing.assert_allclose(ours.q0, oracle.qpos0, atol=1e-15)
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(100):
        data.qpos[:] = oracle.qpos0
        mujoco.mj_integratePos(oracle, data.qpos, rng.normal(size=oracle.nv), 1.0)
        data.qvel[:] = rng.uniform(-10, 10, size=oracle.nv)
        torque = 20 * rng.normal(size=oracle.nv)
        if simulator.nv > simulator.n_actuated:
            torque[:6] = 0
        data.qfrc_applied[:] = torque
        mujoco.mj_forward(oracle, data)
        q, qd = ours.state(data.qpos, data.qvel)
        sites = dict(zip((s.name for s in ours.model.sites), simulator.sites(q)))
        for name in ("torso", "waist", "thigh", "shin", "upper_arm", "lower_arm", "foot"):
            if name in sites:
                np.testing.assert_allclose(sites[name], data.body(name).xpos, atol=1e-12)
        if "nose" in sites:
            np.testing.assert_allclose(sites["nose"], data.site("nose").xpos, atol=1e-12)
        mujoco.mj_subtreeVel(oracle, data)
        np.testing.assert_allclose(simulator.center_of_mass(q), data.subtree_com[0], atol=1e-12)
        found = simulator.accelerations(q, qd, ours.velocity(torque)[-simulator.n_actuated :])
        expected = ours.velocity(data.qacc)
        error = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
        worst = max(worst, error)
    print(f"largest error of 100 states: {worst:.1e}")
    assert worst < 1e-9


def test_what_the_humanoid_says():
    model = read_mjcf(FILE, gains={"elbow": (50.0, 5.0, 30.0)}).model
    bodies = {body.name: body for body in model.bodies}
    assert [body.joint for body in model.bodies].count("revolute") == 7
    knee, hip, elbow, shoulder = (bodies[n] for n in ("knee", "hip_x", "elbow", "shoulder"))
    assert knee.lower == pytest.approx(np.radians(-160)) and knee.torque_max == 40
    assert (hip.torque_max, hip.stiffness, hip.damping, hip.armature) == (40, 10, 0.2, 0.01)
    assert hip.mass == 0  # three hinges in one place: the mass is on the last
    assert (elbow.kp, elbow.kd, elbow.torque_max) == (50, 5, 30)
    assert np.isinf([elbow.lower, elbow.upper]).all() and elbow.stiffness == 0
    assert shoulder.cone == pytest.approx(np.radians(100)) and shoulder.damping == 0.3
    touching = [model.bodies[s.body].name for s in model.spheres]
    assert "shoulder" not in touching and touching.count("knee") == 2 + 4  # shin and foot


def test_the_humanoid_falls_and_lies_still():
    ours = read_mjcf(FILE)
    from workers.physics.simulation import Status, WindowSpec

    simulator = Simulator(model_text(ours.model), 1 / 240, "torque")
    steps, n = 720, simulator.n_actuated
    window = simulator.window(
        WindowSpec(
            n,
            np.tile(np.arange(n), (steps, 1)),
            None,
            np.array([steps]),
            np.zeros((1, simulator.n_sites, 3)),
            ours.q0,
            np.zeros(simulator.nv),
        )
    )
    status, q, qd = window.rollout(np.zeros(n))
    assert status is Status.OK and q[-1, 2] < 0.4 and np.abs(qd[-1]).max() < 3.0
    assert simulator.spheres(q[-1])[:, 2].min() > 0.0
    status, _, grad = window.loss_and_grad(np.zeros(n))
    assert status is Status.OK and grad.any()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name="knee" axis', 'name="knee" type="slide" axis', "type 'slide' is not supported"),
        ('type="sphere" pos', 'type="ellipsoid" pos', "type 'ellipsoid' is not supported"),
        ('name="sole"', 'name="sole" mesh="m"', "type 'mesh' is not supported"),
        ('mass="3.5"', 'mass="-3.5"', "mass must not be negative"),
        ('mass="3.5"', 'mass="nan"', r"mass needs 1 finite number\(s\), got 'nan'"),
        ('axis="0 -1 0"', 'axis="0 0 0"', "axis has length zero"),
        ('quat="0.99 0.01 -0.04 0"', 'quat="0 0 0 0"', "quat has length zero"),
        ('range="-160 -2"', 'range="-2 -160"', "range needs a lower and a higher angle"),
        ('range="0 100"', 'range="10 100"', "range of a ball needs 0 and an angle of at most 3.1"),
        ('class="ball" pos', 'class="bowl" pos', "no default class 'bowl'"),
        ('axis="1 0 0" range', 'axis="1 0 0" rnage', "has no attribute 'rnage'"),
        ("<actuator>", "<equality/><actuator>", "<equality>: is not supported"),
        ("<actuator>", "<tendon/><actuator>", "<tendon>: is not supported"),
        ('joint="knee"', 'joint="kneecap"', "no joint 'kneecap' for a motor or gain"),
        ('angle="degree"', 'angle="turns"', "angle is 'turns', want one of degree, radian"),
        ('angle="degree"', 'coordinate="global"', "coordinate is 'global', want one of local"),
        ('name="hip_y"', 'name="hip_y" frictionloss="1"', "frictionloss is not supported"),
        ('<freejoint name="root"/>', "", "body needs a joint"),
        ("</worldbody>", "", "not well-formed XML"),
        ('damping="0.3"', 'damping="-0.3"', "damping must not be negative"),
        ('size="0.049"', 'size="0"', r"size needs 1 positive number\(s\)"),
    ],
)
def test_messages_name_file_line_and_element(old, new, message, tmp_path):
    text = FILE.read_text()
    assert old in text
    path = tmp_path / "model.xml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        read_mjcf(path)
    assert str(caught.value).startswith(f"{path}, line ") and "\n" not in str(caught.value)


def test_ignored_elements(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text(FILE.read_text().replace("<actuator>", "<tendon/><actuator>"))
    assert read_mjcf(path, ignore=("tendon",)).model == read_mjcf(FILE).model


def test_truncated_files_are_errors(tmp_path):
    path, text = tmp_path / "model.xml", FILE.read_text()
    for length in range(0, len(text) - 10, 97):
        path.write_text(text[:length])
        with pytest.raises(ValueError, match="line"):
            read_mjcf(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_mjcf(tmp_path / "nothing.xml")
