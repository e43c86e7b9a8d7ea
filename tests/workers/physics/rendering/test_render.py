"""Pictures: what is drawn, what files come out, and messages."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from workers.physics.benchmark import cells
from workers.physics.benchmark.plan import Settings, cases
from workers.physics.loss import PhysicsOptions
from workers.physics.rendering import drawing, render
from workers.physics.rendering.showing import main, of_cell, of_clip

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def _assets(assets):
    """Every test here needs the clips."""


@pytest.fixture(scope="module")
def shown(assets):
    return of_clip("walk", 0.0, 0.25, PhysicsOptions(target_base="reference"), 10)


def test_every_limb_is_drawn_once(humanoid):
    limbs = drawing.segments(humanoid)
    names = [site.name for site in humanoid.sites]
    assert sorted(b for _, b, _, _ in limbs) == [i for i in range(len(names)) if names[i] != "root"]
    pairs = {(names[a], names[b]): side for a, b, side, _ in limbs}
    assert pairs["left_elbow", "left_wrist"] == "left" and pairs["neck", "head"] == ""
    assert pairs["right_hip", "right_knee"] == "right" and pairs["root", "right_hip"] == ""


def test_gif(shown, humanoid, tmp_path):
    pictures = render.frames(shown.reference, shown.motion, humanoid, shown.rate)
    path = render.save(pictures, tmp_path / "new" / "walk.gif", shown.rate)
    with Image.open(path) as image:
        assert image.n_frames == len(shown.motion) == 8
        assert image.size == (2 * drawing.WIDTH + 2, drawing.HEIGHT)
        durations = []
        for i in range(image.n_frames):
            image.seek(i)
            durations.append(image.info["duration"])
    assert sum(durations[:-1]) == pytest.approx(7000 / 32, abs=10)


def test_both_halves_show_a_body_and_the_ghost_differs(shown, humanoid):
    """Side colours appear in both panels, the reference's grey only in the right one."""
    moved = shown.motion + np.array([0.3, 0.3, 0.0])
    sheet = np.asarray(render.frames(shown.reference, moved, humanoid, 30.0)[3]).astype(int)
    left, right = sheet[:, : drawing.WIDTH], sheet[:, drawing.WIDTH + 2 :]

    def count(panel, color):
        return int((np.abs(panel - np.array(color)).max(axis=-1) < 12).sum())

    for panel in (left, right):
        assert min(count(panel, drawing.SIDES[side]) for side in ("left", "right", "")) > 150
    assert count(right, drawing.GHOST) > 3 * count(left, drawing.GHOST)  # blends of edges there


@pytest.mark.parametrize("clip", ["cartwheel", "crawl"])
def test_the_whole_motion_is_in_the_picture(clip, humanoid):
    points = of_clip(clip, 0.5, 0.5, PhysicsOptions(), 1).reference
    at, depth = drawing.camera_for(points).project(points)
    assert (at > 0).all() and (depth > 0.5).all()
    assert (at < drawing.OVERSAMPLING * np.array([drawing.WIDTH, drawing.HEIGHT])).all()


def test_png_and_mp4(shown, humanoid, tmp_path):
    pictures = render.frames(shown.reference, shown.motion, humanoid, 30.0)
    with Image.open(render.save(pictures, tmp_path / "a.png", 30.0)) as image:
        assert image.size == (2 * (2 * drawing.WIDTH + 2), 3 * drawing.HEIGHT)
    if shutil.which("ffmpeg") is None:
        with pytest.raises(ValueError, match="MP4 needs the program ffmpeg, which is not here"):
            render.save(pictures, tmp_path / "a.mp4", 30.0)
    else:
        assert render.save(pictures, tmp_path / "a.mp4", 30.0).stat().st_size > 1000


def test_messages(shown, humanoid, tmp_path):
    with pytest.raises(ValueError, match=r"a\.webm: want a file that ends in \.gif, \.mp4, \.png"):
        render.save([], tmp_path / "a.webm", 30.0)
    with pytest.raises(ValueError, match="not finite cannot be drawn"):
        render.frames(shown.reference, np.full_like(shown.motion, np.nan), humanoid, 30.0)
    with pytest.raises(ValueError, match=r"must be two arrays \[F, 18, 3\]"):
        render.frames(shown.reference, shown.motion[1:], humanoid, 30.0)


def draw(source, out, controls=None, seconds=0.25):
    lines = []
    code = main(str(source), out, 0.0, seconds, controls, PhysicsOptions(), 3, lines.append)
    return code, lines


def test_clips_cells_and_controls(tmp_path):
    out = tmp_path / "a.png"
    np.savez(tmp_path / "x.npz", controls=np.zeros(210))
    assert draw("run", out, tmp_path / "x.npz") == (0, [f"wrote {out}"])
    settings = Settings(
        split="synthetic", windows=1, seconds=0.25, methods=("l_bfgs_b",), evaluations=3
    )
    case, models = cases(settings)[0], cells.Models("", "")
    cell = cells.compute(settings, case, "l_bfgs_b", models)
    cells.store(tmp_path, "cell", cell)
    shown = of_cell(tmp_path / "cell.npz")
    assert shown.rate == pytest.approx(32) and shown.motion.shape == (8, 18, 3)
    task = case.build(settings.options)
    expected = [task.simulator.sites(q) for q in task.states(cell.x)[task.spec.frame_steps]]
    np.testing.assert_array_equal(shown.motion, np.stack(expected))
    assert draw(tmp_path / "cell.npz", out)[0] == 0


def test_what_cannot_be_shown(tmp_path):
    out = tmp_path / "a.png"
    with pytest.raises(ValueError, match="moonwalk: neither a clip"):
        draw("moonwalk", out)
    np.savez(tmp_path / "x.npz", controls=np.zeros(5))
    with pytest.raises(ValueError, match=r"controls must be 210 numbers, got \(5,\)"):
        draw("run", out, tmp_path / "x.npz")
    with pytest.raises(ValueError, match="not a cell of optimus bench physics"):
        draw(tmp_path / "x.npz", out)
    with pytest.raises(ValueError, match="no array 'controls' or 'x'"):
        draw("run", out, tmp_path / "nowhere.npz")
    assert not out.exists()
