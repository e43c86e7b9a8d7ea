"""What `optimus actor` finds out before it begins. Joining itself: `test_faults*.py`."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from launch.cli import worker
from launch.cli.worker import Actor
from launch.program import members
from optimus.config import ConfigError
from optimus.wire import Head
from optimus.wire.membership import PROTOCOL
from tests.workers import fakes


@pytest.mark.parametrize(
    ("coordinator", "learner", "joins"),
    [
        ("10.0.0.5:20100", "localhost:20101", False),
        ("head:20100", "localhost:20101", False),
        ("localhost:20100", "localhost:20101", True),
        ("127.0.0.1:20100", "localhost:20101", True),
        ("head:20100", "head:20101", True),
    ],
)
def test_an_actor_is_not_sent_to_its_own_localhost(
    coordinator: str, learner: str, joins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    head = Head(PROTOCOL, "", learner, learner)
    monkeypatch.setattr(worker, "_joined", lambda _: (fakes.analytic(), head))
    monkeypatch.setattr(worker, "stop_on_signals", threading.Event)
    monkeypatch.setattr(members, "run_actor", lambda *arguments: ran.append(arguments))
    if joins:
        assert Actor(coordinator).run(lambda _: None) == 0
        assert ran[0][2:4] == (coordinator, learner)
        return
    with pytest.raises(ConfigError, match="start the run with --advertise") as caught:
        Actor(coordinator).run(lambda _: None)
    assert len(str(caught.value).splitlines()) == 1 and not ran
