"""Where a thread's time goes: everything is charged once, what is going on included."""

from __future__ import annotations

import pytest

from optimus.rundir.metrics_time import TimeIn


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_second_is_charged_to_one_activity() -> None:
    clock = Clock()
    spent = TimeIn("weights", clock)
    clock.now += 2.0
    assert spent.record() == {"weights": 2.0}, "the wait under way counts"
    clock.now += 1.0
    spent.enter("optimizer")
    clock.now += 0.5
    spent.enter("losses")
    spent.enter("losses")
    clock.now += 4.0
    spent.enter("weights")
    clock.now += 0.25
    assert spent.record() == {"losses": 4.0, "optimizer": 0.5, "weights": 3.25}
    assert sum(spent.record().values()) == pytest.approx(clock.now - 100.0)


def test_a_clock_that_goes_back_charges_nothing() -> None:
    clock = Clock()
    spent = TimeIn("weights", clock)
    clock.now -= 50.0
    spent.enter("stream")
    clock.now += 1.0
    assert spent.record() == {"stream": 1.0, "weights": 0.0}
