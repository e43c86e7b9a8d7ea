"""Measures calls of workers where they start and end, between the pool and its connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from launch.pool.workers import Done, Link
from optimus.rundir.histogram import Histogram


def measured(connect: Callable[[str], Link], histogram: Histogram) -> Callable[[str], Link]:
    """`connect`, whose links count the duration (s) of every call, however it ended."""

    def connect_and_measure(address: str) -> Link:
        return _Measured(connect(address), histogram)

    return connect_and_measure


class _Measured:
    def __init__(self, link: Link, histogram: Histogram) -> None:
        self._link, self._histogram = link, histogram

    def start(self, request: bytes, done: Done) -> None:
        """See `Link.start`."""
        histogram, began = self._histogram, time.monotonic()

        def ended(outcome: str, value: Any) -> None:  # must not keep the link, so the client, alive
            histogram.observe(time.monotonic() - began)
            done(outcome, value)

        self._link.start(request, ended)
