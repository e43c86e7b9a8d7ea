"""The coordinator knows the members, the head, and whether the run is over. No Courier here."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from launch.pool import Registry
from launch.program.addresses import Roster
from optimus.config import TrainConfig, config_hash, to_dict
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import Head, encode
from optimus.wire.membership import PROTOCOL

_REPORT = 5.0  # s between metrics records
_GOODBYES = 4.0  # s that members have to hear of the end: two heartbeats


class Coordinator:
    """What is served at the one address that everybody must know: all its public methods.

    Args:
      config: the run's configuration. run_dir: for metrics.
      roster: addresses of the head, as newcomers reach them.
      wait: `wait(seconds)` says whether to stop.
    """

    def __init__(
        self, config: TrainConfig, run_dir: Path, roster: Roster, wait: Callable[[float], bool]
    ) -> None:
        self._wait = wait
        self._registry = Registry(
            config_hash(config), config.processes.actors, elastic=not config.synchronous
        )
        text = json.dumps(to_dict(config))
        self._head = encode(Head(PROTOCOL, text, roster.learner[0], roster.stream[0]))
        self._metrics = MetricsWriter(run_dir, "coordinator")

    def heartbeat(self, data: bytes) -> bytes:
        """See `Registry.receive`."""
        return self._registry.receive(bytes(data))

    beat = heartbeat  # its name in protocol 1, whose members are refused in one line

    def head(self) -> bytes:
        """An encoded `Head`."""
        return self._head

    def finish(self) -> bytes:
        """The learner says that the run is over; everybody hears it at the next heartbeat."""
        self._registry.stopping = True
        return b""

    def run(self) -> None:
        """Reports until it is to stop, then lets members say goodbye for a moment."""
        while not self._wait(_REPORT):
            self._report()
        self._registry.stopping = True
        deadline = time.monotonic() + _GOODBYES
        while self._registry.view().members and time.monotonic() < deadline:
            time.sleep(0.05)
        self._report()

    def _report(self) -> None:
        members = self._registry.view().members
        roles, refused = [str(member["role"]) for member in members], self._registry.refused
        counts = {"workers": roles.count("worker"), "actors": roles.count("actor")}
        self._metrics.write("alive", **counts, refused=refused)
