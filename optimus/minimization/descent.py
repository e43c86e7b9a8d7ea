"""One descent of `minimize`: learned steps, under the safeguard or bare, until a rule ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from optimus.minimization import proposal
from optimus.minimization import safeguard as safeguard_lib
from optimus.minimization.objective import EvaluationLimit, Objective, Point
from optimus.model import registry
from optimus.weights import LearnedOptimizer

GRADIENT, LIMIT, STALLED, NOT_FINITE, CALLBACK = 0, 1, 2, 3, 99  # OptimizeResult.status
HOPELESS, PATIENCE = 3.0, 3  # times the promised decrease; steps in a row: see `Limits`
BACK = 0.01  # of the hop
FLAT = 4.0 * np.finfo(np.float64).eps  # of |f|


class Limits(NamedTuple):
    """When a descent ends.

    `maxiter`, `gtol` and `stop_history` are those of `minimize`. `hops`: whether a hop may follow;
    then a descent ends where L-BFGS promises less than rounding, rather than by line searches that
    find nothing, a dozen evaluations later. After a hop: `made` is the steps of the descents
    before, `lowest` the best point they have found. A descent that stays above it by more than
    three times the decrease that L-BFGS promises, three steps in a row, is given up, as is one that
    is back there but for a hundredth of the hop: most end in a worse minimum or the old one, and
    the way there need not be walked to the last digit.
    """

    maxiter: int
    gtol: float | None
    stop_history: int | None
    hops: bool = False
    made: int = 0
    lowest: Point | None = None


class Descent:
    """Where a descent is, what it remembers, and at last how it ended.

    Without `learned` it is L-BFGS, and `guarded` must be true.

    Attributes:
      point: where it is, complete. best: the lowest point evaluated, complete, once it has ended.
      pairs: its L-BFGS memory, for the descent that hops from here.
      values: f after each step, of the first point before them. history: lowest f so far, likewise.
      steps, accepted: steps made, and those of them that were learned ones.
      status, message: of its end, as `minimize` reports them.
    """

    point: Point
    best: Point

    def __init__(
        self,
        objective: Objective,
        learned: LearnedOptimizer | None,
        guarded: bool,
        pairs: Iterable[tuple[np.ndarray, np.ndarray]] = (),
    ) -> None:
        self.objective, self.guarded = objective, guarded
        self.steps = self.accepted = 0
        self.values: list[float] = []
        self.history: list[float] = []
        self.status, self.message = LIMIT, "not begun"
        self._learned, self.pairs = learned, safeguard_lib.new_pairs(pairs)
        self._state: Any  # of the learned rule
        self._origin: np.ndarray | float = 0.0  # where the learned rule's coordinates begin
        self._hopeless = 0  # steps in a row
        self._refusals = self._rest = 0  # learned steps refused in a row; steps without one to come

    def run(self, z: np.ndarray, limits: Limits, notify: Callable[[Point], None]) -> None:
        """From z, float64 [N], until a rule ends it; needs one evaluation left.

        `notify` gets the point after each step, and ends the descent by StopIteration; other
        exceptions of the user's pass through.
        """
        self._start(z)
        status: int | None = NOT_FINITE
        message = "f or its gradient is not finite at x0"
        if self.point.finite:
            status, message = self._verdict(limits._replace(stop_history=None))
        while status is None:
            if limits.made + self.steps == limits.maxiter:
                status, message = LIMIT, f"maxiter = {limits.maxiter} steps made"
                break
            before = self.steps
            try:
                status, message = self._step()
            except EvaluationLimit:
                status, message = LIMIT, f"maxfev = {self.objective.maxfev} evaluations made"
                break
            if status is None:
                status, message = self._verdict(limits)
            try:
                if self.steps > before:
                    notify(self.point)
            except StopIteration:
                if status is None:
                    status, message = CALLBACK, "callback raised StopIteration"
        self.status, self.message = status, message
        best = self.objective.best
        self.best = self.objective.complete(self.point if best is None else best)

    def _start(self, z: np.ndarray) -> None:
        """Evaluates the first point."""
        self.objective.best = None
        self.point = self._first = self.objective.complete(self.objective.value(z))
        if self._learned is not None:
            # A rule that does not see x itself takes the same steps from any origin; from the
            # start, float32 loses nothing of what they add up to.
            if not proposal.sees_position(self._learned.config):
                self._origin = self.point.z
            rule = registry.rule_of(self._learned.config)
            self._state = rule.init_state(self._learned.config, self._seen())
        self._record()

    def _seen(self) -> np.ndarray:
        """The point as the learned rule is told it."""
        return _float32(self.point.z - self._origin)

    def _step(self) -> tuple[int | None, str]:
        """One step; a status if it could not be made or led to a non-finite point."""
        if self._learned is None:
            return self._guarded(None)
        propose = proposal.compiled(self._learned)
        step, state = propose(self._state, self._seen(), _float32(self.point.gradient))
        change = np.asarray(step, np.float64)
        usable = bool(np.isfinite(change).all())
        if usable:  # else it is spoilt, and the old one better than none
            self._state = state
        if self.guarded:
            return self._guarded(change)
        if not usable:
            return NOT_FINITE, "the learned step is not finite"
        self.point = self.objective.complete(self.objective.value(self.point.z + change))
        self.accepted += 1
        self._record()
        self.steps += 1
        if not self.point.finite:
            return NOT_FINITE, f"f or its gradient is not finite after step {self.steps}"
        return None, ""

    def _guarded(self, change: np.ndarray | None) -> tuple[int | None, str]:
        recent = self.values[-safeguard_lib.HISTORY :]
        tried, memory = change is not None and self._rest == 0, tuple(self.pairs)
        found, taken = safeguard_lib.guarded_step(
            self.objective, self.pairs, recent, self.point, change if tried else None
        )
        self._refusals = 0 if taken else self._refusals + tried
        self._rest = safeguard_lib.rest(self._refusals) if tried else max(self._rest - 1, 0)
        if found is None:
            self.pairs.extend(memory)  # emptied as misleading, where f is flat to rounding
            return STALLED, "no decrease found: f is flat to rounding, or jac is not its gradient"
        self.point = found
        self.accepted += taken
        self._record()
        self.steps += 1
        return None, ""

    def _record(self) -> None:
        self.values.append(self.point.fun)
        best = self.objective.best
        self.history.append(self.point.fun if best is None else best.fun)

    def _verdict(self, limits: Limits) -> tuple[int | None, str]:
        """Whether the point just reached ends the descent."""
        largest = float(np.max(np.abs(self.objective.unscaled(self.point))))
        if largest <= (limits.gtol or 0.0):
            return GRADIENT, f"largest entry of the gradient is {largest:.3g}"
        values, length = self.history if self.guarded else self.values, limits.stop_history
        if length is not None and len(values) > length:
            # Differences to the newest value: the mean of large values would round.
            excess = np.asarray(values[-1 - length : -1]) - values[-1]
            if np.mean(excess) <= 0.0:
                return STALLED, f"f is not below the mean of its last {length} values"
        ended = self._not_worth_it(limits) if self.guarded and limits.hops else None
        return (None, "") if ended is None else (STALLED, ended)

    def _not_worth_it(self, limits: Limits) -> str | None:
        """Why a hop is a better use of the evaluations left than going on, if it is."""
        promise = safeguard_lib.promise(self.pairs, self.point)
        if promise < FLAT * abs(self.point.fun):
            return "no decrease to be expected: f is flat to rounding"
        if limits.lowest is None or self.point.fun < limits.lowest.fun:
            return None
        hop = np.linalg.norm(self._first.z - limits.lowest.z)
        if np.linalg.norm(self.point.z - limits.lowest.z) < BACK * hop:
            return "back at the lowest point known"
        hopeless = HOPELESS * promise < self.point.fun - limits.lowest.fun
        self._hopeless = self._hopeless + 1 if hopeless else 0
        return "no lower minimum to be expected" if self._hopeless == PATIENCE else None


def _float32(vector: np.ndarray | None) -> np.ndarray:
    with np.errstate(over="ignore"):  # to infinity, which the step reports as NaN
        return np.asarray(vector, np.float32)
