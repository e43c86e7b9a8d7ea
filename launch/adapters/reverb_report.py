"""What the sample queue says of itself, for the metrics."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import reverb

from launch.adapters.reverb import TABLE
from optimus.rundir.metrics import MetricsWriter, heartbeat

_PATIENCE = 2  # s


class Report:
    """Writes records about the queue of a server on this host.

    `queued`: samples waiting now. `inserted`, `sampled`: so far. `waiting_for_sampling_ms`,
    `waiting_for_inserts_ms`: ms that the queue stood full, or empty, for the other side to come;
    which of the two grows says who is the bottleneck.
    """

    def __init__(self, port: int, metrics: MetricsWriter) -> None:
        self._client, self._metrics = reverb.Client(f"localhost:{port}"), metrics

    def report(self) -> None:
        """Writes one record; without an answer one that only says that the process lives."""
        try:
            found = _values(self._client.server_info(timeout=_PATIENCE)[TABLE])
        except (RuntimeError, KeyError):  # starting, or stopping
            found = {}
        self._metrics.write("alive", **found)


def _values(table: Any) -> dict[str, int]:
    limiter, times = table.rate_limiter_info, table.table_worker_time
    return {
        "queued": int(table.current_size),
        "inserted": int(limiter.insert_stats.completed),
        "sampled": int(limiter.sample_stats.completed),
        "waiting_for_sampling_ms": int(times.waiting_for_sampling_ms),
        "waiting_for_inserts_ms": int(times.waiting_for_inserts_ms),
    }


def in_background(port: int, run_dir: Path, stop: threading.Event) -> None:
    """Reports every 2 s until `stop`, on a daemon thread."""
    report = Report(port, MetricsWriter(run_dir, "stream"))
    threading.Thread(target=heartbeat, args=(report, stop.wait), name="report", daemon=True).start()
