"""What a stranger may send to the coordinator: answered, counted by reason, and without effect."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from launch.pool import Registry
from launch.program.addresses import Roster
from launch.program.coordinator import Coordinator
from learner.identity import Identity
from optimus.rundir import metrics
from optimus.wire import (
    PROTOCOL,
    Answer,
    Call,
    Head,
    Heartbeat,
    Member,
    View,
    codec,
    decode,
    encode,
    pack,
)
from tests.workers import fakes

ODD: list[Any] = [
    *(None, True, -2, 2**31, 2**64, 2**70, 0.5, float("nan"), "", "7", "\u00e9\u202e", "x" * 10**5),
    *(b"", b"\xff" * 9, [], [1], [[]], {}, {"a": [1]}, "host:", ":1", "host:99999", "a b:1"),
    *("host:1\n", "h\u00f6st:1", "host:\u0663", "host:-1", "host:1e3"),
]
WORKER = asdict(Member("worker", "host:1", "w"))
ACTOR = asdict(Member("actor", "", "a", 0))
BEAT = {"protocol": PROTOCOL, "config_hash": "config", "members": [WORKER], "run_id": "run"}


def registry(**changes: Any) -> Registry:
    values = {"config_hash": "config", "actors": 1, "elastic": False, "run_id": "run"}
    return Registry(**{**values, **changes})


def sent(there: Registry, **changes: Any) -> View:
    """The answer to a heartbeat of any content, over bytes."""
    return decode(View, there.receive(pack({**BEAT, **changes})))


@pytest.mark.parametrize("member", [WORKER, ACTOR], ids=["worker", "actor"])
@pytest.mark.parametrize("field", ["role", "address", "incarnation", "index"])
def test_no_member_of_odd_fields_gets_in_or_raises(member: dict[str, Any], field: str) -> None:
    for odd in ODD:
        there = registry()
        for refused in (
            sent(there, members=[{**member, field: odd}]),
            there.heartbeat(Heartbeat(PROTOCOL, "config", [{**member, field: odd}], run_id="run")),
        ):
            assert refused.refused or refused.indices or there.view().members, odd
            assert len(refused.refused) < 1000 and "\n" not in refused.refused
        if refused.refused:
            assert there.refused == 2 and there.view().members == [], odd
        for known in there.view().members:  # what got in is whole
            assert known["address"].isascii() and len(known["incarnation"]) <= 300
            assert -1 <= known["index"] < 20_000


@pytest.mark.parametrize(
    "field", ["protocol", "config_hash", "members", "have", "leaving", "run_id"]
)
def test_no_heartbeat_of_odd_fields_raises(field: str) -> None:
    there = registry()
    for odd in ODD:
        view = sent(there, **{field: odd})
        direct = there.heartbeat(Heartbeat(**{**BEAT, field: odd}))
        assert view.refused == direct.refused and len(view.refused) < 1000
        harmless = (field, odd) in [("leaving", True), ("members", [])]
        assert harmless or (field == "have" and isinstance(odd, str)) or view.refused, odd
    for nothing in (None, 5, "heartbeat", object(), WORKER):
        assert there.heartbeat(nothing).refused  # type: ignore[arg-type]


def test_reasons_are_told_apart() -> None:
    there = registry()
    sent(there, protocol=2)
    sent(there, config_hash="other")
    sent(there, run_id="other")
    sent(there, run_id="")
    sent(there, members=[{**WORKER, "index": "7"}, {**WORKER, "address": [1]}])
    sent(there, members=[{**ACTOR, "index": 1}])
    assert there.reasons == {
        "protocol": 1,
        "configuration": 1,
        "foreign_run": 2,
        "malformed": 1,
        "too_many": 1,
    }
    assert there.refused == 6 and there.view().members == []


def test_what_is_refused_has_no_effect_at_all_and_steers_no_terminal() -> None:
    there = registry()
    assert sent(there, members=[WORKER, {**ACTOR, "index": 5}]).refused
    assert there.view().members == []
    said = sent(there, config_hash="\x1b[2J\nb").refused
    assert said.isprintable() and "b, this run's is config" in said


def test_a_protocol_before_is_told_to_install_the_same_version() -> None:
    """Its heartbeats have no run id yet."""
    old = {key: value for key, value in BEAT.items() if key != "run_id"} | {"protocol": 2}
    view = decode(View, registry().receive(pack(old)))
    assert view.refused == "protocol 2, this run's is 3; install the same version"


def test_who_leaves_another_run_takes_nobody_along() -> None:
    there = registry()
    sent(there)
    assert (
        "of run 'theirs', this is run 'run'" in sent(there, leaving=True, run_id="theirs").refused
    )
    assert [member["incarnation"] for member in there.view().members] == ["w"]


def test_known_members_stay_however_full_the_list() -> None:
    there = registry(elastic=True)
    many = [asdict(Member("worker", f"host:{k}", f"w{k}")) for k in range(15_000)]
    for first in (0, 5000, 10_000, 0, 5000, 10_000):
        assert not sent(there, members=many[first : first + 5000]).refused
    assert (
        "more than 20000"
        in sent(there, members=[{**WORKER, "incarnation": f"x{k}"} for k in range(6000)]).refused
    )


# --------------------------------------------------------------------- the coordinator's methods


@pytest.fixture
def head(tmp_path: Path) -> Coordinator:
    Identity(tmp_path).raise_epoch()
    roster = Roster(["h:1"], ["h:2"], ["h:3"], [])
    made = Coordinator(fakes.analytic(), tmp_path, roster, lambda seconds: True)
    yield made
    made._metrics.close()


def finish(head: Coordinator, epoch: Any, run_id: str, protocol: int = PROTOCOL) -> Answer:
    return decode(Answer, head.finish(encode(Call(protocol, run_id, [epoch]))))


def test_a_newcomer_learns_the_run(head: Coordinator, tmp_path: Path) -> None:
    found = decode(Head, head.head())
    assert (found.protocol, found.learner, found.stream) == (PROTOCOL, "h:2", "h:3")
    assert found.run_id == Identity(tmp_path).run_id


def test_only_the_runs_own_learner_of_today_finishes_it(head: Coordinator, tmp_path: Path) -> None:
    own = Identity(tmp_path).run_id
    stopping = lambda: head._registry.stopping  # noqa: E731
    for epoch, run_id, protocol, words in (
        (1, "another", PROTOCOL, "of run 'another', this is run"),
        (1, "", PROTOCOL, "of run '', this is run"),
        (0, own, PROTOCOL, "of epoch 0, this is 1"),
        (2, own, PROTOCOL, "of epoch 2, this is 1"),
        (2**70, own, PROTOCOL, "of epoch"),
        ("1", own, PROTOCOL, "epoch: got str, want int"),
        (1, own, 2, "install the same version"),
    ):
        answer = finish(head, epoch, run_id, protocol)
        assert answer.status == "refused" and words in answer.message and not stopping()
    decode(Answer, head.finish())  # as protocol 2 called it
    assert not stopping()
    head._report()
    (record,) = metrics.read(tmp_path / "metrics" / "coordinator-0.jsonl")
    expected = {"foreign_run": 2, "foreign_epoch": 3, "malformed": 2, "protocol": 1}
    assert (record["refused"], record["reasons"]) == (8, expected)
    assert finish(head, 1, own).status == "ok" and stopping()


@pytest.mark.parametrize("name", Coordinator.exposed)
def test_no_argument_raises(head: Coordinator, name: str) -> None:
    method = getattr(head, name)
    for arguments in ((), *((odd,) for odd in ODD), *((odd, odd) for odd in ODD), (codec.MAGIC,)):
        assert isinstance(method(*arguments), bytes)
    assert isinstance(method(bytes(2**24 + 1)), bytes) and isinstance(method(b"", a=1), bytes)
    if name != "head":
        assert b"524293 bytes; the limit is 524288" in method(bytes(2**19 + 5))
    if name != "head":
        assert head._registry.refused + head.refused.total() > 2 * len(ODD)
    assert not head._registry.stopping and head._registry.view().members == []
