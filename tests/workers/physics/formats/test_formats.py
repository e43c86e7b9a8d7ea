"""Readers on small files in the published layouts, written here: the data sets are licensed."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
from scipy.io import savemat

from workers.physics.formats import (
    FormatError,
    aist,
    coco,
    human36m,
    keypoints,
    site_map,
    smpl,
    states,
)
from workers.physics.formats.keypoints import Keypoints
from workers.physics.loss import PhysicsLoss, PhysicsOptions
from workers.physics.loss.reconstruction import synthetic_window
from workers.physics.model import model_text
from workers.physics.motion import load_clip, pose_at
from workers.physics.simulation import Simulator
from workers.physics.simulation.window_spec import Camera


@pytest.fixture(scope="module")
def simulator(humanoid) -> Simulator:
    return Simulator(model_text(humanoid), 1 / 120, "pd")


def dump(path, value):
    path.write_bytes(pickle.dumps(value))
    return path


def observed(clip, mapping, simulator, model, rate, seconds):
    """What cameras would have seen of a clip: [F, joints, 3] in the map's units and axes."""
    times = np.arange(0, seconds + 1e-9, 1 / rate)
    sites = np.stack([simulator.sites(q) for q in pose_at(clip, times, model)])
    names = [site.name for site in model.sites]
    world = np.zeros((len(times), len(mapping.joints), 3))
    for site, (joints, _) in mapping.sites.items():
        for joint in joints:
            world[:, mapping.joints.index(joint)] = sites[:, names.index(site)]
    for site, (joints, _) in mapping.sites.items():  # single joints win over means
        if len(joints) == 1:
            world[:, mapping.joints.index(joints[0])] = sites[:, names.index(site)]
    return world @ site_map.AXES[mapping.up] / site_map.UNITS[mapping.units], sites


def test_aist_keypoints_become_a_clip(assets, humanoid, simulator, tmp_path):
    """A person 10 % larger than the humanoid: the same motion comes back, on the ground."""
    clip = load_clip("dance_b", assets, humanoid)
    mapping = site_map.load("aist-keypoints3d")
    points, sites = observed(clip, mapping, simulator, humanoid, 60, 0.25)
    path = dump(
        tmp_path / "gBR_sBM_cAll_d04_mBR0_ch01.pkl",
        {"keypoints3d": points, "keypoints3d_optim": 1.1 * points},
    )
    track = aist.read_keypoints3d(path)
    assert track.positions.shape == (16, 17, 3) and track.rate == 60
    found, fit = states.clip_from_keypoints(track, mapping, humanoid)
    assert fit.scale == pytest.approx(1 / 1.1) and fit.rms < 0.002
    fitted = np.stack([simulator.sites(q) for q in found.q]) - [0, 0, fit.lift]
    known = [i for i, site in enumerate(humanoid.sites) if "toe" not in site.name]
    assert 1000 * np.linalg.norm(fitted - sites, axis=-1)[:, known].max() < 15
    radii = [sphere.radius for sphere in humanoid.spheres]
    lowest = min((simulator.spheres(q)[:, 2] - radii).min() for q in found.q)
    assert lowest == pytest.approx(0, abs=1e-9)
    loss = PhysicsLoss(found, 0.0, 0.25, PhysicsOptions(target_base="reference"))
    value, gradient = loss.value_and_grad(np.zeros(loss.dim))
    assert 0 < value < 10 and np.isfinite(gradient).all()


def test_smpl_rest_pose_and_bends(humanoid, simulator, tmp_path):
    """SMPL's T-pose, then both elbows forwards and the left knee back, and a turn about up."""
    poses = np.zeros((3, 24, 3))
    poses[1, 18], poses[1, 19], poses[1, 4] = (0, -1, 0), (0, 1, 0), (1.2, 0, 0)
    poses[2, 0] = (0, np.pi / 2, 0)  # z (forward) turns to x
    path = dump(
        tmp_path / "a.pkl",
        {
            "smpl_poses": poses.reshape(3, 72),
            "smpl_trans": np.full((3, 3), 94.0),
            "smpl_scaling": np.array([94.0]),
            "smpl_loss": 0.1,
        },
    )
    clip = smpl.to_clip(aist.read_motion(path), humanoid)
    names = [site.name for site in humanoid.sites]
    at = [dict(zip(names, simulator.sites(q))) for q in clip.q]
    np.testing.assert_allclose(at[0]["root"], [0.9982, -1.0282, 0.7767], atol=1e-9)
    # z up, x to SMPL's left; the body looks along -y
    for side, sign in (("left", 1), ("right", -1)):
        arm = at[0][f"{side}_wrist"] - at[0][f"{side}_shoulder"]
        np.testing.assert_allclose(arm, [sign * np.linalg.norm(arm), 0, 0], atol=1e-9)
        leg = at[0][f"{side}_ankle"] - at[0][f"{side}_hip"]
        np.testing.assert_allclose(leg[:2], 0, atol=1e-9)
        assert (at[1][f"{side}_wrist"] - at[1][f"{side}_elbow"])[1] < -0.1  # forwards
        assert (at[0][f"{side}_toe"] - at[0][f"{side}_ankle"])[1] < -0.1
    assert (at[1]["left_ankle"] - at[1]["left_knee"])[1] > 0.3  # backwards
    toe = at[2]["left_toe"] - at[2]["left_ankle"]
    assert toe[0] > 0.1 and abs(toe[1]) < 1e-9  # now looks along x


