"""An actor's metrics: where its time went, how long calls took, who is left alone."""

from __future__ import annotations

import pathlib
import threading
import time
from concurrent.futures import Future
from typing import Any

import jax
import pytest

from optimus.model import optimizer as opt
from optimus.rundir.histogram import Histogram
from optimus.rundir.metrics import MetricsWriter, read
from optimus.wire import LossReply, LossRequest
from tests.workers import fakes
from workers import unroll as unrolls
from workers.actor import Actor

DELAY = 0.02  # s


class SlowPool(fakes.Pool):
    """Answers from another thread, a little later."""

    def submit(self, request: LossRequest) -> Future[LossReply]:
        found: Future[LossReply] = Future()
        reply = super().submit(request).result()
        threading.Timer(DELAY, found.set_result, (reply,)).start()
        return found


@pytest.mark.parametrize("served", [False, True])
def test_a_record_says_where_the_time_went(tmp_path: pathlib.Path, served: bool) -> None:
    config = fakes.served() if served else fakes.analytic()
    params = opt.init_params(config.optimizer, jax.random.PRNGKey(1))
    theta = unrolls.parameter_layout(config).flatten(params)
    latency = Histogram()
    latency.observe(0.5)
    unroll: Any
    if served:
        unroll = unrolls.PooledUnroll(config, fakes.Source(), SlowPool())
    else:
        unroll = unrolls.AnalyticUnroll(config, config.seed)
    metrics = MetricsWriter(tmp_path, "actor")
    pool_counts = {"tries": 3, "quarantined": 1}
    actor = Actor(
        config,
        0,
        lambda _: unroll,
        fakes.Parameters(config, theta),
        fakes.Stream(),
        metrics,
        lambda: dict(pool_counts),
        latency if served else None,
    )
    began = time.monotonic()
    assert actor.refresh()
    actor.collect(threading.Event())
    actor.report()
    lasted = time.monotonic() - began
    metrics.close()
    (record,) = read(tmp_path / "metrics" / "actor-0.jsonl")
    spent = record["time_in"]
    assert set(spent) == {"losses", "optimizer", "stream", "weights"}
    assert spent["optimizer"] > 0 and lasted <= sum(spent.values()) + 0.01
    assert record["pool"] == pool_counts
    if served:
        assert spent["losses"] >= DELAY
        assert record["loss_seconds"] == pytest.approx(0.25 * actor.evaluations)
        assert sum(record["latency"]["counts"]) == 1
    else:
        assert record["loss_seconds"] == 0 and "latency" not in record
