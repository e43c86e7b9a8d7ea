"""A process of loss workers, and an actor: what the program's own nodes and newcomers both run."""

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from launch import alongside, builders
from launch.pool import Rules, WorkerPool
from launch.pool.member import HeadLost, Membership, Refused, in_background, new_incarnation
from optimus.config import ServedTask, TrainConfig, config_hash
from optimus.errors import UserError
from optimus.rundir.histogram import Histogram
from optimus.rundir.metrics import MetricsWriter, heartbeat
from optimus.wire import Member, Stopped

_PATIENCE = 120.0  # s that an actor waits for a coordinator that is starting


class MemberFailed(UserError, RuntimeError):
    """A member cannot go on; the message is one line."""


def stopper(stop: threading.Event) -> threading.Event:
    """An event that is set when `stop` is, and that may be set without setting `stop`."""
    over = threading.Event()

    def follow() -> None:
        stop.wait()
        over.set()

    threading.Thread(target=follow, name="stopper", daemon=True).start()
    return over


def serve_workers(
    config: TrainConfig,
    addresses: list[str],
    coordinator: str,
    run_id: str,
    run_dir: Path | None,
    first: int,
    wait: Callable[[float], bool],
) -> None:
    """Loss workers at these addresses, registered with the coordinator, until told to stop.

    Args:
      config: the run's configuration.
      addresses: host:port each, as callers reach them.
      coordinator: host:port.
      run_id: of the run they serve; the coordinator of another one refuses them.
      run_dir: for metrics, or None.
      first: index of the first worker.
      wait: `wait(seconds)` says whether to stop.

    Raises:
      Refused, HeadLost.
    """
    from launch.adapters import courier

    # Synthetic losses report together below: hundreds of files would say nothing more.
    own = None if isinstance(config.task, ServedTask) else run_dir
    indices = range(first, first + len(addresses))
    writers = [MetricsWriter(own, "physics_worker", k) if own else None for k in indices]
    servers = [builders.make_loss_server(config, metrics) for metrics in writers]
    closers = []  # a server lives as long as what stops it
    for address, server in zip(addresses, servers):
        methods = {"evaluate": server.evaluate, "ping": server.ping}
        closers.append(courier.serve(methods, int(address.rpartition(":")[2])))
    together = MetricsWriter(run_dir, "physics_worker", first) if run_dir and not own else None
    members = [Member("worker", address, new_incarnation()) for address in addresses]
    head = courier.RemoteCoordinator(coordinator)
    membership = Membership(head, config_hash(config), members, run_id=run_id)
    reporter = SimpleNamespace(report=functools.partial(_report, servers, together))
    reporter.report()
    with alongside(heartbeat, reporter):
        membership.run(wait)
    membership.leave()  # before the servers close, so that nobody calls meanwhile
    for close in closers:
        threading.Thread(target=close, daemon=True).start()  # it may wait for a call to end


def _report(servers: list[Any], together: MetricsWriter | None) -> None:
    """A record of each server, or one for all synthetic losses of a process."""
    if together is None:
        for server in servers:
            server.report()
        return
    together.write(
        "alive",
        workers=len(servers),
        statuses=sum((Counter(server.statuses) for server in servers), Counter()),
        evaluations=sum(server.evaluations for server in servers),
        loss_seconds=round(sum(server.seconds for server in servers), 4),
        busy_seconds=round(sum(server.busy_seconds() for server in servers), 4),
    )


def run_actor(
    config: TrainConfig,
    index: int,
    coordinator: str,
    learner: str,
    stream: str,
    run_id: str,
    run_dir: Path | None,
    stop: threading.Event,
) -> None:
    """One actor until `stop` or the end of the run.

    Args:
      config: the run's configuration.
      index: which actor, or -1 to be given one.
      coordinator, learner, stream: host:port.
      run_id: of the run; the head of another one refuses the actor.
      run_dir: for metrics, or None.
      stop: ends it.

    Raises:
      MemberFailed, Refused, and what an `Actor` raises.
    """
    from launch.adapters import courier, reverb

    over = stopper(stop)
    pool: WorkerPool | None = None
    calls: Histogram | None = None
    if config.served:
        calls = Histogram()
        patience = max(120.0, 3 * config.call_timeout)
        connect = courier.connector(config.call_timeout)
        pool = WorkerPool(connect, Rules(patience=patience), latency=calls)
    members = [Member("actor", "", new_incarnation(), index)]
    changed = pool.set_workers if pool else lambda _: None
    head = courier.RemoteCoordinator(coordinator, over)
    membership = Membership(head, config_hash(config), members, changed, run_id)
    failed: list[str] = []
    try:
        given = _first_heartbeat(membership, over, index)
        in_background(membership, over, failed)
        source = courier.RemoteLearner(learner, run_id, over)
        writer = reverb.StreamWriter(stream, builders.sample_limit(config))
        counts = pool.counts if pool else dict
        actor = builders.make_actor(config, given, run_dir, source, writer, pool, counts, calls)
        threading.Thread(target=heartbeat, args=(actor, over.wait), daemon=True).start()
        actor.run(over)
    except Stopped:
        pass  # while starting
    finally:
        membership.leave()
        if pool is not None:
            pool.close()
        over.set()
    if failed and not stop.is_set():
        raise MemberFailed(failed[0])


def _first_heartbeat(membership: Membership, over: threading.Event, index: int) -> int:
    """Registers and returns the actor's index; waits for a coordinator that is starting."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            membership.heartbeat()
            return next(iter(membership.indices.values()), index)
        except (Refused, Stopped):
            raise
        except Exception as error:
            if time.monotonic() > deadline:
                raise HeadLost(f"no coordinator for {_PATIENCE:.0f} s: {error}") from None
            if over.wait(0.2):
                raise Stopped from None
