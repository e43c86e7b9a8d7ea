"""The paper's tables, and loading them from files in the published layouts."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from workers.physics import sequences
from workers.physics.formats import FormatError, site_map
from workers.physics.model import model_text
from workers.physics.motion import load_clip, pose_at
from workers.physics.sequences import MissingData
from workers.physics.simulation import Simulator


def test_table_1():
    rows = sequences.table("aist")
    assert len(rows) == len({row.label for row in rows}) == 15
    first = rows[0]
    assert (first.name, first.subject, first.camera) == ("gBR_sBM_c06_d06_mBR4_ch06", "d06", "c06")
    assert {(row.first, row.last) for row in rows} == {(1, 120)}
    assert set(first.inferred) == {"frame_rate", "index_origin"}


def test_table_2():
    rows = sequences.table("human36m")
    assert len(rows) == len({row.label for row in rows}) == 20
    assert {row.subject for row in rows} == {"S9", "S11"}
    assert {(row.first, row.last) for row in rows} == {(400, 599)}
    cameras = [row.camera for row in rows]
    assert {camera: cameras.count(camera) for camera in set(cameras)} == {
        "54138969": 6,
        "55011271": 5,
        "58860488": 4,
        "60457274": 5,
    }
    assert rows[0].label == "S11 Phoning 55011271"


def test_comparison_protocol():
    rows = sequences.comparison()
    assert len(rows) == 40 and {row.camera for row in rows} == {"60457274"}
    assert {(row.frame_rate, row.resampled_to, row.first) for row in rows} == {(50.0, 25.0, None)}
    assert rows[0].inferred == ("takes",)


@pytest.mark.parametrize("dataset", sequences.TABLES)
def test_missing_files_are_named_with_their_licence(dataset, humanoid, tmp_path):
    for row in (*sequences.table(dataset)[:3], sequences.comparison()[3]):
        with pytest.raises(MissingData) as caught:
            sequences.load(row, tmp_path, humanoid)
        message = str(caught.value)
        assert str(tmp_path / row.dataset) in message and row.licence in message
        assert row.where in message and "\n" not in message


def test_unknown_table():
    with pytest.raises(ValueError, match="table: got 'cmu', want one of aist, human36m"):
        sequences.table("cmu")


def test_aist_motions_and_keypoints(assets, humanoid, tmp_path):
    row = next(row for row in sequences.table("aist") if row.subject == "d04")
    motion = "gBR_sFM_cAll_d04_mBR0_ch01.pkl"
    (tmp_path / "aist" / "motions").mkdir(parents=True)
    path = tmp_path / "aist" / "motions" / motion
    poses = np.zeros((130, 72))
    poses[:, 1] = np.linspace(0, 1.3, 130)  # turns to the left, 0.01 rad a frame
    trans = np.tile([0.0, 100.0, 0.0], (130, 1))
    data = {"smpl_poses": poses, "smpl_trans": trans, "smpl_scaling": np.array([100.0])}
    path.write_bytes(pickle.dumps(data))
    clip = sequences.load(row, tmp_path, humanoid)
    assert clip.q.shape == (120, 43) and clip.times[0] == 0
    assert clip.seconds == pytest.approx(119 / 60) and clip.name == row.name
    # frame 1 of the paper is the first of the file, and the soles are on the ground
    turn = 2 * np.arccos(np.clip(np.abs(clip.q[:, 3:7] @ clip.q[0, 3:7]), -1, 1))
    np.testing.assert_allclose(turn, 1.3 / 129 * np.arange(120), atol=1e-6)
    assert clip.q[0, 2] == pytest.approx(0.831 + 0.05, abs=0.01)
    path.write_bytes(pickle.dumps({**data, "smpl_poses": poses[:90], "smpl_trans": trans[:90]}))
    with pytest.raises(FormatError, match=r"frames 0\.\.119 asked for, it has 90"):
        sequences.load(row, tmp_path, humanoid)

    path.unlink()
    walk = load_clip("walk", assets, humanoid)
    simulator = Simulator(model_text(humanoid), 1 / 120, "pd")
    mapping, names = site_map.load("aist-keypoints3d"), [site.name for site in humanoid.sites]
    q = pose_at(walk, np.arange(121) / 240, humanoid)
    sites = np.stack([simulator.sites(state) for state in q])
    points = np.stack(
        [sites[:, names.index(joint if joint in names else "head")] for joint in mapping.joints],
        axis=1,
    )
    folder = tmp_path / "aist" / "keypoints3d"
    folder.mkdir()
    seen = 100 * points @ site_map.AXES["y"]  # cm, y up
    (folder / motion).write_bytes(pickle.dumps({"keypoints3d_optim": seen}))
    fitted = sequences.load(row, tmp_path, humanoid)
    assert fitted.q.shape == (120, 43)
    start = simulator.sites(fitted.q[0])
    # all but the toes, which COCO does not see
    np.testing.assert_allclose(start[:16, :2], sites[0][:16, :2], atol=0.02)


def test_human36m_comparison_is_resampled(assets, humanoid, tmp_path):
    walk = load_clip("walk", assets, humanoid)
    simulator = Simulator(model_text(humanoid), 1 / 120, "pd")
    mapping, names = site_map.load("human36m-17"), [site.name for site in humanoid.sites]
    sites = np.stack([simulator.sites(q) for q in pose_at(walk, np.arange(21) / 50, humanoid)])
    points = np.zeros((21, 17, 3))
    for site, (joints, _) in mapping.sites.items():
        points[:, mapping.joints.index(joints[0])] = sites[:, names.index(site)]
    folder = tmp_path / "human36m"
    folder.mkdir()
    np.savez(
        folder / "data_3d_h36m.npz",
        positions_3d=np.array({"S9": {"Walking 1": points, "Walking": points}}, object),
    )
    row = next(row for row in sequences.comparison() if row.name == "Walking_1")
    clip = sequences.load(row, tmp_path, humanoid)
    np.testing.assert_allclose(np.diff(clip.times), 1 / 25)
    assert clip.q.shape == (11, 43)
    np.testing.assert_allclose(simulator.sites(clip.q[5])[:16, :2], sites[10][:16, :2], atol=0.01)
    with pytest.raises(FormatError, match=r"frames 400\.\.599 asked for, it has 21"):
        sequences.load(sequences.table("human36m")[-1], tmp_path, humanoid)
