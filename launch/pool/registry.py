"""The members of a run: a list with a time to live, by the receiver's clock. No servers here."""

import itertools
import threading
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from optimus import wire
from optimus.errors import printable
from optimus.wire import PROTOCOL, Heartbeat, Member, Refused, View

TIME_TO_LIVE = 10.0  # s after the last heartbeat
_MOST_MEMBERS = 20_000
_LONGEST = 300  # characters of an address or an incarnation


@dataclass(eq=False)
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
      run_id: members of another run are refused.

    Attributes:
      stopping: the run is over. reasons: heartbeats refused so far, by reason.
    """

    config_hash: str
    actors: int
    elastic: bool
    ttl: float = TIME_TO_LIVE
    clock: Callable[[], float] = time.monotonic
    run_id: str = ""

    def __post_init__(self) -> None:
        self._life = uuid.uuid4().hex[:8]
        self._changes = 0
        self._seen: OrderedDict[str, tuple[Member, float]] = OrderedDict()  # longest silent first
        self._held: dict[tuple[str, str | int], str] = {}  # address or index -> incarnation
        self._listed: tuple[int, list[dict[str, Any]]] = (0, [])  # as of that change
        self._lock = threading.Lock()
        self._began = self.clock()
        self.stopping = False
        self.reasons: Counter[str] = Counter()

    @property
    def refused(self) -> int:
        """How many heartbeats were refused so far."""
        return self.reasons.total()

    def receive(self, *arguments: Any, **named: Any) -> bytes:
        """`heartbeat` over bytes; what cannot be read is refused and counted like the rest."""
        try:
            message = wire.received(Heartbeat, arguments, named)
            return wire.encode(self.heartbeat(message))
        except wire.CodecError as error:
            with self._lock:
                return wire.encode(self._refuse(Refused(f"malformed: {error}")))

    def heartbeat(self, message: Heartbeat) -> View:
        """Takes a heartbeat in; see `View`. Never raises for what a sender may have done wrong."""
        with self._lock:
            try:
                return self._heartbeat(message)
            except Refused as refusal:
                return self._refuse(refusal)

    def _heartbeat(self, message: Heartbeat) -> View:
        members = self._checked(message)
        now = self.clock()
        self._forget(now)
        if message.leaving:
            for member in members:
                self._drop(member.incarnation)
            members = []
        indices = {}
        for member in members:
            if member.role == "actor":
                index = self._index(member)
                indices[member.incarnation] = index
                member = Member(member.role, member.address, member.incarnation, index)
            self._put(member, now)
        return self._view(message.have, now, indices, members_wanted=bool(indices))

    def view(self, have: str = "") -> View:
        """The list as it is now."""
        with self._lock:
            now = self.clock()
            self._forget(now)
            return self._view(have, now, {}, members_wanted=True)

    def _checked(self, message: Heartbeat) -> list[Member]:
        """The members of a heartbeat; raises `Refused`."""
        try:
            message = wire.from_fields(Heartbeat, vars(message))
        except (wire.CodecError, TypeError) as error:
            raise Refused(f"malformed: {error}") from None
        if message.config_hash != self.config_hash and message.protocol == PROTOCOL:
            ours = f"this run's is {self.config_hash}; start with the config.json of this run"
            raise Refused(f"configuration {message.config_hash:.40}, {ours}", "configuration")
        wire.require_own(message.protocol, message.run_id, self.run_id)
        try:
            members = [wire.from_fields(Member, fields) for fields in message.members]
        except wire.CodecError as error:
            raise Refused(f"not a list of members: {error}") from None
        for member in members:
            problem = _problem(member)
            if problem:
                raise Refused(f"not a member: {problem}")
            own = self.elastic or 0 <= member.index < self.actors
            if member.role == "actor" and not own:
                there = f"all {self.actors} actors of this synchronous run are there"
                raise Refused(f"{there}; only workers can join it", "too_many")
        new = {member.incarnation for member in members} - self._seen.keys()
        if len(self._seen) + len(new) > _MOST_MEMBERS:
            raise Refused(f"more than {_MOST_MEMBERS} members", "too_many")
        return members

    def _refuse(self, refusal: Refused) -> View:
        self.reasons[refusal.reason] += 1
        return View(printable(str(refusal), ""), self.stopping, False, "", True, [], {})

    def _forget(self, now: float) -> None:
        while self._seen:
            name, (_, seen) = next(iter(self._seen.items()))
            if now - seen <= self.ttl:
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

    def _index(self, member: Member) -> int:
        """The index an actor has, asked for, or gets."""
        known = self._seen.get(member.incarnation)
        if known is not None and known[0].role == "actor":
            return known[0].index
        if member.index >= 0:
            return member.index
        return next(k for k in itertools.count(self.actors) if ("actor", k) not in self._held)

    def _view(self, have: str, now: float, indices: dict[str, int], members_wanted: bool) -> View:
        version = f"{self._life}.{self._changes}"
        settled = now - self._began > self.ttl
        current = not members_wanted or (settled and have == version)
        if not current and self._listed[0] != self._changes:
            members = [asdict(self._seen[name][0]) for name in sorted(self._seen)]
            self._listed = self._changes, members
        members = [] if current else self._listed[1]
        return View("", self.stopping, settled, version, current, members, indices)


def _problem(member: Member) -> str | None:
    """Why these fields, whose types are right, are no member's, or None."""
    name, address = member.incarnation, member.address
    host, _, port = address.rpartition(":")
    readable = address.isascii() and address.isprintable() and " " not in address
    numbered = host and port.isdecimal() and len(port) <= 5 and int(port) < 2**16
    if member.role == "worker" and not (readable and numbered and len(address) <= _LONGEST):
        return f"a worker at {address!r:.80}; want host:port"
    if member.role == "actor" and address:
        return f"an actor at {address!r:.80}; want no address"
    if not 0 < len(name) <= _LONGEST or not -1 <= member.index < _MOST_MEMBERS:
        return f"incarnation {name!r:.80}, index {member.index}"
    return None


def _place(member: Member) -> tuple[str, str | int]:
    """What only one living member can have: a worker's address, an actor's number."""
    return member.role, member.address or member.index
