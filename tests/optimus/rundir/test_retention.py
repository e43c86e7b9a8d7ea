"""Which checkpoints stay, what `LATEST`, `BEST` and `HELD` name, and what a manifest says."""

import json
import re
import subprocess

import numpy as np
import pytest

from optimus.rundir import checkpoint
from optimus.rundir import manifest as checkpoint_manifest
from optimus.rundir.checkpoint import CheckpointError, load, load_latest, save, steps


def write(folder, *wanted, **options):
    for step in wanted:
        save(folder, step, {"x": np.full(2, step, np.float32)}, {}, **options)


# --------------------------------------------------------------------------------------- pointers


def test_latest_is_honoured_over_a_larger_number(tmp_path):
    write(tmp_path, 0, 10, 20)
    (tmp_path / checkpoint.LATEST).write_text("10\n")
    found, problems = load_latest(tmp_path)
    assert (found.step, problems) == (10, [])
    assert checkpoint.latest_step(tmp_path) == 10


@pytest.mark.parametrize("text", ["", "ten", "30", "\xff", "-1"])
def test_a_latest_that_names_nothing_gives_the_newest(tmp_path, text):
    write(tmp_path, 0, 10, 20)
    (tmp_path / checkpoint.LATEST).write_text(text)
    found, problems = load_latest(tmp_path)
    assert found.step == 20 and checkpoint.latest_step(tmp_path) == 20
    assert all("which is not there" in line and "\n" not in line for line in problems)
    (tmp_path / checkpoint.LATEST).unlink()
    assert load_latest(tmp_path)[0].step == 20


def test_a_damaged_latest_gives_the_newest_of_the_others(tmp_path):
    write(tmp_path, 0, 10, 20)
    (tmp_path / "20" / checkpoint.STATE).write_bytes(b"")
    found, problems = load_latest(tmp_path)
    assert found.step == 10 and len(problems) == 1 and "sha256" in problems[0]


def test_going_on_from_an_older_one_replaces_what_came_after(tmp_path):
    write(tmp_path, 0, 10, 20, 30)
    (tmp_path / checkpoint.LATEST).write_text("10\n")  # the user goes back
    save(tmp_path, 20, {"x": np.zeros(2, np.float32)}, {}, keep=2)
    assert load_latest(tmp_path)[0].step == 20
    assert load_latest(tmp_path)[0].arrays["x"].tolist() == [0.0, 0.0]


def test_what_a_left_course_has_behind_goes_when_the_run_passes_it(tmp_path):
    write(tmp_path, 0, 10, 20, 26, 30)
    (tmp_path / checkpoint.LATEST).write_text("10\n")
    write(tmp_path, 20)
    assert steps(tmp_path) == [0, 10, 20, 26, 30], "not passed yet"
    write(tmp_path, 28)
    assert steps(tmp_path) == [0, 10, 20, 28, 30]
    write(tmp_path, 40)
    assert steps(tmp_path) == [0, 10, 20, 28, 40]


def test_a_damaged_latest_is_not_passed_over_for_a_course_that_was_left(tmp_path):
    write(tmp_path, 0, 10, 20, 30)
    (tmp_path / checkpoint.LATEST).write_text("10\n")
    (tmp_path / "10" / checkpoint.STATE).write_bytes(b"")
    assert load_latest(tmp_path)[0].step == 0
    (tmp_path / "0" / checkpoint.STATE).write_bytes(b"")
    assert load_latest(tmp_path)[0].step == 30, "better than nothing"


# -------------------------------------------------------------------------------------- retention


def test_keep_the_last_and_every_nth(tmp_path):
    write(tmp_path, *range(0, 110, 10), keep=2, keep_every=40)
    assert steps(tmp_path) == [0, 40, 80, 90, 100]


def test_the_best_and_the_held_stay_until_the_pointer_moves(tmp_path):
    write(tmp_path, 0, 10, 20, 30)
    checkpoint.mark_best(tmp_path, 10)
    checkpoint.hold(tmp_path, 20)
    write(tmp_path, 40, 50, keep=1)
    assert steps(tmp_path) == [0, 10, 20, 50]
    checkpoint.mark_best(tmp_path, 50)
    checkpoint.hold(tmp_path, 50)
    write(tmp_path, 60, keep=1)
    assert steps(tmp_path) == [0, 50, 60]