def test_smpl_limbs_follow_forward_kinematics(humanoid, simulator):
    """Hips and shoulders with collars and a bent spine: directions equal SMPL's own chain."""
    rng = np.random.default_rng(0)
    poses = rng.normal(scale=0.4, size=(4, 24, 3))
    clip = smpl.to_clip(smpl.SmplMotion("x", poses, np.zeros((4, 3)), 60.0), humanoid)
    from scipy.spatial.transform import Rotation

    parents = json.loads((smpl.Path(smpl.__file__).parent / "smpl.json").read_text())["parents"]
    names = [site.name for site in humanoid.sites]
    for pose, q in zip(poses, clip.q):
        world = []
        for joint, parent in enumerate(parents):
            own = Rotation.from_rotvec(pose[joint])
            world.append(own if parent < 0 else world[parent] * own)
        sites = dict(zip(names, simulator.sites(q)))
        for joint, ends, rest in (
            (1, ("left_hip", "left_knee"), (0, -1, 0)),
            (2, ("right_hip", "right_knee"), (0, -1, 0)),
            (16, ("left_shoulder", "left_elbow"), (1, 0, 0)),
            (17, ("right_shoulder", "right_elbow"), (-1, 0, 0)),
        ):
            expected = site_map.AXES["y"] @ world[joint].apply(rest)
            limb = sites[ends[1]] - sites[ends[0]]
            np.testing.assert_allclose(limb / np.linalg.norm(limb), expected, atol=1e-9)


@pytest.mark.parametrize("joints", [17, 32])
def test_human36m_npz(joints, assets, humanoid, simulator, tmp_path):
    mapping = site_map.load(f"human36m-{joints}")
    clip = load_clip("walk", assets, humanoid)
    points, _ = observed(clip, mapping, simulator, humanoid, 50, 0.2)
    path = tmp_path / "data_3d_h36m.npz"
    np.savez_compressed(
        path,
        positions_3d=np.array(
            {"S9": {"Walking 1": points.astype(np.float32), "Photo": points}}, object
        ),
    )
    track = human36m.read_positions_3d(path, "S9", "Walking_1")
    np.testing.assert_allclose(track.positions, points, atol=1e-6)
    assert human36m.read_positions_3d(path, "S9", "TakingPhoto").rate == 50
    _, fit = states.clip_from_keypoints(track, mapping, humanoid)
    assert fit.scale == pytest.approx(1, abs=1e-5) and fit.rms < 0.001
    with pytest.raises(FormatError, match="S9 has no action 'Eating'; there are: Photo, Walking 1"):
        human36m.read_positions_3d(path, "S9", "Eating")
    with pytest.raises(FormatError, match="no subject 'S11'; there are: S9"):
        human36m.read_positions_3d(path, "S11", "Walking")


def test_human36m_2d_and_cameras(tmp_path):
    path = tmp_path / "data_2d_h36m_gt.npz"
    views = [np.full((3, 17, 2), float(i)) for i in range(4)]
    np.savez_compressed(
        path,
        positions_2d=np.array({"S11": {"Walking": views}}, object),
        metadata=np.array({"num_joints": 17}, object),
    )
    track = human36m.read_positions_2d(path, "S11", "Walking", "60457274")
    assert (track.positions == 3).all() and track.positions.shape == (3, 17, 2)
    with pytest.raises(FormatError, match="no camera '1'; there are: 54138969"):
        human36m.read_positions_2d(path, "S11", "Walking", "1")


def test_human36m_subject_folder(tmp_path):
    folder = tmp_path / "S9" / "MyPoseFeatures" / "D3_Positions"
    folder.mkdir(parents=True)
    values = np.arange(2 * 96.0).reshape(2, 96)
    cell = np.empty((1, 1), object)
    cell[0, 0] = values
    savemat(folder / "Walking 1.cdf.mat", {"data": cell})
    track = human36m.read_subject_folder(tmp_path, "S9", "Walking_1")
    np.testing.assert_allclose(track.positions, values.reshape(2, 32, 3) / 1000)
    with pytest.raises(FormatError, match=r"no .*Eating.cdf.mat"):
        human36m.read_subject_folder(tmp_path, "S9", "Eating")
    (folder / "Eating.cdf.mat").write_bytes(b"no matrix")
    with pytest.raises(FormatError, match="not a MATLAB 5 file"):
        human36m.read_subject_folder(tmp_path, "S9", "Eating")


