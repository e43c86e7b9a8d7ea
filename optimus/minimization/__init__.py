"""`minimize`: a learned optimizer behind the door of `scipy.optimize.minimize`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from optimus.minimization import arguments as minimization_arguments
from optimus.minimization import basin_hopping, proposal
from optimus.minimization.descent import GRADIENT, LIMIT, NOT_FINITE, STALLED, Descent, Limits
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
      callback: called after each step but hops, as in SciPy: callback(xk), or
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
      hops: how often to go on from a local minimum: each hop displaces some coordinates of the best
        point and descends again (`optimus.minimization.basin_hopping`). A hop counts as a step.
        None: until `maxiter` or `maxfev` is reached. 0, as SciPy's
        methods: end where the first descent ends.
      seed: of the hops; nothing else is random.

    Returns:
      scipy.optimize.OptimizeResult with `x`, the best point evaluated, float64 [N], and `fun` and
      `jac` there; `nit`, `nfev`, `njev` and `hops` made; `accepted_share`, the share of steps that
      were learned ones, whole or halved (NaN if nit is 0); `history` [nit + 1], the best value
      after each step; and `status`, `success`, `message`:

        0   the gradient is within gtol                          success
        1   maxiter or maxfev reached
        2   stopping rule, or no decrease in any direction tried success if f(x0) was improved on
        3   f or its gradient is not finite at x0; or, without safeguard, at a later point
        99  the callback raised StopIteration

      After all hops, of the descent that found x.

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
    minimization_arguments.check_hops(hops, seed)
    if not isinstance(args, tuple):
        args = (args,)  # as SciPy does
    learned = proposal.resolve(model)
    proposal.check_size(learned.config, start.size)
    scale = minimization_arguments.scale(x_scale, start.size)
    objective = Objective(fun, jac, args, start, scale, maxfev)
    notify = minimization_arguments.notifier(callback)
    guarded, random, first = safeguard == "lbfgs", np.random.default_rng(seed), start / scale

    descents = [Descent(objective, learned, guarded)]
    descents[0].run(first, Limits(maxiter, gtol, stop_history, hops != 0), notify)
    while _at_rest(descents) and (hops is None or len(descents) <= hops):
        made = _steps(descents) + 1  # with the hop to come
        if made > maxiter:
            return _result(objective, descents, LIMIT, f"maxiter = {maxiter} steps made")
        if objective.spent:
            return _result(objective, descents, LIMIT, f"maxfev = {maxfev} evaluations made")
        lowest = _lowest(descents)
        limits = Limits(maxiter, gtol, stop_history, True, made, lowest.best)
        plain = guarded and len(descents) % 2 == 1  # see `hopping`
        descents.append(Descent(objective, None if plain else learned, guarded, lowest.pairs))
        descents[-1].run(basin_hopping.displaced(random, lowest.best.z, first), limits, notify)
    ended = _lowest(descents) if _at_rest(descents) else descents[-1]
    return _result(objective, descents, ended.status, ended.message)


def _lowest(descents: list[Descent]) -> Descent:
    """The descent that found the best point; the first, where none is finite."""
    return min(descents, key=lambda one: one.best.fun if np.isfinite(one.best.fun) else np.inf)


def _steps(descents: list[Descent]) -> int:
    """Steps so far; a hop is one."""
    return sum(one.steps for one in descents) + len(descents) - 1


def _at_rest(descents: list[Descent]) -> bool:
    """Whether a hop can follow. After a first descent one that fails is only a bad hop."""
    status = descents[-1].status
    return status in (GRADIENT, STALLED) or (status == NOT_FINITE and len(descents) > 1)


def _result(
    objective: Objective, descents: list[Descent], status: int, message: str
) -> OptimizeResult:
    best, steps = _lowest(descents).best, _steps(descents)
    reached = [value for one in descents for value in one.values]  # a lucky trial proves nothing
    improved = min(reached) < reached[0]
    return OptimizeResult(
        x=best.x,
        fun=best.fun,
        jac=objective.unscaled(best),
        nit=steps,
        nfev=objective.nfev,
        njev=objective.njev,
        hops=len(descents) - 1,
        status=status,
        success=status == GRADIENT or (status == STALLED and improved),
        message=message,
        accepted_share=sum(one.accepted for one in descents) / steps if steps else float("nan"),
        history=np.fmin.accumulate([value for one in descents for value in one.history]),
    )
