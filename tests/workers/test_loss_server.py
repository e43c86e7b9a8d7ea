"""What a stranger may send to a loss worker: answered with status "error", never raised at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optimus.config import ServedTask
from optimus.wire import LossReply, LossRequest, codec, decode, encode, pack, unpack
from workers.synthetic_loss import SyntheticLossServer, SyntheticWindow, options_hash

TASK = ServedTask(dim=3, poison=5)
ODD: list[Any] = [
    None,
    True,
    -1,
    2**70,
    0.5,
    float("nan"),
    "",
    "\u00e9",
    "x" * 10**6,
    b"\xff",
    [],
    {},
]
GOOD = LossRequest(
    3, 5.0, "synthetic", options_hash(TASK), 7, encode(SyntheticWindow(0)), np.zeros(3)
)


def answer(server: SyntheticLossServer, *arguments: Any, **named: Any) -> LossReply:
    return decode(LossReply, server.evaluate(*arguments, **named))


@pytest.fixture
def server() -> SyntheticLossServer:
    return SyntheticLossServer(TASK)


def test_a_good_request_is_evaluated_and_a_poisoned_one_is_an_error(
    server: SyntheticLossServer,
) -> None:
    assert answer(server, encode(GOOD)).status == "ok"
    poisoned = answer(server, pack({**unpack(encode(GOOD)), "episode": 4}))
    assert (poisoned.status, poisoned.request_id) == ("error", 3)
    assert poisoned.message == "RuntimeError: episode 4 is poisoned"


def test_a_loss_that_times_out_is_an_error_and_not_a_spent_budget(
    server: SyntheticLossServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss_of(*_: Any) -> Any:
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr(server, "_loss_of", loss_of)
    reply = answer(server, encode(GOOD))
    assert reply.status == "error" and "timed out" in reply.message


@pytest.mark.parametrize("field", [*unpack(encode(GOOD))])
def test_odd_fields_are_answered(server: SyntheticLossServer, field: str) -> None:
    arrays = [np.zeros(2), np.zeros((3, 1)), np.zeros(3, np.int8), np.zeros(3, np.float32)]
    for odd in [*ODD, *arrays, np.full(3, np.nan), np.zeros(0)]:
        reply = answer(server, pack({**unpack(encode(GOOD)), field: odd}))
        assert reply.status in ("ok", "error", "nonfinite")
        if field not in ("request_id", "budget", "episode"):
            assert reply.status != "ok", odd
    assert answer(server, encode(GOOD)).status == "ok"  # and it is not busy for ever


def test_odd_calls_are_answered(server: SyntheticLossServer) -> None:
    for arguments in ((), *((odd,) for odd in ODD), (encode(GOOD), 1), (codec.MAGIC,)):
        reply = answer(server, *arguments)
        assert reply.status == "error" and reply.message.startswith("malformed request")
        assert len(reply.message) < 300
    assert answer(server, request=encode(GOOD)).status == "error"
    assert server.ping() == server.ping(1, [2], a=3) == "ok"
    assert server.statuses["error"] == len(ODD) + 4
