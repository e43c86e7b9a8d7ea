"""What a worker may answer: taken when it is an answer, else an error of that worker."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from launch.pool.workers import read_reply
from optimus.wire import LossReply, LossRequest, encode, pack, unpack

REQUEST = LossRequest(3, 5.0, "sum", "-", 7, b"", np.arange(4.0))
GOOD = LossReply(3, "ok", 1.5, np.arange(4.0), 0.1)


def test_an_answer_is_taken() -> None:
    outcome, reply, cause = read_reply(REQUEST, encode(GOOD))
    assert (outcome, cause) == ("ok", "") and reply is not None and reply.loss == 1.5
    nonfinite = dataclasses.replace(GOOD, status="nonfinite", loss=float("nan"))
    assert read_reply(REQUEST, encode(nonfinite))[0] == "ok"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"request_id": 4}, "reply to request 4, asked 3"),
        ({"request_id": -1}, "reply to request -1"),
        ({"gradient": np.zeros(3)}, "gradient of shape"),
        ({"gradient": np.zeros(4, np.float32)}, "float32 gradient"),
        ({"gradient": np.zeros(4, np.int64)}, "int64 gradient"),
        ({"gradient": np.full(4, np.nan)}, "not finite"),
        ({"gradient": np.full(4, np.inf)}, "not finite"),
        ({"loss": float("nan")}, "not finite"),
        ({"loss": float("inf")}, "not finite"),
        ({"seconds": float("nan")}, "took nan s"),
        ({"seconds": float("inf")}, "took inf s"),
        ({"seconds": -1.0}, "took -1.0 s"),
        ({"status": "great"}, "malformed reply"),
        ({"loss": "1"}, "malformed reply"),
        ({"more": 1}, "malformed reply"),
    ],
)
def test_an_odd_reply_is_an_error(changes: dict[str, Any], words: str) -> None:
    outcome, reply, cause = read_reply(REQUEST, pack({**unpack(encode(GOOD)), **changes}))
    assert (outcome, reply) == ("error", None) and words in cause and len(cause) < 300


@pytest.mark.parametrize("data", [None, 5, 10**12, "text", [], b"", b"OPT1", [b"a"], 0.5])
def test_what_is_no_message_is_an_error(data: Any) -> None:
    outcome, reply, cause = read_reply(REQUEST, data)
    assert (outcome, reply) == ("error", None) and cause.startswith("malformed reply")
