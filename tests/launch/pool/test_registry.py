"""Membership: a list with a time to live, and shares as a pure function of it."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest

from launch.pool import Registry, share
from launch.pool.member import INTERVAL, HeadLost, Membership, Refused
from optimus.wire import Heartbeat, Member, View, decode, encode
from optimus.wire.membership import PROTOCOL


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(actors: int = 1, elastic: bool = True) -> tuple[Registry, Clock]:
    clock = Clock()
    return Registry("config", actors, elastic, ttl=10.0, clock=clock), clock


def heartbeat(registry: Registry, *members: Member, **changes: object) -> View:
    values = {
        "protocol": PROTOCOL,
        "config_hash": "config",
        "members": [asdict(m) for m in members],
    }
    return registry.heartbeat(Heartbeat(**{**values, **changes}))


def worker(k: int, life: str = "a") -> Member:
    return Member("worker", f"host:{k}", f"{life}{k}")


@pytest.mark.parametrize(("workers", "actors"), [(400, 7), (10, 10), (3, 5), (1, 1), (41, 2)])
def test_shares_cover_everybody_and_differ_by_at_most_one(workers: int, actors: int) -> None:
    addresses = [f"host:{k}" for k in range(workers)]
    names = [f"actor{k}" for k in range(actors)]
    random.Random(0).shuffle(addresses)
    shares = [share(addresses, names, name) for name in names]
    assert {address for part in shares for address in part} == set(addresses)
    assert all(shares)
    if workers >= actors:
        assert sum(map(len, shares)) == workers  # nobody serves two
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert share(addresses, names, "stranger") == [] and share([], names, names[0]) == []


def test_members_stay_while_they_beat_and_no_longer() -> None:
    registry, clock = make()
    heartbeat(registry, worker(1), worker(2))
    first = registry.view()
    assert len(first.members) == 2 and not first.settled
    clock.now = 8.0
    heartbeat(registry, worker(1))
    clock.now = 12.0
    seen = registry.view()
    assert [m["address"] for m in seen.members] == ["host:1"] and seen.settled
    same = heartbeat(registry, worker(1), have=seen.version)
    assert same.current and not same.members and same.version == seen.version
    assert heartbeat(registry, worker(1), leaving=True).members == []


def test_a_new_life_at_the_same_address_replaces_the_old_one() -> None:
    registry, _ = make()
    heartbeat(registry, worker(1, "old"), Member("actor", "", "x", 0))
    heartbeat(registry, worker(1, "new"), Member("actor", "", "y", 0))
    assert sorted(m["incarnation"] for m in registry.view().members) == ["new1", "y"]


def test_a_life_that_moves_leaves_its_old_place() -> None:
    registry, clock = make()
    heartbeat(registry, worker(1))
    heartbeat(registry, Member("worker", "host:9", "a1"))
    assert [m["address"] for m in registry.view().members] == ["host:9"]
    heartbeat(registry, worker(1, "new"))  # nobody is at host:1 any more, so nobody is replaced
    assert len(registry.view().members) == 2
    clock.now = 11.0
    assert registry.view().members == []


def test_only_actors_get_the_list_and_it_follows_every_change() -> None:
    """Ten thousand workers must not be sent, at each change, the list of ten thousand."""
    registry, clock = make()
    me = Member("actor", "", "me", 0)
    assert heartbeat(registry, worker(1), worker(2)).members == []
    heard = heartbeat(registry, me)
    assert [m["incarnation"] for m in heard.members] == ["a1", "a2", "me"]
    for change in (
        lambda: heartbeat(registry, worker(3)),
        lambda: heartbeat(registry, worker(3, "b")),
        lambda: heartbeat(registry, worker(1), leaving=True),
    ):
        change()
        clock.now += 1.0
        heard, before = heartbeat(registry, me, have=heard.version), heard.version
        assert heard.version != before and heard.members == registry.view().members
    assert [m["incarnation"] for m in heard.members] == ["a2", "b3", "me"]
    clock.now = 10.5  # longer ago than the first heartbeats, not than the later ones
    assert [m["incarnation"] for m in registry.view().members] == ["b3", "me"]


def test_the_registry_agrees_with_a_plain_one_on_random_histories() -> None:
    """Against the definition: who was heard within ten seconds, the newest life of a place."""
    random_ = random.Random(0)
    for _ in range(30):
        registry, clock = make(actors=3)
        seen: dict[str, tuple[Member, float]] = {}
        for _ in range(60):
            clock.now += random_.choice((0.0, 0.1, 1.0, 4.0))
            k, life = random_.randrange(6), random_.choice("abc")
            member = worker(k, life) if k < 4 else Member("actor", "", f"{life}{k}", k - 4)
            leaving = random_.random() < 0.2
            heartbeat(registry, member, leaving=leaving)
            seen = {n: (m, t) for n, (m, t) in seen.items() if clock.now - t <= 10.0}
            if leaving:
                seen.pop(member.incarnation, None)
            else:
                for name in [n for n, (m, _) in seen.items() if n[1:] == member.incarnation[1:]]:
                    del seen[name]
                seen[member.incarnation] = (member, clock.now)
            assert [m["incarnation"] for m in registry.view().members] == sorted(seen)


def test_actors_get_indices_that_nobody_has() -> None:
    registry, _ = make(actors=2)
    assert heartbeat(registry, Member("actor", "", "own", 1)).indices == {"own": 1}
    assert heartbeat(registry, Member("actor", "", "guest")).indices == {"guest": 2}
    assert heartbeat(registry, Member("actor", "", "other")).indices == {"other": 3}
    assert heartbeat(registry, Member("actor", "", "guest")).indices == {"guest": 2}
    synchronous, _ = make(actors=2, elastic=False)
    assert "only workers can join" in heartbeat(synchronous, Member("actor", "", "guest")).refused
    assert not heartbeat(synchronous, worker(1)).refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": PROTOCOL + 1}, "install the same version"),
        ({"config_hash": "other"}, "configuration other, this run's is config"),
        ({"members": [{"role": "worker"}]}, "not a list of members"),
        ({"members": [asdict(Member("king", "h:1", "a"))]}, "got 'king', want one of 'worker'"),
        ({"members": [asdict(Member("worker", "nowhere", "a"))]}, "want host:port"),
    ],
)
def test_strangers_are_refused_and_counted(changes: dict, words: str) -> None:
    registry, _ = make()
    assert words in heartbeat(registry, **changes).refused
    assert registry.refused == 1 and registry.view().members == []


def test_what_is_no_message_is_refused_and_counted() -> None:
    registry, _ = make()
    for data in (b"", b"garbage", b"OPT1\xc1", encode(worker(1)), b"OPT1" + b"\x90" * 1000):
        assert decode(View, registry.receive(data)).refused.startswith("malformed: ")
    assert registry.refused == 5


class Flaky:
    """A coordinator that is away for a while."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.away = registry, False

    def heartbeat(self, message: Heartbeat) -> View:
        if self.away:
            raise OSError("away")
        return self.registry.heartbeat(message)


