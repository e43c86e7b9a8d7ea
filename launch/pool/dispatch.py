"""Where each loss request goes: plain state and rules, told the time; no threads, no network.

Liveness is learned from the calls themselves. A worker that fails is left alone for a growing,
jittered while; its request goes elsewhere. A request that takes much longer than recent ones did is
sent to a second worker, and the first answer counts (hedging). A request that fails on several
workers is abandoned, so that it cannot take the whole pool down with it.
"""

import bisect
import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from optimus.wire import LossReply, LossRequest, LossUnavailable, NoWorkers

# How a try can end. "unreachable" (never connected) and "busy" do not count against the request;
# "lost" means that the connection broke during the call.
Outcome = Literal["ok", "busy", "expired", "unreachable", "lost", "timeout", "error"]


@dataclass(frozen=True)
class Rules:
    """Limits of the dispatcher; seconds unless said otherwise."""

    failures: int = 3  # failed tries after which a request is abandoned
    errors: int = 2  # workers that must answer "error" before it is
    hedge_factor: float = 1.5  # a second try after this times the 95th percentile of recent ones
    hedge_least: float = 0.05
    hedge_share: float = 0.25  # of workers that second tries may occupy
    recent: int = 256  # latencies remembered
    pause: float = 0.1  # first pause of a failed worker; it doubles
    longest_pause: float = 30.0
    patience: float = 120.0  # without any answer from anybody, all requests end with `NoWorkers`


@dataclass(eq=False)
class Task:
    """A request under way."""

    request: LossRequest
    future: Future[LossReply]
    running: int = 0  # tries in flight
    hedged: bool = False  # sent a second time, once per request
    hedging: bool = False  # two of its tries are in flight for that
    failures: int = 0
    tried: set[str] = field(default_factory=set)  # workers it failed on
    refused_by: set[str] = field(default_factory=set)  # workers that answered "error"
    cause: str = "never tried"
    queued: bool = True


@dataclass(eq=False)
class Worker:
    """What is known of one worker; one request in flight at most."""

    address: str
    task: Task | None = None
    since: float = 0.0  # start of its request
    failures: int = 0  # in a row
    ready_at: float = 0.0
    known: bool = True  # False once it has left the list; its last call is still waited for


