"""Who takes part: a list with a time to live, measured by the receiver's clock. No servers here."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict

from optimus.wire import ROLES, Beat, CodecError, Member, View, decode, encode
from optimus.wire.membership import PROTOCOL

TIME_TO_LIVE = 10.0  # s after the last beat
_MOST_MEMBERS = 20_000


class Registry:
    """Members by incarnation. A restarted registry is empty and fills within one time to live.

    Args:
      config_hash: members of another configuration are refused.
      actors: indices 0 ... actors - 1 belong to the program's own actors.
      elastic: whether further actors may join (an asynchronous run).
      ttl: s a member stays without a beat.
      clock: s, monotonic.
    """

    def __init__(
        self,
        config_hash: str,
        actors: int,
        elastic: bool,
        ttl: float = TIME_TO_LIVE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hash, self._actors, self._elastic = config_hash, actors, elastic
        self._ttl, self._clock = ttl, clock
        self._life, self._changes = uuid.uuid4().hex[:8], 0
        self._seen: dict[str, tuple[Member, float]] = {}
        self._lock = threading.Lock()
        self._began = clock()
        self.stopping = False
        self.refused = 0

    def receive(self, data: bytes) -> bytes:
        """`beat` over bytes; what cannot be read is refused and counted like the rest."""
        try:
            return encode(self.beat(decode(Beat, data)))
        except CodecError as error:
            with self._lock:
                return encode(self._refuse(f"malformed: {error}"))

    def beat(self, beat: Beat) -> View:
        """Takes a beat in; see `View`. Never raises for what a sender may have done wrong."""
        with self._lock:
            try:
                members = [Member(**fields) for fields in beat.members]
            except TypeError as error:
                return self._refuse(f"not a list of members: {error}")
            problem = self._problem(beat, members)
            if problem:
                return self._refuse(problem)
            now, before = self._clock(), self._names()
            self._forget(now)
            if beat.leaving:
                for member in members:
                    self._seen.pop(member.incarnation, None)
                members = []
            indices = {}
            for member in members:
                if member.role == "actor":
                    index = self._index(member)
                    if index is None:
                        return self._refuse(
                            f"all {self._actors} actors of this synchronous run are there; only "
                            "workers can join it"
                        )
                    indices[member.incarnation] = index
                    member = Member(member.role, member.address, member.incarnation, index)
                self._supersede(member)
                self._seen[member.incarnation] = (member, now)
            self._changes += self._names() != before
            return self._view(beat.have, now, indices)

    def view(self, have: str = "") -> View:
        """The list as it is now."""
        with self._lock:
            now, before = self._clock(), self._names()
            self._forget(now)
            self._changes += self._names() != before
            return self._view(have, now, {})

    def _names(self) -> list[str]:
        return sorted(self._seen)

    def _problem(self, beat: Beat, members: list[Member]) -> str | None:
        if beat.protocol != PROTOCOL:
            return f"protocol {beat.protocol}, this run's is {PROTOCOL}; install the same version"
        if beat.config_hash != self._hash:
            return (
                f"configuration {beat.config_hash}, this run's is {self._hash}; start with the "
                "config.json of this run"
            )
        for member in members:
            if member.role not in ROLES or not isinstance(member.incarnation, str):
                return f"not a member: {asdict(member)}"
            if member.role == "worker" and ":" not in str(member.address):
                return f"a worker at {member.address!r}; want host:port"
        if len(self._seen) + len(members) > _MOST_MEMBERS:
            return f"more than {_MOST_MEMBERS} members"
        return None

    def _refuse(self, why: str) -> View:
        self.refused += 1
        return View(why, self.stopping, False, "", True, [], {})

    def _forget(self, now: float) -> None:
        for name, (_, seen) in list(self._seen.items()):
            if now - seen > self._ttl:
                del self._seen[name]

    def _index(self, member: Member) -> int | None:
        """The index an actor has, asked for, or gets; None when there is none left."""
        known = self._seen.get(member.incarnation)
        if known is not None:
            return known[0].index
        if member.index >= 0:
            return member.index
        if not self._elastic:
            return None
        taken = {other.index for other, _ in self._seen.values() if other.role == "actor"}
        return next(k for k in range(self._actors, _MOST_MEMBERS * 2) if k not in taken)

    def _supersede(self, member: Member) -> None:
        """A new life at the same address, or of the same actor, replaces the old one at once."""
        for name, (other, _) in list(self._seen.items()):
            same = other.address == member.address if member.address else (
                other.role == "actor" and other.index == member.index
            )  # fmt: skip
            if name != member.incarnation and other.role == member.role and same:
                del self._seen[name]

    def _view(self, have: str, now: float, indices: dict[str, int]) -> View:
        version = f"{self._life}.{self._changes}"
        settled = now - self._began > self._ttl
        current = settled and have == version
        members = [] if current else [asdict(self._seen[name][0]) for name in self._names()]
        return View("", self.stopping, settled, version, current, members, indices)