def test_an_actor_keeps_its_workers_while_the_coordinator_is_away_or_young() -> None:
    registry, clock = make()
    clock.now = 100.0  # settled
    heard: list[list[str]] = []
    head = Flaky(registry)
    actor = Membership(head, "config", [Member("actor", "", "me", 0)], heard.append)
    heartbeat(registry, worker(1), worker(2))
    actor.heartbeat()
    assert heard == [["host:1", "host:2"]]
    head.away = True
    assert actor.run(lambda _: True) is False and len(heard) == 1
    head.registry, clock = make()  # restarted: it has heard of one worker so far
    head.away = False
    heartbeat(head.registry, worker(1))
    actor.heartbeat()
    assert len(heard) == 1
    clock.now = 11.0
    heartbeat(head.registry, worker(1))
    actor.heartbeat()
    assert heard[-1] == ["host:1"]  # settled: the other one is really gone


def test_a_member_gives_up_with_one_line() -> None:
    registry, _ = make()
    head = Flaky(registry)
    with pytest.raises(Refused, match="configuration other"):
        Membership(head, "other", [worker(1)]).run(lambda _: False)
    head.away = True
    with pytest.raises(HeadLost, match="no coordinator for -1 s: away"):
        Membership(head, "config", [worker(1)]).run(lambda _: False, patience=-1.0)
    head.away, registry.stopping = False, True
    assert Membership(head, "config", [worker(1)]).run(lambda _: False) is True
    assert INTERVAL < 5.0
