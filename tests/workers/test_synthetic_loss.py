"""The served synthetic quadratic: what it sleeps."""

from __future__ import annotations

import numpy as np
import pytest

from optimus.config import ServedTask
from optimus.wire import LossReply, LossRequest, decode, encode
from workers import synthetic_loss


@pytest.mark.parametrize("stagger", [False, True])
def test_only_the_first_evaluation_is_staggered(
    monkeypatch: pytest.MonkeyPatch, stagger: bool
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(synthetic_loss.time, "sleep", slept.append)
    task = ServedTask(dim=2, sleep=4.0, stagger=stagger)
    firsts = []
    for k in range(8):
        server = synthetic_loss.SyntheticLossServer(task)
        for _ in range(2):
            window = encode(synthetic_loss.SyntheticWindow(seed=0))
            request = LossRequest(k, 9.0, "synthetic", "synthetic-2", 3, window, np.zeros(2))
            assert decode(LossReply, server.evaluate(encode(request))).status == "ok"
        first, second = slept[-2:]
        firsts.append(first)
        assert second == 4.0 <= first < 8.0
    assert len(set(firsts)) == (8 if stagger else 1)
