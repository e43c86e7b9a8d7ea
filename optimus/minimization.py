"""`minimize`: a learned optimizer behind the door of `scipy.optimize.minimize`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from optimus import learned_step, minimization_arguments, rules
from optimus import safeguard as safeguard_lib
from optimus.objective import EvaluationLimit, Objective, Point
from optimus.weights import LearnedOptimizer

GRADIENT, LIMIT, STALLED, NOT_FINITE, CALLBACK = 0, 1, 2, 3, 99  # OptimizeResult.status


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    *,
    args: tuple[Any, ...] = (),
    jac: Callable[..., Any] | bool | None = None,
    model: LearnedOptimizer | str | os.PathLike[str] = learned_step.DEFAULT_MODEL,
    maxiter: int = 200,
    maxfev: int | None = None,
    callback: Callable[..., Any] | None = None,
    x_scale: Any = 1.0,
    safeguard: str = "lbfgs",
    bounds: None = None,
    gtol: float | None = None,
    stop_history: int | None = 10,
) -> OptimizeResult:
    """Minimises a function of several variables with a learned optimizer.

        result = optimus.minimize(lambda x: jnp.sum((x - 1.0) ** 2), x0)         # a JAX function
        result = optimus.minimize(fun, x0, jac=gradient)                         # any function

    Args:
      fun: fun(x, *args) -> value. With `jac` it gets a float64 NumPy array it may write into.
        Without, JAX differentiates and compiles it (once per call, or once for all calls if it is
        jitted), so it must be pure; it gets JAX's default float, float32 unless `jax_enable_x64`
        is set, and no answer is better than that precision.
      x0: start, scalar or [N] with N >= 1; converted to float64.
      args: further arguments of `fun` and `jac`.
      jac: jac(x, *args) -> gradient [N]; or True if `fun` returns (value, gradient); or None if
        `fun` can be traced by JAX. Finite differences are not offered.
      model: what `load` returns, or a name or path for it; of any kind.
      maxiter: steps at most. A step costs one evaluation where the learned one is taken.
      maxfev: evaluations of `fun` at most, never exceeded; None means no limit.
      callback: called after each step, as in SciPy: callback(xk), or callback(intermediate_result)
        if that is the name of its only parameter. StopIteration ends the run.
      x_scale: typical size of a change of each variable, scalar or [N], positive. The optimizer
        works on x / x_scale, where its first steps are about 0.1 long.
      safeguard: "lbfgs" replaces learned steps that fail a decrease test (module
        `optimus.safeguard`); "none" is the method of the paper.
      bounds: not supported.
      gtol: stop when no entry of the gradient is larger; None: only when all are 0.
      stop_history: the paper's stopping rule, stop when f(x_k) is not below the mean of the last
        so many values (its beta = 1, eps = 0: any shift of f leaves it unchanged). Under the
        safeguard the rule reads the best values so far, so that it means "no progress in so many
        steps". None turns it off.

    Returns:
      scipy.optimize.OptimizeResult with `x`, the best point evaluated, float64 [N], and `fun` and
      `jac` there; `nit`, `nfev`, `njev`; `accepted_share`, the share of steps that were learned
      ones, whole or halved (NaN if nit is 0); `history` [nit + 1], the best value after each step;
      and `status`, `success`, `message`:

        0   the gradient is within gtol                          success
        1   maxiter or maxfev reached
        2   stopping rule, or no decrease in any direction tried success if f(x0) was improved on
        3   f or its gradient is not finite at x0; or, without safeguard, at a later point
        99  the callback raised StopIteration

      Non-finite values under the safeguard are steps that failed.

    Raises:
      ValueError: unusable arguments, or `fun` or the gradient changes its shape.
      TypeError: `fun` cannot be traced and no `jac` is given, or values are no real numbers.
      WeightsError: no such model.
      Whatever `fun`, `jac` or `callback` raise, unchanged; since CPython 3.11 those of `fun` and
      `jac` carry a note with the evaluation and x.
    """
    start = minimization_arguments.start(x0)
    minimization_arguments.check(jac, maxiter, maxfev, safeguard, bounds, gtol, stop_history)
    if not isinstance(args, tuple):
        args = (args,)  # as SciPy does
    learned = learned_step.resolve(model)
    learned_step.check_size(learned.config, start.size)
    scale = minimization_arguments.scale(x_scale, start.size)
    objective = Objective(fun, jac, args, start, scale, maxfev)
    run = _Run(objective, learned, guarded=safeguard == "lbfgs")
    notify = minimization_arguments.notifier(callback)

    status, message = _first(run, start / scale, gtol)
    while status is None:
        if run.steps == maxiter:
            status, message = LIMIT, f"maxiter = {maxiter} steps made"
            break
        before = run.steps
        try:
            status, message = run.step()
        except EvaluationLimit:
            status, message = LIMIT, f"maxfev = {maxfev} evaluations made"
            break
        if status is None:
            status, message = _verdict(run, gtol, stop_history)
        try:
            if run.steps > before:
                notify(run.point)
        except StopIteration:
            if status is None:
                status, message = CALLBACK, "callback raised StopIteration"
    return _result(run, status, message)


class _Run:
    """A run in progress: where it is and what it remembers."""

    def __init__(self, objective: Objective, learned: LearnedOptimizer, guarded: bool) -> None:
        self.objective, self.guarded = objective, guarded
        self.steps = self.accepted = 0
        self.point: Point
        self.values: list[float] = []  # f after each step, f(x0) first
        self.history: list[float] = []  # best f so far, likewise
        self._learned, self._pairs = learned, safeguard_lib.new_pairs()
        self._state: Any  # of the learned rule
        self._origin: np.ndarray | float = 0.0  # where the learned rule's coordinates begin
        self._refusals = self._rest = 0  # learned steps refused in a row; steps without one to come

    def start(self, z: np.ndarray) -> None:
        """Evaluates the first point."""
        self.point = self.objective.complete(self.objective.value(z))
        # A rule that does not see x itself takes the same steps from any origin; from the start,
        # float32 loses nothing of what they add up to.
        if not learned_step.sees_position(self._learned.config):
            self._origin = self.point.z
        rule = rules.rule_of(self._learned.config)
        self._state = rule.init_state(self._learned.config, self._seen())
        self._record()

    def _seen(self) -> np.ndarray:
        """The point as the learned rule is told it."""
        return _float32(self.point.z - self._origin)

    def step(self) -> tuple[int | None, str]:
        """One step; a status if it could not be made or led to a non-finite point."""
        propose = learned_step.compiled(self._learned)
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

    def _guarded(self, change: np.ndarray) -> tuple[int | None, str]:
        recent = self.values[-safeguard_lib.HISTORY :]
        tried = self._rest == 0
        found, taken = safeguard_lib.guarded_step(
            self.objective, self._pairs, recent, self.point, change if tried else None
        )
        self._refusals = 0 if taken else self._refusals + tried
        self._rest = safeguard_lib.rest(self._refusals) if tried else self._rest - 1
        if found is None:
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


def _first(run: _Run, z: np.ndarray, gtol: float | None) -> tuple[int | None, str]:
    run.start(z)
    if not run.point.finite:
        return NOT_FINITE, "f or its gradient is not finite at x0"
    return _verdict(run, gtol, None)


def _verdict(run: _Run, gtol: float | None, stop_history: int | None) -> tuple[int | None, str]:
    """Whether the point just reached ends the run."""
    largest = float(np.max(np.abs(run.objective.unscaled(run.point))))
    if largest <= (gtol or 0.0):
        return GRADIENT, f"largest entry of the gradient is {largest:.3g}"
    values = run.history if run.guarded else run.values
    if stop_history is not None and len(values) > stop_history:
        # Differences to the newest value: the mean of large values would round.
        excess = np.asarray(values[-1 - stop_history : -1]) - values[-1]
        if np.mean(excess) <= 0.0:
            return STALLED, f"f is not below the mean of its last {stop_history} values"
    return None, ""


def _result(run: _Run, status: int | None, message: str) -> OptimizeResult:
    objective = run.objective
    best = objective.complete(run.point if objective.best is None else objective.best)
    improved = min(run.values) < run.values[0]  # of points reached: a lucky trial proves nothing
    return OptimizeResult(
        x=best.x,
        fun=best.fun,
        jac=objective.unscaled(best),
        nit=run.steps,
        nfev=objective.nfev,
        njev=objective.njev,
        status=status,
        success=status == GRADIENT or (status == STALLED and improved),
        message=message,
        accepted_share=run.accepted / run.steps if run.steps else float("nan"),
        history=np.asarray(run.history),
    )


def _float32(vector: np.ndarray | None) -> np.ndarray:
    with np.errstate(over="ignore"):  # to infinity, which the step reports as NaN
        return np.asarray(vector, np.float32)
