"""Checkpoints: whole or absent, whatever the disk does and whenever the process dies."""

import errno
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from optimus.rundir import checkpoint
from optimus.rundir.checkpoint import CheckpointError, load, load_latest, save, steps


def arrays(step):
    return {
        "theta/network/optimus/encoder_0/w": np.arange(6, dtype=np.float32).reshape(2, 3) + step,
        "adam/count": np.asarray(step, np.int32),  # 0-d
        "actors/0/episode": np.array([2**64 - 1, step], np.uint64),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 4), np.float64),
    }


def assert_whole(found, step):
    assert found.step == step and found.path.name == str(step)
    expected = arrays(step)
    assert found.arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


def latest(folder):
    return (folder / checkpoint.LATEST).read_text()


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# ------------------------------------------------------------------------------------- round trips


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    path = save(folder, 7, arrays(7), {"epoch": 2, "open": {"3": 1}})
    assert path == folder / "7" and latest(folder) == "7\n" and hidden(folder) == []
    found, problems = load_latest(folder)
    assert problems == []
    assert_whole(found, 7)
    assert found.manifest["epoch"] == 2 and found.manifest["open"] == {"3": 1}
    assert_whole(load(path), 7)


def test_strided_arrays_are_saved_in_c_order(tmp_path):
    wide = np.arange(12.0).reshape(3, 4)
    save(tmp_path, 1, {"t": wide.T, "s": wide[:, ::2]}, {})
    back = load(tmp_path / "1").arrays
    np.testing.assert_array_equal(back["t"], wide.T)
    np.testing.assert_array_equal(back["s"], wide[:, ::2])


def test_no_folder_and_an_empty_one_hold_no_checkpoint(tmp_path):
    assert load_latest(tmp_path / "absent") == (None, [])
    assert load_latest(tmp_path) == (None, [])


def test_the_newest_step_is_the_largest_number(tmp_path):
    for step in (0, 9, 10):
        save(tmp_path, step, arrays(step), {})
    assert steps(tmp_path) == [0, 9, 10]
    assert_whole(load_latest(tmp_path)[0], 10)


def test_the_same_step_can_be_saved_again(tmp_path):
    save(tmp_path, 5, arrays(1), {"round": 1})
    save(tmp_path, 5, arrays(5), {"round": 2})
    found, _ = load_latest(tmp_path)
    assert_whole(found, 5)
    assert found.manifest["round"] == 2
    assert hidden(tmp_path) == [] and steps(tmp_path) == [5]


# ----------------------------------------------------------------------------------------- pruning


def test_the_first_and_the_newest_stay(tmp_path):
    for step in range(0, 60, 10):
        save(tmp_path, step, arrays(step), {}, keep=2)
    assert steps(tmp_path) == [0, 40, 50]
    save(tmp_path, 60, arrays(60), {})
    assert steps(tmp_path) == [0, 40, 50, 60]


def test_a_damaged_newer_checkpoint_does_not_push_out_a_good_one(tmp_path):
    """After a fallback the run goes on from an older step; what it saves must stay."""
    for step in (0, 10, 20, 30, 40):
        save(tmp_path, step, arrays(step), {})
    for step in (30, 40):
        (tmp_path / str(step) / checkpoint.STATE).write_bytes(b"")
    save(tmp_path, 25, arrays(25), {}, keep=2)
    assert {0, 20, 25} <= set(steps(tmp_path))
    found, problems = load_latest(tmp_path)
    assert_whole(found, 25)
    assert problems == [], "LATEST names a whole one: nothing is passed over any more"


def test_what_a_killed_process_left_is_swept_away(tmp_path):
    save(tmp_path, 1, arrays(1), {})
    (tmp_path / ".2.0a1b2c3d").mkdir()
    (tmp_path / ".2.0a1b2c3d" / checkpoint.STATE).write_bytes(b"half")
    (tmp_path / ".1.replaced.0a1b2c3d").mkdir()
    (tmp_path / f".{checkpoint.LATEST}.0a1b2c3d").write_text("2")
    assert steps(tmp_path) == [1]
    save(tmp_path, 3, arrays(3), {})
    assert hidden(tmp_path) == [] and steps(tmp_path) == [1, 3]


# ----------------------------------------------------------------------------------------- crashes


class Killed(BaseException):
    """Stands for SIGKILL: no clean-up of ours may run after it."""


