"""`minimize`: a learned optimizer with the interface of `scipy.optimize.minimize`."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from optimus.minimization import arguments, basin_hopping, proposal
from optimus.minimization.descent import Limits, Outcome
from optimus.minimization.objective import Objective
from optimus.weights import LearnedOptimizer


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    *,
    args: tuple[Any, ...] = (),
    jac: Callable[..., Any] | bool | None = None,
    model: LearnedOptimizer | str | os.PathLike[str] = proposal.DEFAULT_MODEL,
    maxiter: int = 200,
    maxfev: int | None = None,
    callback: Callable[..., Any] | None = None,
    x_scale: Any = 1.0,
    safeguard: str = "lbfgs",
    bounds: None = None,
    gtol: float | None = None,
    stop_history: int | None = 10,
    hops: int | None = 0,
    seed: int = 0,
) -> OptimizeResult:
    """Minimises a function of several variables with a learned optimizer.

        result = optimus.minimize(lambda x: jnp.sum((x - 1.0) ** 2), x0)  # a JAX function
        result = optimus.minimize(fun, x0, jac=gradient)                  # any function

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
      callback: called after each step but restarts, as in SciPy: callback(xk), or
        callback(intermediate_result) if that is the name of its only parameter. StopIteration ends
        the run.
      x_scale: typical size of a change of each variable, scalar or [N], positive. The optimizer
        works on x / x_scale, where its first steps are about 0.1 long.
      safeguard: "lbfgs" replaces learned steps that fail a decrease test (module
        `optimus.minimization.safeguard`); "none" is the method of the paper.
      bounds: not supported.
      gtol: stop when no entry of the gradient is larger; None: only when all are 0.
      stop_history: the paper's stopping rule, stop when f(x_k) is not below the mean of the last
        so many values (its beta = 1, eps = 0: any shift of f leaves it unchanged). Under the
        safeguard the rule reads the best values so far, so that it means "no progress in so many
        steps". None turns it off.
      hops: basin-hopping restarts at most: each displaces some coordinates of the best point and
        descends again (`optimus.minimization.basin_hopping`), and counts as a step. None: until
        `maxiter` or `maxfev` is reached. 0, as SciPy's methods: end where the first descent ends.
      seed: of the restarts; nothing else is random.

    Returns:
      scipy.optimize.OptimizeResult with `x`, the best point evaluated, float64 [N], and `fun` and
      `jac` there; `nit`, `nfev`, `njev` and `hops` made; `accepted_share`, the share of steps that
      were learned ones, whole or halved (NaN if nit is 0); `history` [nit + 1], the best value
      after each step; and `status`, `success`, `message`:

          0   the gradient is within gtol                 success
          1   maxiter or maxfev reached
          2   stopping rule, or no direction goes down    success if f(x0) was improved on
          3   f or its gradient is not finite at x0; or, without safeguard, later
          99  the callback raised StopIteration

      After all restarts, of the descent that found x.

      Non-finite values under the safeguard are steps that failed.

    Raises:
      ValueError: unusable arguments, or `fun` or the gradient changes its shape.
      TypeError: `fun` cannot be traced and no `jac` is given, or values are no real numbers.
      WeightsError: no such model.
      Exception: whatever `fun`, `jac` or `callback` raise, unchanged; since CPython 3.11 those of
        `fun` and `jac` carry a note with the evaluation and x.
    """
    start = arguments.start(x0)
    arguments.check(jac, safeguard, bounds, gtol)
    arguments.check_counts(0, optional=False, maxiter=maxiter, seed=seed)
    arguments.check_counts(0, optional=True, hops=hops)
    arguments.check_counts(1, optional=True, maxfev=maxfev, stop_history=stop_history)
    if not isinstance(args, tuple):
        args = (args,)  # as SciPy does
    learned = proposal.resolve(model)
    proposal.check_size(learned.config, start.size)
    scale = arguments.scale(x_scale, start.size)
    objective = Objective(fun, jac, args, start, scale, maxfev)
    limits, notify = Limits(maxiter, gtol, stop_history), arguments.notifier(callback)
    how: dict[str, Any] = {"guarded": safeguard == "lbfgs", "restarts": hops, "seed": seed}
    run = basin_hopping.run(objective, learned, start / scale, limits, notify=notify, **how)
    return _result(objective, run)


def _result(objective: Objective, run: basin_hopping.Run) -> OptimizeResult:
    best, steps, descents = run.lowest.best, run.steps, run.descents
    reached = [value for each in descents for value in each.values]  # a lucky trial proves nothing
    improved = min(reached) < reached[0]
    outcome, message = run.end
    at = {"x": best.x, "fun": best.fun, "jac": objective.unscaled(best)}
    counts = {"nit": steps, "nfev": objective.nfev, "njev": objective.njev}
    counts["hops"] = len(descents) - 1
    success = outcome == Outcome.GRADIENT or (outcome == Outcome.STALLED and improved)
    ended = {"status": int(outcome), "success": success, "message": message}
    share = sum(each.accepted for each in descents) / steps if steps else float("nan")
    history = np.fmin.accumulate([value for each in descents for value in each.history])
    return OptimizeResult(**at, **counts, **ended, accepted_share=share, history=history)
