"""Reading huge, growing, damaged and replaced files of JSON lines with bounded memory."""

import itertools
import json
import tracemalloc

import pytest

from optimus.rundir import metrics
from optimus.rundir.metrics import Follower, read, tail, thinned


def lines(path, steps, mode="a", event="update"):
    with open(path, mode) as file:
        file.writelines(json.dumps({"event": event, "step": step}) + "\n" for step in steps)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "learner-0.jsonl"


def test_thinning_keeps_few_evenly_and_always_the_newest(path):
    lines(path, range(10_000))
    lines(path, range(3), event="checkpoint")
    records = thinned(path, "update", most=100)
    steps = [record["step"] for record in records]
    assert 50 <= len(steps) <= 101 and steps[0] == 0 and steps[-1] == 9999
    gaps = {after - before for before, after in itertools.pairwise(steps[:-1])}
    assert len(gaps) == 1


def test_thinning_keeps_all_of_few(path):
    lines(path, range(7))
    assert [r["step"] for r in thinned(path, "update", most=100)] == list(range(7))
    assert thinned(path, "nothing") == []


def test_memory_is_bounded_on_a_large_file_and_on_one_endless_line(path):
    lines(path, range(2000))
    block = path.read_bytes()
    with open(path, "ab") as file:
        for _ in range(40):
            file.write(block)  # 3 MB of records
        file.write(b"x" * (20 << 20))  # a line without an end
        file.write(b"\n")
    lines(path, [7])
    tracemalloc.start()
    try:
        records = thinned(path, "update", most=200)
        last = tail(path, 4096)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert records[-1]["step"] == 7 and last == [{"event": "update", "step": 7}]
    assert peak < 6 << 20


@pytest.mark.parametrize("garbage", [b"\0" * 100, b"[" * 100_000, b"\xff\xfe{}", b'"text"'])
def test_what_is_no_record_is_passed_over(path, garbage):
    lines(path, [1])
    with open(path, "ab") as file:
        file.write(garbage + b"\n")
    lines(path, [2])
    assert [r["step"] for r in read(path)] == [1, 2] == [r["step"] for r in tail(path, 1 << 20)]


def test_following_gives_each_record_once_and_only_whole_lines(path):
    follower = Follower(path)
    assert follower.new() == []  # no such file yet
    lines(path, [1, 2])
    assert [r["step"] for r in follower.new()] == [1, 2]
    with open(path, "a") as file:
        file.write('{"event": "update", "st')
    assert follower.new() == []
    with open(path, "a") as file:
        file.write('ep": 3}\n')
    assert [r["step"] for r in follower.new()] == [3] and follower.new() == []


def test_following_reads_a_shortened_or_replaced_file_from_its_beginning(path):
    follower = Follower(path)
    lines(path, range(10))
    assert len(follower.new()) == 10
    lines(path, [5], mode="w")
    assert [r["step"] for r in follower.new()] == [5]
    path.unlink()
    assert follower.new() == []
    lines(path, [1, 2, 3])
    assert [r["step"] for r in follower.new()] == [1, 2, 3]


def test_following_takes_a_bounded_piece_at_a_time(path, monkeypatch):
    lines(path, range(1000))
    follower, seen, calls = Follower(path), [], 0
    while piece := follower.new(limit=1000):
        seen += [record["step"] for record in piece]
        calls += 1
    assert seen == list(range(1000)) and calls > 20


def test_following_gets_past_a_line_longer_than_its_piece(path):
    path.write_bytes(b"x" * 3000 + b"\n")
    lines(path, [1])
    follower = Follower(path)
    found = [record for _ in range(6) for record in follower.new(limit=1000)]
    assert [record["step"] for record in found] == [1]


def test_the_longest_line_is_far_above_ours():
    assert metrics.LONGEST >= 1 << 20
