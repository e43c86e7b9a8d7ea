"""Metrics: known offsets, invariances, and reflections."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from workers.physics.loss import metrics
from workers.physics.simulation.window_spec import Camera


def walk(seed: int = 0, frames: int = 12, joints: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, joints, 3)).cumsum(axis=0) / 10


def turned(points: np.ndarray, seed: int) -> np.ndarray:
    """Every frame turned by a rotation of its own."""
    turns = Rotation.random(len(points), random_state=seed).as_matrix()
    return np.einsum("fij,fkj->fki", turns, points)


def test_known_offsets():
    r = walk()
    p = r + np.array([0.03, 0.0, -0.04])
    assert metrics.mpjpe_global(p, r) == pytest.approx(50)
    assert metrics.mpjpe(p, r) == pytest.approx(0, abs=1e-9)
    p[:, 3] += np.array([0.0, 0.07, 0.0])
    assert metrics.mpjpe(p, r) == pytest.approx(70 / 7)
    assert metrics.mpjpe(p, r, root=3) == pytest.approx(6 * 70 / 7)


def test_global_error_is_symmetric_and_zero_at_the_reference():
    p, r = walk(1), walk(2)
    assert metrics.mpjpe_global(p, r) == metrics.mpjpe_global(r, p) > 0
    assert metrics.mpjpe_global(r, r) == metrics.mpjpe(r, r) == 0


@pytest.mark.parametrize("seed", range(5))
def test_procrustes_forgives_similarities(seed):
    r = walk(seed)
    p = 1.7 * turned(r, seed) + np.random.default_rng(seed).normal(size=(len(r), 1, 3))
    assert metrics.mpjpe_pa(p, r) == pytest.approx(0, abs=1e-9)
    noisy = p + 0.01 * walk(seed + 50)
    assert metrics.mpjpe_pa(noisy, r) < metrics.mpjpe(noisy, r)
    # what it reports does not depend on how the motion is turned, moved or scaled
    again = 0.4 * turned(noisy, seed + 9) + 3.0
    assert metrics.mpjpe_pa(again, r) == pytest.approx(metrics.mpjpe_pa(noisy, r), abs=1e-9)


def test_procrustes_does_not_mirror():
    r = walk(3)
    mirrored = r * np.array([1.0, -1.0, 1.0])
    assert metrics.mpjpe_pa(mirrored, r) > 10
    flat = r * np.array([1.0, 1.0, 0.0])  # of flat poses, the mirrored one is a turned one
    assert metrics.mpjpe_pa(flat * np.array([1.0, -1.0, 1.0]), flat) == pytest.approx(0, abs=1e-9)


def test_procrustes_is_the_optimum():
    """No rotation, scale or shift near the one found does better in squares."""
    r, p = walk(4, frames=1), walk(5, frames=1)
    matched, _ = Rotation.align_vectors((r - r.mean(1))[0], (p - p.mean(1))[0])
    q = matched.apply((p - p.mean(1))[0])
    scale = np.sum(q * (r - r.mean(1))[0]) / np.sum(q * q)
    expected = 1000 * np.mean(np.linalg.norm(scale * q - (r - r.mean(1))[0], axis=-1))
    assert metrics.mpjpe_pa(p, r) == pytest.approx(expected, rel=1e-9)


def test_procrustes_of_one_point_and_of_nan():
    r = walk(6)
    assert metrics.mpjpe_pa(np.zeros_like(r), r) > 0
    p = r.copy()
    p[2, 1, 0] = np.nan
    assert np.isnan(metrics.mpjpe_pa(p, r)) and np.isnan(metrics.mpjpe(p, r))


def test_2d_error():
    r = np.zeros((2, 3, 2))
    p = r + np.array([3.0, 4.0])
    assert metrics.mpjpe_2d(p, r) == pytest.approx(5)
    weights = np.array([[1.0, 0, 0], [0, 0, 3.0]])
    p[1, 2] = 0
    assert metrics.mpjpe_2d(p, r, weights) == pytest.approx(5 / 4)
    assert np.isnan(metrics.mpjpe_2d(p, r, 0 * weights))


def test_projection():
    look = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))  # along +y, z up
    camera = Camera(800.0, 900.0, 320.0, 240.0, look, (0.0, 1.0, 0.0))
    points = np.array([[[0.5, 4.0, 1.0], [0.0, -1.0, 0.0]]])
    pixels = metrics.project(points, camera)
    np.testing.assert_allclose(pixels[0, 0], [320 + 800 * 0.5 / 4, 240])
    assert np.isnan(pixels[0, 1]).all()  # behind
    np.testing.assert_allclose(pixels[:, :1], camera.project(points[:, :1]))


def test_side_camera():
    root = np.array([1.0, 2.0, 0.9])
    camera = metrics.side_camera(root)
    np.testing.assert_allclose(camera.project(root), [512, 512])
    above = camera.project(root + [0.0, 0.0, 0.1])
    assert above[0] == pytest.approx(512) and above[1] < 512 - 20  # pixels count downwards


def test_foot_skate_counts_sliding_in_contact():
    centers = np.zeros((5, 3, 3))
    centers[..., 2] = 0.03
    radii, feet = np.full(3, 0.03), np.array([True, True, False])
    assert metrics.foot_skate(centers, radii, feet) == 0
    centers[1:, 0, 0] = 0.05  # slides 5 cm between frames 0 and 1
    assert metrics.foot_skate(centers, radii, feet) == pytest.approx(25)
    centers[:, 2, 0] = np.arange(5)  # what is no foot may move
    centers[3:, 1, 1] = 0.015  # less than 2 cm
    assert metrics.foot_skate(centers, radii, feet) == pytest.approx(25)
    centers[:, 0, 2] = 0.05  # 2 cm above the ground
    assert metrics.foot_skate(centers, radii, feet) == 0


def test_total_variation_and_acceleration_error():
    t = np.arange(10.0)[:, None, None]
    steady = 0.01 * t * np.ones((1, 4, 3))
    assert metrics.total_variation(steady) == pytest.approx(0, abs=1e-9)
    falling = steady + 0.002 * t**2 * np.array([0.0, 0.0, 1.0])
    assert metrics.total_variation(falling) == pytest.approx(4.0)  # mm/frame^2
    assert metrics.acceleration_error(falling, steady) == pytest.approx(4.0)
    assert metrics.acceleration_error(falling, falling + 5) == pytest.approx(0, abs=1e-9)
    assert np.isnan(metrics.total_variation(falling[:2]))


@pytest.mark.parametrize(
    "function", [metrics.mpjpe_global, metrics.mpjpe, metrics.mpjpe_pa, metrics.acceleration_error]
)
def test_shapes_must_match(function):
    with pytest.raises(ValueError, match=r"two arrays \[F, J, 3\], got \(12, 7, 3\) and \(12, 6"):
        function(walk(), walk()[:, :6])
