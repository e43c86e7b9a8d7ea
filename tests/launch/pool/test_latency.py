"""The duration of each call is counted once, and what the call came to is passed on."""

from __future__ import annotations

from typing import Any

from launch.pool import measured
from optimus.rundir.histogram import Histogram


class Link:
    def __init__(self, address: str) -> None:
        self.address = address
        self.calls: list[Any] = []

    def start(self, request: bytes, done: Any) -> None:
        self.calls.append((request, done))


def test_each_call_is_counted_when_it_ends() -> None:
    made: list[Link] = []
    histogram, seen = Histogram(), []

    def connect(address: str) -> Link:
        made.append(Link(address))
        return made[-1]

    link = measured(connect, histogram)("host:1")
    for k in range(2):
        link.start(bytes([k]), lambda outcome, value: seen.append((outcome, value)))
    assert made[0].address == "host:1" and [request for request, _ in made[0].calls] == [
        b"\0",
        b"\1",
    ]
    assert sum(histogram.record()["counts"]) == 0
    made[0].calls[1][1]("ok", b"reply")
    made[0].calls[0][1]("timeout", "late")
    assert seen == [("ok", b"reply"), ("timeout", "late")]
    assert sum(histogram.record()["counts"]) == 2
