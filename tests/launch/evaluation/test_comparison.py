"""The held-out tasks: a score of all of them or none."""

from __future__ import annotations

import numpy as np
import pytest

from launch import builders
from launch.adapters.local import LocalPool
from launch.evaluation.comparison import held_out, losses
from optimus.config import Evaluation, Layout, ServedTask
from optimus.wire import LossReply, LossRequest, LossUnavailable, decode, encode
from tests.workers import fakes
from workers.synthetic_loss import SyntheticLossServer

CONFIG = held_out(
    fakes.analytic(
        task=ServedTask(dim=6),
        layout=Layout(groups=2, lanes=2, workers=1),
        evaluation=Evaluation(tasks=4, steps=2),
    )
)


def of(refused: set[int], after: int = 0) -> np.ndarray:
    """Losses where the pool gives up these tasks' requests, all but the first `after`."""
    server = SyntheticLossServer(CONFIG.task)
    seen = dict.fromkeys(refused, 0)

    def evaluate(request: bytes) -> bytes:
        message = decode(LossRequest, request)
        task = message.episode
        if task in refused:
            seen[task] += 1
            if seen[task] > after:
                return encode(LossReply(message.request_id, "error", message="no such clip"))
        return server.evaluate(request)

    pool = LocalPool([evaluate])
    try:
        return losses(CONFIG, builders.initial_theta(CONFIG), pool)
    finally:
        pool.close()


def test_losses_of_all_tasks() -> None:
    found = of(set())
    assert found.shape == (4, 2) and np.isfinite(found).all()


@pytest.mark.parametrize("after", [0, 1, 2])  # at the start, and at either step
def test_no_score_without_the_tasks_that_the_pool_gave_up(after: int) -> None:
    with pytest.raises(LossUnavailable) as caught:
        of({1, 3}, after)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("evaluation: no loss for 2 of 4 held-out tasks, so there is no score")
    assert "; task 1: loss request " in line and line.endswith("error: no such clip")
