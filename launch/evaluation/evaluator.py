"""The evaluator: a role that judges each new checkpoint and moves `BEST`.

It talks to nobody: it reads the run directory and writes `eval.jsonl`, `checkpoints/BEST` and its
own metrics. When checkpoints come faster than it can judge them it takes the newest and says which
ones it skipped. Killed at any moment it goes on where it was: what counts is in `eval.jsonl`, and a
checkpoint that has killed it twice is written down as failed.

At the end of a run `wait_until_judged` gives it time for the last checkpoint.
"""

import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch import alongside
from launch.evaluation import records
from launch.evaluation.suites import Plan, evaluate
from optimus import weights
from optimus.config import TrainConfig
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter, heartbeat, tail
from optimus.wire import Stopped

POLL = 1.0  # s between looks at the directory
ATTEMPTS = 2  # of one checkpoint, when the process dies while evaluating it
LAST = 600.0  # s that the end of a run waits at most for the last checkpoint to be judged
SILENCE = 60.0  # s without a record after which the evaluator counts as dead: restarts take less


def run(
    config: TrainConfig, run_dir: Path, stop: threading.Event, plan: Plan | None = None
) -> None:
    """Judges checkpoints until `stop`; the one under way is then left, and taken again next time.

    Never raises for a bad checkpoint: that is a record with an "error".

    Args:
      config: the run's configuration.
      run_dir: where it lives.
      stop: ends it.
      plan: what is evaluated; None: the default.
    """
    evaluator = Evaluator(config, run_dir, stop, plan or Plan())
    # Whoever stops it may not have the patience to let it end: being stopped is no death.
    threading.Thread(target=lambda: (stop.wait(), evaluator.leave()), daemon=True).start()
    try:
        with alongside(heartbeat, evaluator):
            while not stop.is_set():
                if not evaluator.step():
                    stop.wait(POLL)
    finally:
        evaluator.close()


def wait_until_judged(
    config: TrainConfig,
    run_dir: Path,
    step: int,
    stop: threading.Event,
    limit: float = LAST,
    silence: float = SILENCE,
) -> bool:
    """Waits until the checkpoint of `step` is judged; False when there is no hope of it.

    Args:
      config: the run's configuration.
      run_dir: where it lives.
      step: the last one.
      stop: ends the wait.
      limit: s it takes at most.
      silence: s, see `SILENCE`.
    """
    protocol = Plan().protocol(config)
    began = heard = time.monotonic()
    path, size = run_dir / "metrics" / "evaluator-0.jsonl", -1
    last = run_dir / "checkpoints" / str(step)
    while True:
        found = records.evaluations(run_dir, protocol)
        if any(r["step"] == step and records.is_of(r, last) for r in found):
            return True
        now, before = time.monotonic(), size
        size = path.stat().st_size if path.exists() else -1
        heard = now if size != before else heard
        if now - began > limit or now - heard > silence or stop.wait(0.5):
            return False


@dataclass(eq=False)
class Evaluator:
    """One life of the role.

    Args:
      config: the run's configuration. run_dir: where it lives. stop: ends an evaluation.
      plan: what is evaluated.
    """

    config: TrainConfig
    run_dir: Path
    stop: threading.Event
    plan: Plan

    def __post_init__(self) -> None:
        self._doing = ""
        self._protocol = self.plan.protocol(self.config)
        self._folder = self.run_dir / "checkpoints"
        self._metrics = MetricsWriter(self.run_dir, "evaluator")
        self._busy = 0.0
        self._done = 0
        self._began: float | None = None  # of the evaluation under way
        self._under_way: dict[str, Any] = {}  # its step and sha256
        self._lock = threading.Lock()  # of these two

    def step(self) -> bool:
        """Judges the newest checkpoint that has not been; False when there is none or on stop."""
        mine = records.evaluations(self.run_dir, self._protocol)
        known = max(records.judged(self.run_dir, mine), default=-1)
        self._move_best()  # a life before this one may have ended before it could
        newest = checkpoint.latest_step(self._folder) or 0  # what is past it is of a course left
        waiting = [step for step in checkpoint.steps(self._folder) if known < step <= newest]
        if not waiting:
            return False
        *skipped, step = waiting
        self._began = time.monotonic()
        try:
            records.append(self.run_dir, {"step": step, **self._judge(step), "skipped": skipped})
        except Stopped:
            return False
        except OSError as error:  # the disk is full: again, when it is not
            self.leave()
            self._metrics.write("problem", text=str(error))
            return False
        finally:
            self._end()
        self._done += 1
        self._move_best()
        self.report()
        return True

    def _judge(self, step: int) -> dict[str, Any]:
        """A record; raises `Stopped` also when the checkpoint went while it was being opened."""
        path = self._folder / str(step)
        sha256 = checkpoint.sha256_of(path)
        of = {"step": step, "sha256": sha256}
        if self._attempts(of) >= ATTEMPTS:
            return self._failed(f"the evaluator died {ATTEMPTS} times on it", sha256)
        self._metrics.write("begin", **of)
        with self._lock:
            self._under_way = of
        try:
            checkpoint.hold(self._folder, step)
            model = weights.load(path)
            found = evaluate(model, self.config, self.plan, self.stop, self._show)
            return {"sha256": model.card["sha256"], **found}
        except Stopped:
            self.leave()
            raise
        except Exception as error:  # one bad checkpoint must not end the role
            if isinstance(error, checkpoint.CheckpointError) and error.__cause__ is not None:
                raise OSError(str(error)) from None  # the disk refused to hold it: it is not bad
            if not path.is_dir():  # pruned before it was held: there is a newer one
                self.leave()
                raise Stopped from None
            return self._failed(f"{type(error).__name__}: {error}".splitlines()[0], sha256)

    def _failed(self, error: str, sha256: str | None) -> dict[str, Any]:
        about = {"time": round(time.time(), 3), "sha256": sha256, "protocol": self._protocol}
        return {**about, "error": error, "score": math.inf}

    def leave(self) -> None:
        """Writes down that the evaluation under way, if any, was abandoned on purpose."""
        with self._lock:
            under_way, self._under_way = self._under_way, {}
            if under_way:
                self._metrics.write("left", **under_way)

    def _end(self) -> None:
        with self._lock:
            if self._began is not None:
                self._busy += time.monotonic() - self._began
            self._began, self._under_way = None, {}
            self._doing = ""

    def _attempts(self, of: dict[str, Any]) -> int:
        path = self.run_dir / "metrics" / "evaluator-0.jsonl"
        mine = [r.get("event") for r in tail(path) if of.items() <= r.items()]
        return mine.count("begin") - mine.count("left")

    def _show(self, doing: str) -> None:
        self._doing = doing

    def _move_best(self) -> None:
        try:
            records.move_best(self.run_dir, self._protocol)
        except checkpoint.CheckpointError as error:
            self._metrics.write("problem", text=str(error))

    def report(self) -> None:
        """Writes one metrics record; `busy_seconds` has what is under way in it."""
        with self._lock:
            busy = self._busy + (time.monotonic() - self._began if self._began is not None else 0.0)
        done = {"evaluated": self._done, "busy_seconds": round(busy, 3)}
        self._metrics.write("alive", **done, doing=self._doing)

    def close(self) -> None:
        """Closes its metrics file."""
        self._metrics.close()