def test_best_never_names_what_was_pruned_meanwhile(tmp_path):
    write(tmp_path, 0, 10)
    with pytest.raises(CheckpointError, match="20 is not there"):
        checkpoint.mark_best(tmp_path, 20)
    assert not (tmp_path / checkpoint.BEST).exists()
    checkpoint.mark_best(tmp_path, 10)
    with pytest.raises(CheckpointError, match="20 is not there"):
        checkpoint.mark_best(tmp_path, 20)
    assert checkpoint.best_step(tmp_path) == 10


def test_a_prune_leaves_another_process_s_half_written_pointer_alone(tmp_path, monkeypatch):
    """The evaluator writes BEST while the learner saves: neither may fail."""
    write(tmp_path, 0, 10, 20)
    real = checkpoint.point

    def slow(folder, name, step):
        (folder / f".{name}.0a1b2c3d").write_text(f"{step}\n")
        write(folder, 30, keep=1)
        assert (folder / f".{name}.0a1b2c3d").exists()
        real(folder, name, step)

    monkeypatch.setattr(checkpoint, "point", slow)
    with pytest.raises(CheckpointError):  # 10 went with that save: BEST does not name it
        checkpoint.mark_best(tmp_path, 10)
    monkeypatch.undo()
    checkpoint.mark_best(tmp_path, 30)
    assert checkpoint.best_step(tmp_path) == 30
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# --------------------------------------------------------------------------------------- manifest


def test_a_manifest_says_where_the_checkpoint_comes_from(tmp_path):
    given = {"config_hash": "ab", "metrics": {"meta_loss": -0.5}, "libraries": {"jax": "0.0"}}
    path = save(tmp_path, 3, {"x": np.zeros(2, np.float32)}, given)
    manifest = load(path).manifest
    assert manifest["step"] == 3 and manifest["format"] == checkpoint_manifest.FORMAT
    assert manifest["time"] > 1.6e9
    assert manifest["bytes"] == (path / checkpoint.STATE).stat().st_size
    assert manifest["config_hash"] == "ab" and manifest["metrics"] == {"meta_loss": -0.5}
    assert manifest["libraries"]["jax"] == "0.0", "what the caller gives wins"
    assert {"python", "numpy", "optax", "safetensors"} <= manifest["libraries"].keys()
    assert re.fullmatch("[0-9a-f]{16}", manifest["code"]["source"])
    assert checkpoint.read_manifest(path) == manifest


def test_a_manifest_of_the_future_is_one_clear_line(tmp_path):
    path = save(tmp_path, 3, {"x": np.zeros(2, np.float32)}, {})
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(CheckpointError, match=r"has format 2, this version of optimus reads up to"):
        load(path)
    del manifest["format"]  # one from before there was a format
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    assert load(path).step == 3


def test_the_source_digest_changes_with_the_source(tmp_path):
    (tmp_path / "optimus").mkdir()
    (tmp_path / "optimus" / "a.py").write_text("x = 1\n")
    before = checkpoint_manifest._source(tmp_path)
    (tmp_path / "optimus" / "notes.txt").write_text("no code")
    assert checkpoint_manifest._source(tmp_path) == before
    (tmp_path / "optimus" / "a.py").write_text("x = 2\n")
    assert checkpoint_manifest._source(tmp_path) != before


def test_the_commit_is_git_s_own(tmp_path):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.strip()

    assert checkpoint_manifest._commit(tmp_path) is None
    git("init", "-q")
    assert checkpoint_manifest._commit(tmp_path) is None, "no commit yet"
    git("commit", "-q", "--allow-empty", "-m", "one")
    assert checkpoint_manifest._commit(tmp_path) == git("rev-parse", "HEAD")
    git("pack-refs", "--all")
    assert checkpoint_manifest._commit(tmp_path) == git("rev-parse", "HEAD")
    git("checkout", "-q", "--detach")
    assert checkpoint_manifest._commit(tmp_path) == git("rev-parse", "HEAD")


def test_the_best_of_a_course_that_was_left_is_not_the_best(tmp_path):
    write(tmp_path, 0, 10, 20, 30)
    checkpoint.mark_best(tmp_path, 30)
    (tmp_path / checkpoint.LATEST).write_text("10\n")
    assert checkpoint.best_step(tmp_path) is None
    checkpoint.mark_best(tmp_path, 10)
    assert checkpoint.best_step(tmp_path) == 10
