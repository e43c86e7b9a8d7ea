"""Where requests go: 400 fake workers on a clock of the test's own; no process, no thread."""

from __future__ import annotations

import heapq
import random
from concurrent.futures import Future

import numpy as np
import pytest

from launch.pool.dispatch import Dispatcher, Rules, Task, Worker
from optimus.wire import LossReply, LossRequest, LossUnavailable, NoWorkers


class World:
    """Fake workers: `behave(address, request_id, now)` -> (seconds, outcome) of each call."""

    def __init__(self, workers: int, behave, rules: Rules | None = None) -> None:
        self.now, self.behave = 0.0, behave
        self.pool = Dispatcher(rules or Rules(), 0.0, seed=1)
        self.pool.set_workers([f"w{k:03d}:1" for k in range(workers)], 0.0)
        self.calls: list[tuple[float, int, Worker, Task, str]] = []
        self.begun: list[tuple[str, int]] = []
        self.busy = 0.0

    def submit(self, request_id: int) -> Future[LossReply]:
        future: Future[LossReply] = Future()
        request = LossRequest(request_id, 60.0, "sum", "h", 5, b"", np.zeros(1))
        self.pool.submit(Task(request, future), self.now)
        return future

    def run(self, until: float) -> None:
        while self.now < until:
            for worker, task in self.pool.starts(self.now):
                self.begun.append((worker.address, task.request.request_id))
                seconds, outcome = self.behave(worker.address, task.request.request_id, self.now)
                self.busy += seconds
                end = (self.now + seconds, len(self.begun), worker, task, outcome)
                heapq.heappush(self.calls, end)
            step = self.now + self.pool.wake_after(self.now)
            self.now = min(until, step, self.calls[0][0] if self.calls else step)
            while self.calls and self.calls[0][0] <= self.now:
                _, _, worker, task, outcome = heapq.heappop(self.calls)
                reply = LossReply(task.request.request_id, "ok") if outcome == "ok" else None
                self.pool.ended(worker, outcome, reply, f"{worker.address}: {outcome}", self.now)
            self.pool.starved(self.now)


def test_four_hundred_workers_are_kept_busy() -> None:
    """1.2 x 400 requests are always open; a lost second try costs what it costs."""
    noise = random.Random(3)
    world = World(400, lambda *_: (4.0 * noise.uniform(0.95, 1.05), "ok"))
    count = 0

    def again(_: object) -> None:
        nonlocal count
        count += 1
        world.submit(count).add_done_callback(again)

    for _ in range(480):
        again(None)
    world.run(80.0)
    assert world.pool.open == 480
    assert world.pool.counts["ok"] >= 0.97 * 400 * 80 / 4
    assert world.pool.counts["hedged"] == 0


def test_a_dead_worker_delays_only_its_own_request() -> None:
    def behave(address: str, request: int, now: float) -> tuple[float, str]:
        return (2.0, "lost") if address == "w003:1" else (4.0, "ok")

    world = World(10, behave)
    done: dict[int, float] = {}
    for k in range(10):
        world.submit(k).add_done_callback(lambda _, k=k: done.setdefault(k, world.now))
    world.run(60.0)
    assert sorted(done) == list(range(10))
    late = [k for k, t in done.items() if t > 4.0]
    assert len(late) == 1 and done[late[0]] <= 8.0 + 1e-6  # delayed by one evaluation


def test_a_hung_worker_is_hedged_after_a_learned_while() -> None:
    def behave(address: str, request: int, now: float) -> tuple[float, str]:
        return (60.0, "timeout") if address == "w003:1" and now > 20 else (4.0, "ok")

    world = World(100, behave)
    sent: dict[int, float] = {}
    done: dict[int, float] = {}
    for k in range(1200):  # 80 % of what they can do
        sent[k] = world.now
        world.submit(k).add_done_callback(lambda _, k=k: done.setdefault(k, world.now))
        world.run(0.05 * (k + 1))
    world.run(150.0)
    assert len(done) == 1200
    assert max(done[k] - sent[k] for k in done) < 4 * (1 + 1.5) + 0.5  # delayed by < 2 x normal
    counts = world.pool.counts
    assert counts["hedged"] == counts["timeout"] == counts["superfluous"] >= 1
    assert world.pool.open == 0 and world.pool._hedges == 0


@pytest.mark.parametrize("outcome", ["error", "lost", "timeout"])
def test_a_poison_request_is_given_up_and_the_pool_goes_on(outcome: str) -> None:
    world = World(8, lambda a, r, now: (0.5, outcome if r == 7 else "ok"))
    futures = [world.submit(k) for k in range(40)]
    world.run(30.0)
    with pytest.raises(LossUnavailable, match=r"loss request 7 \(sum, episode 5\) abandoned after"):
        futures[7].result(timeout=0)
    assert all(f.result(timeout=0).status == "ok" for k, f in enumerate(futures) if k != 7)
    tried = [address for address, request in world.begun if request == 7]
    assert len(set(tried)) == len(tried) == (2 if outcome == "error" else 3)  # others each time


def test_busy_and_unreachable_workers_do_not_count_against_a_request() -> None:
    world = World(4, lambda a, r, now: (0.01, "unreachable" if now < 5 else "ok"))
    future = world.submit(1)
    world.run(40.0)
    assert future.result(timeout=0).status == "ok"
    assert 5 < world.pool.counts["unreachable"] < 60  # the pauses grow: nobody is hammered


def test_nobody_answers_for_long() -> None:
    world = World(2, lambda a, r, now: (0.01, "unreachable"), Rules(patience=20.0))
    future = world.submit(1)
    world.run(19.0)
    assert not future.done()
    world.run(25.0)
    with pytest.raises(NoWorkers, match=r"no loss worker has answered for 2\d s \(2 known\)"):
        future.result(timeout=0)
    assert world.pool.open == 0
    world.behave = lambda *_: (0.1, "ok")
    again = world.submit(2)
    world.run(60.0)
    assert again.result(timeout=0).status == "ok"  # and when they are back, all is well


def test_workers_come_and_go() -> None:
    world = World(0, lambda *_: (1.0, "ok"))
    futures = [world.submit(k) for k in range(6)]
    world.run(3.0)
    assert not world.begun
    world.pool.set_workers(["a:1", "b:1"], world.now)
    world.run(3.5)
    world.pool.set_workers(["b:1", "c:1"], world.now)  # a's call is still waited for
    world.run(10.0)
    assert all(future.done() for future in futures)
    assert [address for address, _ in world.begun].count("a:1") == 1
    assert {address for address, _ in world.begun} == {"a:1", "b:1", "c:1"}


def test_hedges_are_bounded_when_everything_slows_down() -> None:
    world = World(20, lambda a, r, now: (1.0 if now < 20 else 10.0, "ok"))
    for k in range(400 + 100):
        world.submit(k)
    world.run(200.0)
    assert world.pool.open == 0
    assert world.pool.counts["hedged"] <= 60
