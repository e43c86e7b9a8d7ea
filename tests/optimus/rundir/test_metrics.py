"""Metrics files: valid JSON on every line, whatever a crash leaves behind."""

import errno
import io
import json
import math
import os

import pytest

from optimus.rundir import metrics
from optimus.rundir.metrics import MetricsWriter, TimeIn, read, tail


@pytest.fixture
def writer(tmp_path):
    made = MetricsWriter(tmp_path, "learner", 2)
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics" / "learner-2.jsonl"


def strict(path):
    """Every line, by a parser that refuses NaN and Infinity."""

    def refuse(word):
        raise ValueError(word)

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_a_record_is_one_line_and_readable_at_once(writer, path):
    writer.write("update", step=3, meta_loss=-0.5, refused={"stale": 1}, version=[1, 3])
    (record,) = strict(path)  # the file is still open for writing
    assert record.pop("time") > 1.6e9
    assert 0 <= record.pop("uptime") < 60
    values = {"step": 3, "meta_loss": -0.5, "refused": {"stale": 1}, "version": [1, 3]}
    assert record == {"event": "update", **values}
    assert list(read(path)) == tail(path) == strict(path)


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")]
)
def test_what_is_not_finite_stays_valid_json(writer, path, value, text):
    writer.write("update", a=value, b=[1.0, value], c={"d": (value,)})
    (record,) = strict(path)
    assert (record["a"], record["b"], record["c"]) == (text, [1.0, text], {"d": [text]})
    assert str(float(record["a"])) == text


def test_newlines_in_values_do_not_break_a_line(writer, path):
    writer.write("failed", message="two\nlines\r and \u2028 more")
    writer.write("next")
    assert [record["event"] for record in read(path)] == ["failed", "next"]
    assert tail(path)[0]["message"] == "two\nlines\r and \u2028 more"


@pytest.mark.parametrize("half", [b'{"event": "upd', b"{", b"\xe2\x82"])
def test_a_half_written_last_line_is_passed_over_and_a_fresh_one_begun(tmp_path, path, half):
    first = MetricsWriter(tmp_path, "learner", 2)
    first.write("one")
    first.close()
    with open(path, "ab") as file:  # killed in the middle of a write
        file.write(half)
    assert [record["event"] for record in read(path)] == ["one"]
    assert [record["event"] for record in tail(path)] == ["one"]

    second = MetricsWriter(tmp_path, "learner", 2)
    second.write("two")
    second.close()
    assert [record["event"] for record in read(path)] == ["one", "two"]
    assert [record["event"] for record in tail(path)] == ["one", "two"]


def test_a_new_life_appends_without_empty_lines(tmp_path, path):
    for event in ("one", "two"):
        life = MetricsWriter(tmp_path, "learner", 2)
        life.write(event)
        life.close()
    assert [record["event"] for record in strict(path)] == ["one", "two"]


def test_lines_that_hold_no_record_are_passed_over(path, writer):
    path.write_text('[1]\n3\n"text"\nnull\n\nnot json\n{"event": "one"}\n')
    assert list(read(path)) == tail(path) == [{"event": "one"}]


def test_roles_and_indices_have_files_of_their_own(tmp_path):
    for role, index in (("actor", 0), ("actor", 1), ("learner", 0)):
        made = MetricsWriter(tmp_path, role, index)
        made.write("started")
        made.close()
    names = sorted(file.name for file in (tmp_path / "metrics").iterdir())
    assert names == ["actor-0.jsonl", "actor-1.jsonl", "learner-0.jsonl"]


def test_the_tail_is_the_end_and_bounded(writer, path):
    for step in range(2000):
        writer.write("update", step=step)
    size = path.stat().st_size
    assert size > 100_000
    records = tail(path, limit=1000)
    assert 5 < len(records) < 30
    assert [r["step"] for r in records] == list(range(2000 - len(records), 2000))
    assert tail(path, limit=size) == list(read(path))


def test_the_tail_never_reads_more_than_asked(writer, path, monkeypatch):
    for step in range(500):
        writer.write("update", step=step)
    taken = []

    class Counted(io.FileIO):
        def read(self, *args):
            data = super().read(*args)
            taken.append(len(data))
            return data

    opened = lambda path, mode: Counted(path, mode)  # noqa: E731
    monkeypatch.setattr(metrics, "open", opened, raising=False)
    assert tail(path, limit=4096)
    assert sum(taken) == 4096


def test_the_tail_of_nothing_is_empty(writer, path):
    assert tail(path) == [] == list(read(path))


class Full:
    """A file on a disk that takes `room` more bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        taken = data[: self.room]
        self.room -= len(taken)
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(taken)

    def close(self):
        self.file.close()


@pytest.mark.parametrize("room", [0, 1, 30, 100_000])
def test_a_full_disk_harms_no_run_and_is_counted(writer, path, room):
    writer.write("before")
    real = writer._file
    writer._file = Full(real, room)
    for _ in range(3):
        writer.write("during", text="x" * 40)
    writer._file = real
    writer.write("after")
    writer.write("later")
    records = list(read(path))
    if room == 100_000:
        assert [r["event"] for r in records] == ["before"] + ["during"] * 3 + ["after", "later"]
    else:
        assert [r["event"] for r in records] == ["before", "after", "later"]
        assert [r.get("lost") for r in records] == [None, 3, None]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_file_that_cannot_be_opened_yet_is_tried_again(tmp_path, monkeypatch, caplog, number):
    """A role that starts while the disk is full; it says so once."""

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refuse)
        writer = MetricsWriter(tmp_path, "learner")
        for _ in range(3):
            writer.write("during")
    writer.write("after")
    writer.close()
    writer.write("closed")  # a heartbeat has a last word
    (record,) = read(tmp_path / "metrics" / "learner-0.jsonl")
    assert (record["event"], record["lost"], writer.lost) == ("after", 3, 3)
    (said,) = caplog.messages
    assert os.strerror(number) in said and "learner-0.jsonl" in said


# ------------------------------------------------- where a thread's time goes


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_second_is_charged_to_one_activity() -> None:
    clock = Clock()
    spent = TimeIn("weights", clock)
    clock.now += 2.0
    assert spent.record() == {"weights": 2.0}, "the wait under way counts"
    clock.now += 1.0
    spent.enter("optimizer")
    clock.now += 0.5
    spent.enter("losses")
    spent.enter("losses")
    clock.now += 4.0
    spent.enter("weights")
    clock.now += 0.25
    assert spent.record() == {"losses": 4.0, "optimizer": 0.5, "weights": 3.25}
    assert sum(spent.record().values()) == pytest.approx(clock.now - 100.0)


def test_a_clock_that_goes_back_charges_nothing() -> None:
    clock = Clock()
    spent = TimeIn("weights", clock)
    clock.now -= 50.0
    spent.enter("stream")
    clock.now += 1.0
    assert spent.record() == {"stream": 1.0, "weights": 0.0}