class Fuse:
    """Makes the n-th write, sync or rename fail, after half of its data if it has any."""

    def __init__(self, monkeypatch, blows_at, killed):
        self.calls, self.blows_at, self.killed = 0, blows_at, killed
        self.monkeypatch = monkeypatch
        for owner, name in (
            (Path, "write_bytes"),
            (Path, "write_text"),
            (Path, "mkdir"),
            (os, "fsync"),
            (os, "replace"),
        ):
            monkeypatch.setattr(owner, name, self.wrap(name, getattr(owner, name)))

    def wrap(self, name, real):
        def call(*args, **kwargs):
            self.calls += 1
            if self.calls != self.blows_at:
                return real(*args, **kwargs)
            if name.startswith("write"):
                real(args[0], args[1][: len(args[1]) // 2])
            if self.killed:
                self.monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
                self.monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
                raise Killed
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return call


@pytest.mark.parametrize("again", [False, True], ids=["new step", "same step again"])
@pytest.mark.parametrize("killed", [False, True], ids=["full disk", "killed"])
def test_a_crash_at_any_write_leaves_a_usable_checkpoint(tmp_path, monkeypatch, killed, again):
    """Every write, sync, rename and mkdir of a save fails once, each in a folder of its own."""
    blown = 0
    for blows_at in itertools.count(1):
        folder = tmp_path / str(blows_at)
        save(folder, 10, arrays(10), {})
        save(folder, 20, arrays(20), {})
        target = 20 if again else 30
        with monkeypatch.context() as patch:
            fuse = Fuse(patch, blows_at, killed)
            try:
                save(folder, target, arrays(target), {"second": True}, keep=1)
            except CheckpointError as error:
                assert not killed
                assert "No space left" in str(error) and "\n" not in str(error)
            except Killed:
                assert killed
        if fuse.calls < blows_at:
            break
        blown += 1

        pointed = int(latest(folder))
        found, problems = load_latest(folder)
        assert pointed in (20, target)
        assert_whole(found, found.step)
        if killed and again and found.step == 10:  # died between two renames
            assert not (folder / "20").exists()
            assert problems == [f"{folder / 'LATEST'} names 20, which is not there"]
        else:
            assert found.step == pointed and problems == []
        if not killed:
            assert [name for name in hidden(folder) if "replaced" not in name] == []
            assert load(folder / str(pointed)).step == pointed

        save(folder, 40, arrays(40), {}, keep=1)
        assert_whole(load_latest(folder)[0], 40)
        assert hidden(folder) == [] and steps(folder) == [40] and latest(folder) == "40\n"
    assert blown >= (11 if not again else 12)


def test_a_full_disk_at_the_very_first_checkpoint_leaves_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Fuse(patch, 2, killed=False)
        with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*No space left"):
            save(tmp_path, 0, arrays(0), {})
    assert load_latest(tmp_path) == (None, [])


def test_an_interrupted_small_file_keeps_its_old_text(tmp_path, monkeypatch):
    path = tmp_path / "identity.json"
    checkpoint.write_atomically(path, "old")
    for blows_at in (1, 2, 3):
        with monkeypatch.context() as patch:
            Fuse(patch, blows_at, killed=False)
            with pytest.raises(OSError, match="No space left"):
                checkpoint.write_atomically(path, "new")
        assert path.read_text() == "old" and hidden(tmp_path) == []
    checkpoint.write_atomically(path, "new")
    assert path.read_text() == "new"


# ------------------------------------------------------------------------------------------ damage


def truncate(path):
    state = path / checkpoint.STATE
    state.write_bytes(state.read_bytes()[:-1])


def flip_a_bit(path):
    state = path / checkpoint.STATE
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)


def edit_manifest(**changes):
    def damage(path):
        manifest = json.loads((path / checkpoint.MANIFEST).read_text())
        (path / checkpoint.MANIFEST).write_text(json.dumps({**manifest, **changes}))

    return damage


DAMAGES = {
    "truncated": (truncate, "is damaged: sha256 of state.safetensors does not match"),
    "bit flipped": (flip_a_bit, "is damaged: sha256"),
    "no state": (lambda path: (path / checkpoint.STATE).unlink(), "is incomplete"),
    "no manifest": (lambda path: (path / checkpoint.MANIFEST).unlink(), "is incomplete"),
    "half a manifest": (
        lambda path: (path / checkpoint.MANIFEST).write_text('{"step": 2'),
        "is incomplete",
    ),
    "binary manifest": (
        lambda path: (path / checkpoint.MANIFEST).write_bytes(b"\xff\xfe\x00"),
        "is incomplete",
    ),
    "manifest of another kind": (
        lambda path: (path / checkpoint.MANIFEST).write_text("[1]"),
        "names no step",
    ),
    "manifest without step": (edit_manifest(step=None), "names no step"),
    "manifest with another hash": (edit_manifest(sha256="0" * 64), "is damaged"),
    "empty folder": (lambda path: [file.unlink() for file in path.iterdir()], "is incomplete"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, kind):
    damage, message = DAMAGES[kind]
    for step in (1, 2):
        save(tmp_path, step, arrays(step), {})
    damage(tmp_path / "2")
    found, problems = load_latest(tmp_path)
    assert_whole(found, 1)
    assert len(problems) == 1 and "\n" not in problems[0]
    assert f"checkpoint {tmp_path / '2'}" in problems[0] and message in problems[0]
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "2")


def test_a_hash_that_fits_does_not_make_garbage_a_checkpoint(tmp_path):
    path = save(tmp_path, 1, arrays(1), {})
    garbage = b"\x08" + b"\0" * 40
    (path / checkpoint.STATE).write_bytes(garbage)
    edit_manifest(sha256=checkpoint.hashlib.sha256(garbage).hexdigest())(path)
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)


def test_when_all_are_damaged_it_says_so(tmp_path):
    for step in (1, 2):
        truncate(save(tmp_path, step, arrays(step), {}))
    with pytest.raises(CheckpointError, match=f"no usable checkpoint in {tmp_path}.*sha256"):
        load_latest(tmp_path)


def test_folders_of_others_are_ignored(tmp_path):
    save(tmp_path, 3, arrays(3), {})
    (tmp_path / "notes").mkdir()
    (tmp_path / "4").write_text("a file")
    assert steps(tmp_path) == [3]
    assert_whole(load_latest(tmp_path)[0], 3)


def test_no_file_takes_the_place_of_a_pipe_or_a_device(tmp_path):
    os.mkfifo(tmp_path / "out")
    with pytest.raises(FileExistsError, match="no ordinary file"):
        checkpoint.write_atomically(tmp_path / "out", "text")
    assert (tmp_path / "out").is_fifo() and len(list(tmp_path.iterdir())) == 1