class Dispatcher:
    """Chooses workers for loss requests. All times are s of one clock, given by the caller."""

    def __init__(self, rules: Rules, now: float, seed: int | None = None) -> None:
        self._rules = rules
        self._random = random.Random(seed)
        self.workers: dict[str, Worker] = {}
        self._queue: deque[Task] = deque()
        self._free: deque[Worker] = deque()
        self._paused: list[tuple[float, int, Worker]] = []
        self._running: deque[tuple[float, Worker, Task]] = deque()  # by start, for hedging
        self._order = itertools.count()
        self._latencies: deque[float] = deque(maxlen=rules.recent)
        self._sorted: list[float] = []
        self._hedges = 0  # second tries in flight
        self._last_answer = now
        self._last_cause = "none known"
        self.open = 0  # requests without an answer
        self.counts: Counter[str] = Counter()

    # -- requests and workers --------------------------------------------------------------------

    def submit(self, task: Task, now: float) -> None:
        """Queues a request."""
        if self.open == 0:
            self._last_answer = now  # nobody was asked anything before
        self.open += 1
        self._queue.append(task)

    def set_workers(self, addresses: Iterable[str], now: float) -> None:
        """Replaces the list. Who stays keeps its history; who goes finishes what it has."""
        wanted = set(addresses)
        for address in list(self.workers):
            if address not in wanted:
                self.workers.pop(address).known = False
        self._free = deque(worker for worker in self._free if worker.known)
        for address in sorted(wanted - set(self.workers)):
            self.workers[address] = Worker(address)
            self._free.append(self.workers[address])

    # -- what to start now -----------------------------------------------------------------------

    def starts(self, now: float) -> list[tuple[Worker, Task]]:
        """Calls to begin now, with their workers marked as occupied."""
        while self._paused and self._paused[0][0] <= now:
            worker = heapq.heappop(self._paused)[2]
            if worker.known:
                self._free.append(worker)
        begun = list(self._due_hedges(now))
        while self._queue:
            task = self._queue[0]
            if task.future.done():
                self._queue.popleft()
                continue
            found = self._take(task)
            if found is None:
                break
            self._queue.popleft()
            task.queued = False
            begun.append(self._begin(found, task, now))
        return begun

    def _begin(self, worker: Worker, task: Task, now: float) -> tuple[Worker, Task]:
        worker.task = task
        worker.since = now
        task.running += 1
        self._running.append((now, worker, task))
        self.counts["tries"] += 1
        return worker, task

    def _take(self, task: Task) -> Worker | None:
        """A free worker, one that has not failed this request if there is one."""
        worker = next((free for free in self._free if free.address not in task.tried), None)
        if worker is None and self._free and task.tried.issuperset(self.workers):
            worker = self._free[-1]  # else an untried one is only busy: wait for it
        if worker is not None:
            self._free.remove(worker)
        return worker

    def _due_hedges(self, now: float) -> Iterable[tuple[Worker, Task]]:
        after = self.hedge_after()
        while self._running:
            since, worker, task = self._running[0]
            over = worker.task is not task or worker.since != since or task.future.done()
            if over or task.hedged or task.queued:
                self._running.popleft()
                continue
            limit = max(1.0, self._rules.hedge_share * len(self.workers))
            if now - since < after or self._hedges >= limit:
                return
            task.tried.add(worker.address)
            second = self._take(task)
            if second is None or second.address in task.tried:
                if second is not None:
                    self._free.append(second)
                return
            self._running.popleft()
            task.hedged = task.hedging = True
            self._hedges += 1
            self.counts["hedged"] += 1
            yield self._begin(second, task, now)

    def hedge_after(self) -> float:
        """Seconds after which a request is sent twice; infinite until 8 latencies are known."""
        if len(self._sorted) < 8:
            return math.inf
        usual = self._sorted[int(0.95 * (len(self._sorted) - 1))]
        return max(self._rules.hedge_least, self._rules.hedge_factor * usual)

    def wake_after(self, now: float) -> float:
        """Seconds after which `starts` may have something new to say, without any event."""
        times = [1.0]
        if self._paused:
            times.append(self._paused[0][0] - now)
        if self._running and len(self._sorted) >= 8:
            due = self._running[0][0] + self.hedge_after() - now
            times.append(due if due > 0 else 0.05)  # overdue: nobody is free for it
        return max(0.001, min(times))

    # -- how calls ended -------------------------------------------------------------------------

    def ended(
        self, worker: Worker, outcome: Outcome, reply: LossReply | None, cause: str, now: float
    ) -> None:
        """A call is over.

        Args:
          worker: whose call it was.
          outcome: how it ended.
          reply: where the outcome is "ok".
          cause: one line, where it is not.
          now: s.
        """
        task, worker.task = worker.task, None
        assert task is not None
        task.running -= 1
        self.counts[outcome] += 1
        spent = now - worker.since
        if outcome in ("ok", "busy", "expired", "error"):
            self._last_answer = now
        late = task.future.done() and spent > self.hedge_after()
        if outcome == "ok" and not late:
            worker.failures = 0
        elif outcome in ("busy", "error"):
            worker.failures = min(worker.failures + (outcome == "busy"), 4)
        else:
            worker.failures += 1
        if task.hedging and task.running <= 1:
            task.hedging = False
            self._hedges -= 1
        self._release(worker, late or outcome not in ("ok", "error"), now)
        if task.future.done():
            self.counts["superfluous"] += 1
        elif outcome == "ok":
            assert reply is not None
            self._remember(spent)
            self.open -= 1
            task.future.set_result(reply)
        else:
            self._failed(task, worker.address, outcome, cause)

    def _failed(self, task: Task, address: str, outcome: Outcome, cause: str) -> None:
        if outcome != "busy":
            task.tried.add(address)
            task.cause = self._last_cause = cause
        task.failures += outcome not in ("busy", "unreachable")
        if outcome == "error":
            task.refused_by.add(address)
        everybody = len(task.refused_by) >= min(self._rules.errors, max(1, len(self.workers)))
        if task.failures >= self._rules.failures or everybody:
            if task.running == 0:
                self.counts["given_up"] += 1
                tries = f"{task.failures} failed tries; the last: {task.cause}"
                error = LossUnavailable(f"{task.request.label} abandoned after {tries}")
                self._abandon(task, error)
        elif not task.queued:
            self.counts["retried"] += 1
            task.queued = True
            self._queue.appendleft(task)

    def _release(self, worker: Worker, pause: bool, now: float) -> None:
        if not worker.known:
            return
        if not pause:
            self._free.append(worker)
            return
        rules = self._rules
        seconds = min(rules.longest_pause, rules.pause * 2.0 ** min(worker.failures - 1, 16))
        worker.ready_at = now + seconds * self._random.uniform(0.5, 1.5)
        self.counts["quarantines"] += 1
        heapq.heappush(self._paused, (worker.ready_at, next(self._order), worker))

    def _remember(self, seconds: float) -> None:
        if len(self._latencies) == self._latencies.maxlen:
            del self._sorted[bisect.bisect_left(self._sorted, self._latencies[0])]
        self._latencies.append(seconds)
        bisect.insort(self._sorted, seconds)

    def _abandon(self, task: Task, error: Exception) -> None:
        self.open -= 1
        task.future.set_exception(error)

    # -- nobody answers --------------------------------------------------------------------------

    def starved(self, now: float) -> list[Task]:
        """The tasks to end with `NoWorkers`, when nobody has answered for the whole patience."""
        silence = now - self._last_answer
        if self.open == 0 or silence <= self._rules.patience:
            return []
        known = f"{len(self.workers)} known); the last failure: {self._last_cause}"
        error = NoWorkers(f"no loss worker has answered for {silence:.0f} s ({known}")
        tasks = [*self._queue, *(task for _, _, task in self._running)]
        tasks += [w.task for w in self.workers.values() if w.task is not None]
        ended = []
        for task in tasks:
            if not task.future.done():
                self._abandon(task, error)
                ended.append(task)
        self._queue.clear()
        return ended
