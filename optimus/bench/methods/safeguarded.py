"""Learned optimizers behind the front door: `optimus.minimize` with its safeguard, counted.

What a user gets. Learned steps that fail a decrease test are replaced by L-BFGS steps, so an
iteration may cost more than one evaluation. It stops by itself where nothing is left to gain;
with `hops=None` it goes on from there, until the budget is spent.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from scipy.optimize import OptimizeResult

from optimus.bench.methods.counting import BudgetSpent, Counted
from optimus.bench.methods.multistart import random_of
from optimus.bench.methods.trace import Trace
from optimus.minimization import minimize
from optimus.problems.presets import Problem, arithmetic, preset
from optimus.weights import LearnedOptimizer

# By OptimizeResult.status of `minimize`; what is not here has met its test or got stuck.
STATUSES = {0: "converged", 3: "stalled"}


def _value_and_gradient(counted: Counted, x: np.ndarray) -> tuple[float, np.ndarray]:
    return counted.value(x), counted.gradient(x)


def run(
    problem: Problem,
    steps: int,
    *,
    model: LearnedOptimizer,
    max_evaluations: int | None = None,
    safeguard: str = "lbfgs",
    hops: int | None = 0,
) -> Trace:
    """One problem, at most `steps` iterations and `max_evaluations` points.

    Value and gradient come together, so every point counts a gradient too.
    """

    with arithmetic(preset(problem.preset).dtype):
        counted = Counted(problem, max_evaluations)

        def iterated(intermediate_result: OptimizeResult) -> None:
            counted.iterated(intermediate_result.fun, intermediate_result.x)

        try:
            result = minimize(
                functools.partial(_value_and_gradient, counted),
                problem.x0,
                jac=True,
                model=model,
                maxiter=steps,
                maxfev=max_evaluations,
                callback=iterated,
                safeguard=safeguard,
                hops=hops,
                seed=int(random_of(problem, "hops").integers(2**31)),
            )
        except BudgetSpent:  # not met as long as both counts agree
            return counted.trace("evaluations")
        if result.status == 1:
            return counted.trace("steps" if result.nit >= steps else "evaluations")
        status = STATUSES.get(result.status, "converged" if result.success else "stalled")
        return counted.trace(status)


def run_all(
    problems: Sequence[Problem],
    steps: int,
    *,
    model: LearnedOptimizer,
    max_evaluations: int | None = None,
    hops: int | None = 0,
) -> list[Trace]:
    """The problems one after the other; options as for `run`."""
    return [
        run(problem, steps, model=model, max_evaluations=max_evaluations, hops=hops)
        for problem in problems
    ]
