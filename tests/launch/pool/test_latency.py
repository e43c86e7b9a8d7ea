"""The duration of each call is counted once, however it ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from launch.pool import Rules, WorkerPool
from optimus.rundir.histogram import Histogram
from optimus.wire import LossReply, LossRequest, LossUnavailable, decode, encode


class Link:
    """Answers the first call, and refuses the others."""

    calls = 0

    def start(self, request: bytes, done: Any) -> None:
        Link.calls += 1
        message = decode(LossRequest, request)
        if Link.calls == 1:
            done("ok", encode(LossReply(message.request_id, "ok", 1.0, message.x)))
        else:
            done("error", "no")


def test_each_call_is_counted_when_it_ends() -> None:
    histogram = Histogram()
    pool = WorkerPool(lambda _: Link(), Rules(), ["host:1"], latency=histogram)
    try:
        requests = [LossRequest(k, 5.0, "sum", "-", 0, b"", np.zeros(2)) for k in range(2)]
        assert pool.submit(requests[0]).result(timeout=10).loss == 1.0
        assert sum(histogram.record()["counts"]) == 1
        with pytest.raises(LossUnavailable):
            pool.submit(requests[1]).result(timeout=10)
        assert sum(histogram.record()["counts"]) == Link.calls >= 2
    finally:
        pool.close()