def person(image, x=1.0, v=2, **more):
    return {"image_id": image, "keypoints": [x, 2.0, v] * 17, **more}


def test_coco_annotations_and_results(tmp_path):
    path = tmp_path / "dance.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 3}, {"id": 1}, {"id": 2}],
                "annotations": [person(3, 7.0, 1), person(1, 5.0)],
            }
        )
    )
    track = coco.read(path, 30.0)
    assert track.positions[:, 0, 0].tolist() == [5, 5, 7]  # image 2 keeps the last position seen
    assert track.confidence[:, 4].tolist() == [1, 0, 0.5]
    path.write_text(
        json.dumps(
            [
                person(1, 5.0, 0.7, track_id=4),
                person(1, 1.0, 1, track_id=2),
                person(2, 6.0, 0.2, track_id=4),
            ]
        )
    )
    track = coco.read(path, 30.0, track_id=4)
    assert track.positions[:, 0, 0].tolist() == [5, 6]
    np.testing.assert_allclose(track.confidence[:, 0], [0.7, 0.2])
    with pytest.raises(FormatError, match="annotation 1: image 1 shows several people; give track"):
        coco.read(path, 30.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"annotations": [\n}', "line 3: "),
        ('{"images": []}', "wants a list of results, or an object with annotations"),
        ('[{"image_id": 1}]', "annotation 0: needs image_id and keypoints"),
        (
            '[{"image_id": 1, "keypoints": [1, 2]}]',
            "annotation 0: keypoints must be 51 finite numbers",
        ),
        (
            json.dumps([person(1), person(2, float("nan"))]),
            "annotation 1: keypoints must be 51 finite",
        ),
        (json.dumps([person(1)]), "keypoints in 1 images, two or more are needed"),
    ],
)
def test_malformed_coco(text, message, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        coco.read(path, 30.0)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"keypoints3d": np.zeros((4, 17, 3))},
            "no field 'keypoints3d_optim'; there are: keypoints3d",
        ),
        (
            {"keypoints3d_optim": np.zeros((4, 16, 3))},
            r"must have shape \[F, 17, 3\], got \(4, 16, 3",
        ),
        ({"keypoints3d_optim": np.zeros((1, 17, 3))}, "needs two frames or more, got 1"),
        (
            {
                "keypoints3d_optim": np.where(
                    np.arange(4)[:, None, None] == 2, np.nan, np.zeros((4, 17, 3))
                )
            },
            "frame 2, joint 0 is not finite",
        ),
        ({"keypoints3d_optim": np.full((4, 17, 3), "x")}, "must hold numbers"),
        ({"keypoints3d_optim": 3}, "must be an array, got 3"),
        ([1, 2], "no field 'keypoints3d_optim'; there are: list"),
    ],
)
def test_malformed_aist_keypoints(data, message, tmp_path):
    path = dump(tmp_path / "bad.pkl", data)
    with pytest.raises(FormatError, match=message) as caught:
        aist.read_keypoints3d(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"smpl_poses": np.zeros((4, 71))},
            r"smpl_poses: must have shape \[F, 24, 3\], got \(4, 71\)",
        ),
        ({"smpl_trans": np.zeros((3, 3))}, "smpl_trans has 3 frames and smpl_poses 4"),
        ({"smpl_trans": np.full((4, 3), np.inf)}, "smpl_trans: frame 0, joint 0 is not finite"),
        ({"smpl_scaling": np.zeros(1)}, "smpl_scaling must be one positive number"),
    ],
)
def test_malformed_smpl(change, message, tmp_path):
    good = {
        "smpl_poses": np.zeros((4, 72)),
        "smpl_trans": np.zeros((4, 3)),
        "smpl_scaling": np.ones(1),
    }
    path = dump(tmp_path / "bad.pkl", good | change)
    with pytest.raises(FormatError, match=message):
        aist.read_motion(path)


