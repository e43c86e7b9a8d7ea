"""A `Status` as Prometheus metric families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launch.monitoring.status import ACTIVE, Status
from launch.monitoring.status_parts import number, numbers
from optimus.rundir import metrics
from optimus.rundir.histogram import BOUNDS, total

Plain = tuple[str, str, float | None]


def families(status: Status | None, run_dir: Path) -> Iterator[Any]:
    """All families of one scrape; what is not known is left out: alerts on it stay quiet."""
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )

    running = status is not None and status.state in ACTIVE
    yield GaugeMetricFamily("optimus_up", "1 while the run is running or lost", value=running)
    if status is None:
        return
    about = {"name": status.name, "task": status.task, "state": status.state}
    info = {**about, "launch": status.launch or ""}
    yield InfoMetricFamily("optimus_run", "What the run is", value=info)
    for name, words, value in _gauges(status):
        if value is not None:
            yield GaugeMetricFamily(f"optimus_{name}", words, value=value)
    for name, words, value in _counters(status):
        if value is not None:
            yield CounterMetricFamily(f"optimus_{name}", words, value=value)
    for name, words, label, values in _labelled_gauges(status):
        gauge = GaugeMetricFamily(f"optimus_{name}", words, labels=[label])
        for key, value in sorted(values.items()):
            gauge.add_metric([key], value)
        yield gauge
    for name, words, label, values in _labelled_counters(status, run_dir):
        counter = CounterMetricFamily(f"optimus_{name}", words, labels=[label])
        for key, value in sorted(values.items()):
            counter.add_metric([key], value)
        yield counter
    latency = total(record.get("latency") for record in _newest(run_dir, "actor"))
    if latency is not None:
        cumulative, seen = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), latency["counts"]):
            seen += count
            cumulative.append((bound, seen))
        words = "Calls of physics workers as the actors see them"
        yield HistogramMetricFamily(
            "optimus_rpc_latency_seconds", words, buckets=cumulative, sum_value=latency["sum"]
        )


def _gauges(s: Status) -> Iterator[Plain]:
    yield "step", "Updates done", s.step
    yield "updates_wanted", "Updates of the whole run", s.updates
    yield "updates_per_second", "Updates a second, over 60 s", s.updates_per_second
    yield "eta_seconds", "Time left at that rate", s.eta_seconds
    yield "meta_loss", "Meta-loss of the newest update", s.meta_loss
    yield "last_record_age_seconds", "Since any role wrote a record", s.last_record_age
    yield "checkpoint_step", "Step of the newest checkpoint", s.checkpoint_step
    yield "checkpoint_age_seconds", "Age of the newest checkpoint", s.checkpoint_age
    yield "stale", "1 when no checkpoint came for longer than the limit", s.stale
    yield "staleness_updates", "Largest age of a sample, over 60 s", s.staleness_max
    yield "learner_waiting_ratio", "Share of its time the learner waits", s.waiting_share
    yield "workers_quarantined", "Physics workers left alone after failures", s.quarantined
    yield (
        "evaluation_score",
        "Newest score on held-out tasks",
        (s.scores[-1]["score"] if s.scores else None),
    )
    yield "best_score", "Score of the checkpoint that BEST names", s.best_score
    yield "best_step", "Step of the checkpoint that BEST names", s.best_step


def _counters(s: Status) -> Iterator[Plain]:
    yield "evaluations", "Loss evaluations in accepted samples", s.evaluations
    yield "samples_failed", "Samples of lanes whose loss failed", s.failed
    yield "metrics_records_lost", "Records that a full disk refused", s.records_lost
    yield "evaluations_failed", "Checkpoints that could not be evaluated", s.evaluations_failed


Labelled = tuple[str, str, str, Mapping[str, float]]


def _labelled_gauges(s: Status) -> Iterator[Labelled]:
    alive = {role: count["alive"] for role, count in s.roles.items()}
    wanted = {role: count["total"] for role, count in s.roles.items()}
    yield "role_alive", "Processes with a record within 10 s", "role", alive
    yield "role_wanted", "Processes there should be", "role", wanted
    shares = {role: work["share"] for role, work in s.work.items()}
    yield "role_busy_ratio", "Mean share of their time they work", "role", shares
    yield "time_ratio", "Where time goes", "part", s.time_shares


def _labelled_counters(s: Status, run_dir: Path) -> Iterator[Labelled]:
    yield "samples_refused", "Samples the learner refused", "reason", s.refused
    yield "replies", "Replies of physics workers", "status", s.replies
    yield "rpc", "What became of calls of physics workers", "outcome", s.calls
    waits: dict[str, float] = {}
    for record in _newest(run_dir, "actor"):
        for name, seconds in numbers(record, "time_in").items():
            waits[name] = waits.get(name, 0.0) + max(0.0, seconds)
    yield "actor_seconds", "Time of actors, by what they did", "part", waits
    stream = next(iter(_newest(run_dir, "stream")), {})
    sides = {side: number(stream, f"waiting_for_{side}_ms") for side in ("sampling", "inserts")}
    found = {side: ms / 1000.0 for side, ms in sides.items() if ms is not None}
    yield "stream_waiting_seconds", "Time the sample queue waited, by for whom", "side", found


def _newest(run_dir: Path, role: str) -> Iterator[dict[str, Any]]:
    """The last record of every process of a role."""
    for path in sorted(run_dir.glob(f"metrics/{role}-*.jsonl")):
        try:
            records = metrics.tail(path, 8192)
        except OSError:
            continue
        yield from records[-1:]
