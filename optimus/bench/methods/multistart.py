"""L-BFGS-B from one start after another, the first shared, then uniform in the start box."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from optimus.bench.methods.counting import Counted
from optimus.bench.methods.scipy_methods import minimise
from optimus.bench.methods.trace import Trace
from optimus.problems.presets import Problem, arithmetic, preset


def random_of(problem: Problem, word: str) -> np.random.Generator:
    """The random numbers a method has for this problem; they depend on nothing else."""
    names = zlib.crc32(f"{word} {problem.function}".encode())
    return np.random.default_rng([problem.seed, names, problem.dim, problem.start])


def _further(problem: Problem) -> Iterator[np.ndarray]:
    random = random_of(problem, "multistart")
    while True:
        yield random.uniform(*problem.box, problem.x0.size)


def restart_points(problem: Problem, count: int) -> np.ndarray:
    """The first points after the shared start: `[count, N]`, of the preset's dtype."""
    points = np.asarray(list(itertools.islice(_further(problem), count)))
    return points.reshape(count, problem.x0.size).astype(problem.x0.dtype)


def run(
    problem: Problem, steps: int, *, max_evaluations: int | None = None, **options: Any
) -> Trace:
    """Restarts until `max_evaluations` points, or `steps` where no cap is given, are spent.

    Under a budget of iterations the points are capped at that number all the same: a restart is
    not a way around the budget. Options are SciPy's for L-BFGS-B.
    """
    with arithmetic(preset(problem.preset).dtype):
        counted = Counted(problem, max_evaluations or steps)
        for x0 in itertools.chain([problem.x0], _further(problem)):
            if minimise(counted, "l_bfgs_b", x0, steps, **options) == "evaluations":
                break
        return counted.trace("evaluations")


def run_all(problems: Sequence[Problem], steps: int, **options: Any) -> list[Trace]:
    """The problems one after the other; options as for `run`."""
    return [run(problem, steps, **options) for problem in problems]