def test_every_map_that_ships_names_sites_of_the_humanoid(humanoid):
    sites = [site.name for site in humanoid.sites]
    for name in site_map.names():
        mapping = site_map.load(name)
        assert mapping.format == name and set(mapping.sites) <= set(sites)
        shape = (2, len(mapping.joints), 2 if mapping.units == "px" else 3)
        track = Keypoints("x", mapping.joints, np.ones(shape), np.ones(shape[:2]), 30.0)
        _, weights = site_map.to_sites(track, mapping, sites)
        assert ((weights > 0).sum(axis=1) == len(mapping.sites)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": "inch"}, "units is 'inch', want one of m, cm, mm, px"),
        ({"sites": {"root": {"joint": "hp"}}}, "site root: unknown joint 'hp'; did you mean 'hip'"),
        ({"sites": {"root": {"joint": "hip", "weight": -1}}}, "weight must be 0 or more, got -1"),
        ({"frame_rate": 0}, "frame_rate must be positive or null"),
        ({"extra": 1}, "needs exactly .* wrong: extra"),
    ],
)
def test_malformed_site_maps(change, message, tmp_path):
    good = {
        "format": "mine",
        "joints": ["hip"],
        "units": "m",
        "up": "z",
        "frame_rate": 50,
        "sites": {"root": {"joint": "hip"}},
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(good))
    assert site_map.load(path).sites == {"root": (("hip",), 1.0)}
    path.write_text(json.dumps(good | change))
    with pytest.raises(FormatError, match=message):
        site_map.load(path)


def test_unknown_names_are_refused(humanoid):
    mapping = site_map.load("human36m-17")
    track = Keypoints("S9 Walking", ("hip", "knee"), np.zeros((2, 2, 3)), np.ones((2, 2)), 50.0)
    with pytest.raises(FormatError, match="S9 Walking: unknown joint 'left_hip'; there are: hip"):
        site_map.to_sites(track, mapping, [site.name for site in humanoid.sites])
    with pytest.raises(FormatError, match=r"no site map 'smplx' .*there are: aist-keypoints"):
        site_map.load("smplx")


def test_resampling():
    positions = np.arange(5.0)[:, None, None] * np.ones((1, 1, 3))
    confidence = np.array([[1.0], [1], [0], [1], [1]])
    track = Keypoints("x", ("hip",), positions, confidence, 50.0)
    half = keypoints.resample(track, 25.0)
    assert half.positions[:, 0, 0].tolist() == [0, 2, 4]
    assert half.confidence[:, 0].tolist() == [1, 0, 1]
    finer = keypoints.resample(track, 100.0)
    np.testing.assert_allclose(finer.positions[:, 0, 0], np.arange(0, 4.1, 0.5))
    assert finer.confidence[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1]
    odd = keypoints.resample(track, 30.0)
    np.testing.assert_allclose(odd.positions[:, 0, 0], np.arange(3) * 5 / 3)
    assert keypoints.resample(track, 50.0) is track
    with pytest.raises(ValueError, match="rate: got 0, want > 0"):
        keypoints.resample(track, 0)
    with pytest.raises(FormatError, match=r"x: frames 2..9 asked for, it has 5"):
        keypoints.cut(track, 2, 9)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_keypoints_become_a_loss(dimensions, humanoid):
    """Of a simulated motion seen at every step, the loss is 0 where the controls are right."""
    task = synthetic_window(0, 0.25, PhysicsOptions())
    mapping = site_map.load("human36m-2d" if dimensions == 2 else "human36m-17")
    names = [site.name for site in humanoid.sites]
    sites = np.stack([task.simulator.sites(q) for q in task.states(task.optimum)])
    camera = Camera.looking_at((0.0, -4.0, 1.4), (0.0, 0.0, 0.9), 1145.0, (512.0, 512.0))
    points = np.zeros((len(sites), 17, dimensions))
    for site, (joints, _) in mapping.sites.items():
        seen = sites[:, names.index(site)]
        points[:, mapping.joints.index(joints[0])] = (
            camera.project(seen) if dimensions == 2 else seen
        )
    confidence = np.ones((len(points), 17))
    hidden = mapping.joints.index("left_wrist")
    confidence[:, hidden], points[:, hidden] = 0, 999.0
    track = Keypoints("seen", mapping.joints, points, confidence, 120.0)
    spec = dataclasses.replace(task.spec, weight_position=0.0)
    weight = {2: 1e-3, 3: 100.0}[dimensions]
    spec = site_map.with_keypoints(spec, track, mapping, humanoid, 0.0, 1 / 120, weight, camera)
    loss = PhysicsLoss.from_spec(spec, task.simulator)
    value, gradient = loss.value_and_grad(task.optimum)
    assert value < 1e-18 and np.abs(gradient).max() < 1e-7
    assert loss.value_and_grad(np.zeros(loss.dim))[0] > 1e-3
    if dimensions == 2:
        with pytest.raises(ValueError, match="seen: keypoints in pixels need a camera"):
            site_map.with_keypoints(spec, track, mapping, humanoid, 0.0, 1 / 120, 1.0)
    with pytest.raises(FormatError, match=r"seen: 1\.250 s asked for, it has 0\.\.0\.250 s"):
        site_map.with_keypoints(spec, track, mapping, humanoid, 1.0, 1 / 120, 1.0, camera)
