"""One descent of `minimize`: learned steps, under the safeguard or bare, until a rule ends it."""

import enum
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from optimus.minimization import proposal, safeguard
from optimus.minimization.objective import EvaluationLimit, Objective, Point
from optimus.weights import LearnedOptimizer


class Outcome(enum.IntEnum):
    """How a descent, or a run, has ended: `OptimizeResult.status`."""

    GRADIENT = 0  # is within gtol
    LIMIT = 1  # of steps or evaluations
    STALLED = 2  # the stopping rule, or no decrease was found
    NOT_FINITE = 3  # f or its gradient
    CALLBACK = 99  # raised StopIteration


class End(NamedTuple):
    """An outcome, and the sentence that says why."""

    outcome: Outcome
    message: str


class Limits(NamedTuple):
    """When a descent ends: `maxiter`, `gtol` and `stop_history` of `minimize`.

    `made` is how many of the `maxiter` steps were made before it.
    """

    maxiter: int
    gtol: float | None
    stop_history: int | None
    made: int = 0


Notify = Callable[[Point], None]  # is told of each step
Abandoned = Callable[["Descent"], str | None]  # why a descent is not worth going on with


class Descent:
    """Where a descent is, what it remembers, and at last how it ended.

    Without `learned` it is L-BFGS, and `guarded` must be true.

    Attributes:
      first, point: where it began and where it is, complete.
      best: the lowest point evaluated, complete, once it has ended.
      pairs: its L-BFGS memory, for the descent that starts from here.
      values: f after each step, of the first point before them. history: lowest f so far, likewise.
      steps, accepted: steps made, and those of them that were learned ones.
      end: how and why, once it has.
    """

    first: Point
    point: Point
    best: Point

    def __init__(
        self,
        objective: Objective,
        learned: LearnedOptimizer | None,
        guarded: bool,
        pairs: Iterable[tuple[np.ndarray, np.ndarray]] = (),
    ) -> None:
        self.objective = objective
        self.guarded = guarded
        self.pairs = safeguard.new_pairs(pairs)
        self.steps = 0
        self.accepted = 0
        self.values: list[float] = []
        self.history: list[float] = []
        self.end = End(Outcome.LIMIT, "not begun")
        self._learned = learned
        self._state: Any  # of the learned rule
        self._origin: np.ndarray | float = 0.0  # where the learned rule's coordinates begin
        self._refusals = 0  # learned steps refused in a row
        self._rest = 0  # steps without a learned one to come

    def run(
        self, z: np.ndarray, limits: Limits, notify: Notify, abandoned: Abandoned | None = None
    ) -> None:
        """Descends until a rule ends it.

        Args:
          z: where it begins, float64 [N]; needs one evaluation left.
          limits: on steps and progress.
          notify: gets the point after each step, and ends the descent by StopIteration; other
            exceptions of the user's pass through.
          abandoned: asked at each point that no other rule ends it at; says why this one does.
        """
        self._start(z)
        end: End | None = End(Outcome.NOT_FINITE, "f or its gradient is not finite at x0")
        if self.point.finite:
            end = self._verdict(limits._replace(stop_history=None), abandoned)
        while end is None:
            if limits.made + self.steps == limits.maxiter:
                end = End(Outcome.LIMIT, f"maxiter = {limits.maxiter} steps made")
                break
            before = self.steps
            try:
                end = self._step()
            except EvaluationLimit:
                end = End(Outcome.LIMIT, f"maxfev = {self.objective.maxfev} evaluations made")
                break
            if end is None:
                end = self._verdict(limits, abandoned)
            try:
                if self.steps > before:
                    notify(self.point)
            except StopIteration:
                end = end or End(Outcome.CALLBACK, "callback raised StopIteration")
        self.end = end
        best = self.objective.best
        self.best = self.objective.complete(self.point if best is None else best)

    def _start(self, z: np.ndarray) -> None:
        """Evaluates the first point."""
        self.objective.best = None
        self.point = self.first = self.objective.complete(self.objective.value(z))
        if self._learned is not None:
            # A rule that does not see x itself takes the same steps from any origin; from the
            # start, float32 loses nothing of what they add up to.
            if not proposal.sees_position(self._learned.config):
                self._origin = self.point.z
            seen = self._seen()
            self._state = proposal.start_of(self._learned.config, seen.size)(seen)
        self._record()

    def _seen(self) -> np.ndarray:
        """The point as the learned rule is told it."""
        return _float32(self.point.z - self._origin)

    def _step(self) -> End | None:
        """One step; the end if it could not be made or led to a non-finite point."""
        if self._learned is None:
            return self._guarded_step(None)
        propose = proposal.compiled(self._learned, self.point.z.size)
        step, state = propose(self._state, self._seen(), _float32(self.point.gradient))
        change = np.asarray(step, np.float64)
        usable = bool(np.isfinite(change).all())
        if usable:  # else it is spoilt, and the old one better than none
            self._state = state
        if self.guarded:
            return self._guarded_step(change)
        if not usable:
            return End(Outcome.NOT_FINITE, "the learned step is not finite")
        self._move(self.objective.complete(self.objective.value(self.point.z + change)), True)
        if not self.point.finite:
            message = f"f or its gradient is not finite after step {self.steps}"
            return End(Outcome.NOT_FINITE, message)
        return None

    def _guarded_step(self, change: np.ndarray | None) -> End | None:
        recent = self.values[-safeguard.HISTORY :]
        tried, memory = change is not None and self._rest == 0, tuple(self.pairs)
        step = change if tried else None
        found, taken = safeguard.guarded_step(self.objective, self.pairs, recent, self.point, step)
        self._refusals = 0 if taken else self._refusals + tried
        self._rest = safeguard.rest(self._refusals) if tried else max(self._rest - 1, 0)
        if found is None:
            self.pairs.extend(memory)  # emptied as misleading, where f is flat to rounding
            message = "no decrease found: f is flat to rounding, or jac is not its gradient"
            return End(Outcome.STALLED, message)
        self._move(found, taken)
        return None

    def _move(self, point: Point, learned: bool) -> None:
        self.point = point
        self.steps += 1
        self.accepted += learned
        self._record()

    def _record(self) -> None:
        self.values.append(self.point.fun)
        best = self.objective.best
        self.history.append(self.point.fun if best is None else best.fun)

    def _verdict(self, limits: Limits, abandoned: Abandoned | None) -> End | None:
        """The end, if the point just reached is one."""
        largest = float(np.max(np.abs(self.objective.unscaled(self.point))))
        if largest <= (limits.gtol or 0.0):
            return End(Outcome.GRADIENT, f"largest entry of the gradient is {largest:.3g}")
        values, length = self.history if self.guarded else self.values, limits.stop_history
        if length is not None and len(values) > length:
            # Differences to the newest value: the mean of large values would round.
            excess = np.asarray(values[-1 - length : -1]) - values[-1]
            if np.mean(excess) <= 0.0:
                return End(Outcome.STALLED, f"f is not below the mean of its last {length} values")
        reason = abandoned(self) if abandoned is not None else None
        return None if reason is None else End(Outcome.STALLED, reason)


def _float32(vector: np.ndarray | None) -> np.ndarray:
    with np.errstate(over="ignore"):  # to infinity, which the step reports as NaN
        return np.asarray(vector, np.float32)
