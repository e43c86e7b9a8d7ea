"""Taking part in a run: heartbeats to the coordinator until told to stop. Knows no Courier."""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Protocol

from launch.pool.registry import TIME_TO_LIVE
from optimus.errors import UserError
from optimus.wire import PROTOCOL, Heartbeat, Member, Stopped, View, from_fields
from optimus.wire import Refused as Refused

INTERVAL = TIME_TO_LIVE / 5  # s between heartbeats
PATIENCE = 600.0  # s without a coordinator after which a member gives up


class Coordinator(Protocol):
    """The coordinator, near or far."""

    def heartbeat(self, message: Heartbeat) -> View:
        """See `Registry.heartbeat`; may raise whatever its carrier raises."""


class HeadLost(UserError, RuntimeError):
    """The coordinator has not answered for long; the message is one line."""


@dataclass(eq=False)
class Membership:
    """Keeps members registered from one thread of the caller.

    Args:
      coordinator: where heartbeats go.
      config_hash: of this process's configuration.
      members: what to register; give each a new `incarnation`.
      changed: called with the sorted worker addresses of this process's first actor whenever they
        change; None for workers.
      run_id: of the run that they belong to.

    Attributes:
      indices: incarnation -> index, as the coordinator gave them.
    """

    coordinator: Coordinator
    config_hash: str
    members: list[Member]
    changed: Callable[[list[str]], None] | None = None
    run_id: str = ""
    indices: dict[str, int] = field(default_factory=dict, init=False)
    _have: str = field(default="", init=False)
    _mine: list[str] = field(default_factory=list, init=False)

    def heartbeat(self, leaving: bool = False) -> View:
        """One heartbeat; raises `Refused`, or what the carrier raises."""
        fields = [asdict(member) for member in self.members]
        message = Heartbeat(PROTOCOL, self.config_hash, fields, self._have, leaving, self.run_id)
        view = self.coordinator.heartbeat(message)
        if view.refused:
            raise Refused(f"the coordinator refuses this process: {view.refused}")
        self.indices.update(view.indices)
        if not view.current:
            self._have = view.version
            if self.changed is not None and not leaving:
                self._take(view)
        return view

    def _take(self, view: View) -> None:
        members = [from_fields(Member, fields) for fields in view.members]
        workers = [member.address for member in members if member.role == "worker"]
        actors = [member.incarnation for member in members if member.role == "actor"]
        mine = share(workers, actors, self.members[0].incarnation)
        if not view.settled:  # a young coordinator has not heard of everybody yet: drop nobody
            mine = sorted({*mine, *self._mine})
        if mine != self._mine:
            self._mine = mine
            assert self.changed is not None
            self.changed(mine)

    def run(self, wait: Callable[[float], bool], patience: float = PATIENCE) -> bool:
        """Sends heartbeats until `wait(seconds)` says stop (False) or the run is over (True).

        Raises:
          Refused, HeadLost.
        """
        last = time.monotonic()
        while True:
            try:
                if self.heartbeat().stopping:
                    return True
                last = time.monotonic()
            except (Refused, Stopped):
                raise
            except Exception as error:  # the coordinator may be starting again
                if time.monotonic() - last > patience:
                    raise HeadLost(f"no coordinator for {patience:.0f} s: {error}") from None
            # A list that is not settled yet changes soon.
            if wait(INTERVAL):
                return False

    def leave(self) -> None:
        """Says goodbye, if the coordinator still answers."""
        with contextlib.suppress(Exception):  # nobody there to tell, which is as well
            self.heartbeat(leaving=True)


def in_background(membership: Membership, stop: threading.Event, failed: list[str]) -> None:
    """`Membership.run` on a thread; when it ends the run or fails, sets `stop` and says why."""

    def target() -> None:
        try:
            with contextlib.suppress(Stopped):
                membership.run(stop.wait)
        except Exception as error:  # the thread's owner raises it
            failed.append(f"{type(error).__name__}: {error}")
        stop.set()

    threading.Thread(target=target, name="membership", daemon=True).start()


def new_incarnation() -> str:
    """Names one life of one member."""
    return uuid.uuid4().hex[:12]


def share(workers: Iterable[str], actors: Iterable[str], me: str) -> list[str]:
    """The workers of actor `me`; [] when it is not among the actors.

    A pure function of the two lists, so nobody hands out leases that could be lost. Round-robin
    over sorted lists keeps shares within one of each other; rendezvous hashing, which moves fewer
    workers when the list changes, kept only 91 to 94 % of them busy. While actors have seen
    different lists, two of them may call one worker: it answers "busy". With more actors than
    workers everybody still gets one: worker k mod (number of workers).

    Args:
      workers: addresses.
      actors: what identifies each actor.
      me: one of them.
    """
    have, ranked = sorted(set(workers)), sorted(set(actors))
    if me not in ranked or not have:
        return []
    mine = ranked.index(me)
    return have[mine :: len(ranked)] or [have[mine % len(have)]]
