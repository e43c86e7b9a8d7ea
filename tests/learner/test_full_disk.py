"""A disk that refuses: counted and said once, or one clear line; nothing is half there."""

import errno
import os
import shutil

import pytest

from learner.identity import IdentityError
from learner.learner import LearnerError
from optimus.rundir import checkpoint
from optimus.rundir.checkpoint import CheckpointError
from optimus.rundir.metrics import read
from tests.learner.bench import Bench

NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO]


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


class Full:
    """A file on a disk that takes nothing."""

    def __init__(self, number):
        self.write = refusing(number)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_ledger_that_cannot_be_written_ends_no_run(tmp_path, caplog, number):
    bench = Bench(tmp_path, ledger=True)
    bench.updates(1)
    lines = bench.learner._ledger
    real, lines._file = lines._file, Full(number)
    bench.updates(3)
    lines._file = real
    bench.updates(2)
    steps = [line["version"][1] for line in read(tmp_path / "ledger.jsonl")]
    assert steps == [1, 5, 6]
    assert [line.get("lost") for line in read(tmp_path / "ledger.jsonl")] == [None, 3, None]
    assert bench.records("update")[-1]["ledger_lost"] == 3
    (said,) = [each for each in caplog.messages if "ledger.jsonl" in each]
    assert os.strerror(number) in said


@pytest.mark.parametrize("number", NUMBERS)
def test_checkpoints_are_tried_again_and_said_once(bench, monkeypatch, caplog, number):
    bench.updates(2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refusing(number))
        bench.updates(3)
        before = len(caplog.messages)
        with pytest.raises(CheckpointError, match=os.strerror(number)) as caught:
            bench.learner.run(bench.stop)
    assert len(str(caught.value).splitlines()) == 1
    assert before == 1 and os.strerror(number) in caplog.messages[0]
    assert checkpoint.load_latest(bench.run_dir / "checkpoints")[0].step == 2
    bench.stop.clear()
    bench.updates(1)
    assert checkpoint.load_latest(bench.run_dir / "checkpoints")[0].step == 6


def test_a_run_directory_that_was_deleted_ends_the_run_and_stays_deleted(bench):
    bench.updates(1)
    shutil.rmtree(bench.run_dir)
    with pytest.raises(LearnerError, match="was deleted while the run was going on") as caught:
        bench.updates(1)
    assert caught.value.final and not bench.run_dir.exists()
    with pytest.raises(LearnerError, match="was deleted"):
        bench.learner.run(bench.stop)
    assert not bench.run_dir.exists()


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_cannot_be_written_down_are_one_line(tmp_path, monkeypatch, number):
    Bench(tmp_path)
    monkeypatch.setattr("learner.identity.write_atomically", refusing(number))
    with pytest.raises(IdentityError) as caught:
        Bench(tmp_path)
    assert str(caught.value).endswith(f"identity.json: {os.strerror(number)}")
    assert caught.value.final
