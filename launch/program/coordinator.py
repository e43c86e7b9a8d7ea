"""The coordinator knows the members, the head, and whether the run is over. No Courier here."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch.pool import Registry
from launch.program.addresses import Roster
from learner.identity import Identity
from optimus.config import TrainConfig, config_hash, to_dict
from optimus.rundir.metrics import MetricsWriter
from optimus.wire import PROTOCOL, Entrance, Head, Refused, encode, served

_REPORT = 5.0  # s between metrics records
_GOODBYES = 4.0  # s that members have to hear of the end: two heartbeats


class Coordinator(Entrance):
    """What is served at the one address that everybody must know.

    Args:
      config: the run's configuration. run_dir: for metrics, and whose run it is.
      roster: addresses of the head, as newcomers reach them.
      wait: `wait(seconds)` says whether to stop.
    """

    exposed = ("heartbeat", "beat", "head", "finish")

    def __init__(
        self, config: TrainConfig, run_dir: Path, roster: Roster, wait: Callable[[float], bool]
    ) -> None:
        self._wait = wait
        self._run_dir = run_dir
        super().__init__(Identity(run_dir).run_id)
        actors, elastic = config.processes.actors, not config.synchronous
        self._registry = Registry(config_hash(config), actors, elastic, run_id=self.run_id)
        self.heartbeat = self._registry.receive
        self.beat = self.heartbeat  # in protocol 1, whose members are refused in one line
        text = json.dumps(to_dict(config))
        self._head = encode(Head(PROTOCOL, text, roster.learner[0], roster.stream[0], self.run_id))
        self._metrics = MetricsWriter(run_dir, "coordinator")

    def head(self, *_: Any, **__: Any) -> bytes:
        """An encoded `Head`."""
        return self._head

    @served
    def finish(self, epoch: int) -> None:
        """The learner of this epoch says that the run is over; everybody hears it at the next
        heartbeat."""
        ours = Identity(self._run_dir).epoch
        if epoch != ours:  # of a learner that has been replaced
            raise Refused(f"of epoch {epoch!s:.40}, this is {ours}", "foreign_epoch")
        self._registry.stopping = True

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
        roles = [str(member["role"]) for member in members]
        counts = {"workers": roles.count("worker"), "actors": roles.count("actor")}
        reasons = self._registry.reasons.copy()
        reasons.update(self.refused.copy())
        self._metrics.write("alive", **counts, refused=reasons.total(), reasons=reasons)
