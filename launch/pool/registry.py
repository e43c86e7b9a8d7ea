"""The members of a run: a list with a time to live, by the receiver's clock. No servers here."""

import itertools
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from optimus.wire import ROLES, CodecError, Heartbeat, Member, View, decode, encode
from optimus.wire.membership import PROTOCOL

TIME_TO_LIVE = 10.0  # s after the last heartbeat
_MOST_MEMBERS = 20_000


class Registry:
    """Members by incarnation. A restarted registry is empty and fills within one time to live.

    A heartbeat costs time by the members it names, not by all there are; the list is made once per
    change, and only actors, who share the workers out, get it.

    Args:
      config_hash: members of another configuration are refused.
      actors: indices 0 ... actors - 1 belong to the program's own actors.
      elastic: whether further actors may join (an asynchronous run).
      ttl: s a member stays without a heartbeat.
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
        self._hash = config_hash
        self._actors = actors
        self._elastic = elastic
        self._ttl = ttl
        self._clock = clock
        self._life = uuid.uuid4().hex[:8]
        self._changes = 0
        self._seen: OrderedDict[str, tuple[Member, float]] = OrderedDict()  # longest silent first
        self._held: dict[tuple[str, str | int], str] = {}  # address or index -> incarnation
        self._listed: tuple[int, list[dict[str, Any]]] = (0, [])  # as of that change
        self._lock = threading.Lock()
        self._began = clock()
        self.stopping = False
        self.refused = 0

    def receive(self, data: bytes) -> bytes:
        """`heartbeat` over bytes; what cannot be read is refused and counted like the rest."""
        try:
            return encode(self.heartbeat(decode(Heartbeat, data)))
        except CodecError as error:
            with self._lock:
                return encode(self._refuse(f"malformed: {error}"))

    def heartbeat(self, message: Heartbeat) -> View:
        """Takes a heartbeat in; see `View`. Never raises for what a sender may have done wrong."""
        with self._lock:
            try:
                members = [Member(**fields) for fields in message.members]
            except TypeError as error:
                return self._refuse(f"not a list of members: {error}")
            problem = self._problem(message, members)
            if problem:
                return self._refuse(problem)
            now = self._clock()
            self._forget(now)
            if message.leaving:
                for member in members:
                    self._drop(member.incarnation)
                members = []
            indices = {}
            for member in members:
                if member.role == "actor":
                    index = self._index(member)
                    if index is None:
                        there = f"all {self._actors} actors of this synchronous run are there"
                        return self._refuse(f"{there}; only workers can join it")
                    indices[member.incarnation] = index
                    member = Member(member.role, member.address, member.incarnation, index)
                self._put(member, now)
            return self._view(message.have, now, indices, members_wanted=bool(indices))

    def view(self, have: str = "") -> View:
        """The list as it is now."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            return self._view(have, now, {}, members_wanted=True)

    def _problem(self, message: Heartbeat, members: list[Member]) -> str | None:
        if message.protocol != PROTOCOL:
            ours = f"this run's is {PROTOCOL}; install the same version"
            return f"protocol {message.protocol}, {ours}"
        if message.config_hash != self._hash:
            ours = f"this run's is {self._hash}; start with the config.json of this run"
            return f"configuration {message.config_hash}, {ours}"
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
        while self._seen:
            name, (_, seen) = next(iter(self._seen.items()))
            if now - seen <= self._ttl:
                return
            self._drop(name)

    def _put(self, member: Member, now: float) -> None:
        """A new life at the same address, or of the same actor, replaces the old one at once."""
        name, place = member.incarnation, _place(member)
        holder = self._held.get(place, name)
        if holder != name:
            self._drop(holder)
        known = self._seen.get(name)
        if known is not None and _place(known[0]) != place:
            self._drop(name)
        self._changes += name not in self._seen
        self._seen[name], self._held[place] = (member, now), name
        self._seen.move_to_end(name)

    def _drop(self, name: str) -> None:
        known = self._seen.pop(name, None)
        if known is not None:
            del self._held[_place(known[0])]
            self._changes += 1

    def _index(self, member: Member) -> int | None:
        """The index an actor has, asked for, or gets; None when there is none left."""
        known = self._seen.get(member.incarnation)
        if known is not None:
            return known[0].index
        if member.index >= 0:
            return member.index
        if not self._elastic:
            return None
        return next(k for k in itertools.count(self._actors) if ("actor", k) not in self._held)

    def _view(self, have: str, now: float, indices: dict[str, int], members_wanted: bool) -> View:
        version = f"{self._life}.{self._changes}"
        settled = now - self._began > self._ttl
        current = not members_wanted or (settled and have == version)
        if not current and self._listed[0] != self._changes:
            members = [asdict(self._seen[name][0]) for name in sorted(self._seen)]
            self._listed = self._changes, members
        members = [] if current else self._listed[1]
        return View("", self.stopping, settled, version, current, members, indices)


def _place(member: Member) -> tuple[str, str | int]:
    """What only one living member can have: a worker's address, an actor's number."""
    return member.role, member.address or member.index
