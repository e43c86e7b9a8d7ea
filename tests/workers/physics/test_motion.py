"""Clips: frames, resampling, velocities, splits, and malformed files."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from workers.physics.assets import SHA256, verify_assets
from workers.physics.model import model_text
from workers.physics.model.rotations import exp_map, log_map, multiply, slerp
from workers.physics.motion import (
    CLIPS,
    SPLITS,
    load_clip,
    pose_at,
    read_clip,
    velocity_at,
    without_sign_jumps,
)
from workers.physics.simulation import Simulator

SECONDS = {
    "backflip": 1.75,
    "cartwheel": 2.72,
    "crawl": 2.93,
    "dance_a": 1.62,
    "dance_b": 2.53,
    "getup_facedown": 3.03,
    "getup_faceup": 3.77,
    "jump": 1.77,
    "kick": 1.53,
    "punch": 2.13,
    "roll": 2.02,
    "run": 0.80,
    "spin": 4.42,
    "spinkick": 1.28,
    "walk": 1.27,
}
QUATERNIONS = (3, 7, 11, 15, 20, 24, 29, 34, 38)


@pytest.mark.parametrize("name", CLIPS)
def test_clip(name, assets, humanoid):
    clip = load_clip(name, assets, humanoid)
    assert clip.seconds == pytest.approx(SECONDS[name], abs=0.006)
    assert clip.q.shape == (len(clip.times), 43) and (np.diff(clip.times) > 0).all()
    for at in QUATERNIONS:
        part = clip.q[:, at : at + 4]
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-12)
        assert (np.sum(part[1:] * part[:-1], axis=1) > 0).all()  # no sign jumps
    assert 0.05 < clip.q[:, 2].min() < clip.q[:, 2].max() < 1.3  # z is up


def test_walk_goes_forward_upright_with_feet_on_the_ground(assets, humanoid):
    clip = load_clip("walk", assets, humanoid)
    simulator = Simulator(model_text(humanoid), 1 / 120, "pd")
    speed = (clip.q[-1, 0] - clip.q[0, 0]) / clip.seconds
    assert 0.8 < speed < 1.8 and abs(clip.q[-1, 1] - clip.q[0, 1]) < 0.2
    for q in clip.q[::5]:
        sites = simulator.sites(q)
        names = [site.name for site in humanoid.sites]
        height = dict(zip(names, sites[:, 2]))
        assert height["head"] > 1.3 > height["root"] > height["right_knee"]
        right, left = sites[names.index("right_hip")], sites[names.index("left_hip")]
        assert left[1] > right[1]  # facing x with z up, left is +y
        lowest = min(z - s.radius for s, z in zip(humanoid.spheres, simulator.spheres(q)[:, 2]))
        assert abs(lowest) < 0.05


def test_poses_pass_through_the_frames_and_lie_between_them(assets, humanoid):
    clip = load_clip("kick", assets, humanoid)
    np.testing.assert_allclose(pose_at(clip, clip.times, humanoid), clip.q, atol=1e-12)
    middle = (clip.times[3] + clip.times[4]) / 2
    q = pose_at(clip, np.array([middle]), humanoid)[0]
    np.testing.assert_allclose(q[:3], (clip.q[3, :3] + clip.q[4, :3]) / 2)
    for at in QUATERNIONS:
        a, b, c = clip.q[3, at : at + 4], q[at : at + 4], clip.q[4, at : at + 4]
        assert a @ b == pytest.approx(b @ c, abs=1e-12)


@pytest.mark.parametrize("time", [0.0, 0.4, 1.2])
def test_velocities_carry_one_pose_to_the_next(time, assets, humanoid):
    clip = load_clip("spinkick", assets, humanoid)
    qd, h = velocity_at(clip, time, humanoid), 1 / 60
    here = pose_at(clip, np.array([time]), humanoid)[0]
    there = pose_at(clip, np.array([min(time + h, clip.seconds)]), humanoid)[0]
    for q_at, v_at in zip(QUATERNIONS, (3, 6, 9, 12, 16, 19, 23, 26, 30)):
        turn = exp_map(h * qd[v_at : v_at + 3])
        moved = multiply(here[q_at : q_at + 4], turn)
        assert abs(moved @ there[q_at : q_at + 4]) > np.cos(0.1)


def test_frame_mapping_and_velocity_of_a_steady_spin(humanoid, tmp_path):
    """y up in the file is z up here; a turn about the vertical keeps its rate and sense."""
    rate, dt = 2.0, 1 / 30
    rows = []
    for i in range(10):
        half = rate * i * dt / 2
        joints = [1.0, 0, 0, 0] * 3 + [-0.1] + [1.0, 0, 0, 0] * 2 + [0.1 * i]
        joints += [1.0, 0, 0, 0] + [-0.1] + [1.0, 0, 0, 0] * 2 + [0.2]
        rows.append([dt, 0.1 * i, 0.9, 0.2, np.cos(half), 0, np.sin(half), 0, *joints])
    path = tmp_path / "humanoid3d_spin.txt"
    path.write_text(json.dumps({"Frames": rows}))
    clip = read_clip(path, "spin", humanoid)
    np.testing.assert_allclose(clip.q[3, :3], [0.3, -0.2, 0.9], atol=1e-12)
    qd = velocity_at(clip, 0.1, humanoid)
    np.testing.assert_allclose(qd[:3], [3.0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(qd[3:6], [0, rate, 0], atol=1e-9)  # body y is up
    assert qd[22] == pytest.approx(3.0) and np.count_nonzero(np.abs(qd) > 1e-9) == 3


def test_rotations():
    rng = np.random.default_rng(0)
    v = rng.normal(size=(20, 3))
    np.testing.assert_allclose(log_map(exp_map(v)), v, atol=1e-12)
    np.testing.assert_allclose(log_map(exp_map(1e-12 * v)), 1e-12 * v, atol=1e-20)
    a, b = exp_map(v[:10]), exp_map(v[10:])
    np.testing.assert_allclose(slerp(a, b, np.zeros((10, 1))), a, atol=1e-12)
    end = slerp(a, b, np.ones((10, 1)))
    np.testing.assert_allclose(np.abs(np.sum(end * b, axis=1)), 1, atol=1e-12)


def test_splits_share_no_clip_and_keep_siblings_together():
    every = [clip for clips in SPLITS.values() for clip in clips]
    assert sorted(every) == sorted(SECONDS) and set(SPLITS) == {"train", "validation", "test"}
    home = {clip: split for split, clips in SPLITS.items() for clip in clips}
    for siblings in (
        ("dance_a", "dance_b"),
        ("getup_facedown", "getup_faceup"),
        ("kick", "spinkick", "punch"),
        ("walk", "run"),
    ):
        assert len({home[clip] for clip in siblings}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[2].pop(), "line 7: frame 2 must hold 44 finite numbers"),
        (lambda rows: rows[1].__setitem__(5, "x"), "line 6: frame 1 must hold 44 finite numbers"),
        (lambda rows: rows[3].__setitem__(9, float("nan")), "line 8: frame 3 must hold 44"),
        (lambda rows: rows[1].__setitem__(0, 0.0), "line 6: frame 1 has no duration"),
        (
            lambda rows: rows[2].__setitem__(slice(8, 12), [0, 0, 0, 0]),
            "line 7: frame 2, chest: quaternion of length 0.000",
        ),
        (lambda rows: rows.__delitem__(slice(1, None)), '"Frames" needs two frames or more'),
    ],
)
def test_malformed_clips(change, message, assets, humanoid, tmp_path):
    rows = json.loads((assets / "humanoid3d_walk.txt").read_text())["Frames"][:5]
    change(rows)
    path = tmp_path / "humanoid3d_bad.txt"
    body = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(f'{{\n"Loop": "none",\n"Frames":\n[\n{body}\n]\n}}\n')
    with pytest.raises(ValueError, match=message) as caught:
        read_clip(path, "bad", humanoid)
    assert str(caught.value).startswith(f"{path}, line ") and "\n" not in str(caught.value)


def test_broken_json_names_its_line(humanoid, tmp_path):
    path = tmp_path / "humanoid3d_bad.txt"
    path.write_text('{\n"Frames": [\n[1, 2,,]\n]}')
    with pytest.raises(ValueError, match="line 3: "):
        read_clip(path, "bad", humanoid)


def test_the_split_is_pinned():
    """Trained weights were made on this split: a clip that moves voids comparisons."""
    assert hashlib.sha256(json.dumps(SPLITS).encode()).hexdigest() == (
        "06b9fc6f9fd2f9125bc9d612368fb6a8c8acd9c53e41395aac452c2ef762f01a"
    )


def test_the_files_are_pinned(assets):
    """The 15 clips' sha256, which `ensure_assets` checked when it fetched them, are these."""
    names = [f"humanoid3d_{clip}.txt" for clip in CLIPS]
    assert sorted(names + ["humanoid.urdf"]) == sorted(SHA256)
    verify_assets(assets)
    every = "".join(SHA256[name] for name in sorted(names))
    assert hashlib.sha256(every.encode()).hexdigest() == (
        "3b9d7f0387f0bde33b7c03cf9f91d6a0d0eb0dab03909d54e4d7aa666621858c"
    )


def test_a_clip_is_its_own_name(assets, humanoid):
    clip = load_clip("walk", assets, humanoid)
    assert load_clip(clip, assets, humanoid) is clip


def test_signs_follow_the_frame_before(assets, humanoid):
    clip = load_clip("spin", assets, humanoid)
    flipped = clip.q.copy()
    for at in QUATERNIONS:
        flipped[5:9, at : at + 4] *= -1
        flipped[20:, at : at + 4] *= -1
    np.testing.assert_array_equal(without_sign_jumps(flipped, humanoid), clip.q)
