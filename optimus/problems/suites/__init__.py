"""Problems of other libraries, which no model here is trained on. The libraries are optional.

    for case in suites.cases("sif2jax", least_dim=2, most_dim=10):
        problems = case.problems(starts=1, seed=0)      # of `optimus.problems.presets.Problem`

Unconstrained and smooth, in float64. What shares its formula with a function of the classical
benchmark is marked as related: of models that were trained on those it is not held out.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from optimus.errors import UserError, require, require_known
from optimus.installation import extra_command
from optimus.problems.presets import SUITE, Problem

Name = Literal["sif2jax", "coco"]
PACKAGES = {"sif2jax": "sif2jax", "coco": "cocoex"}  # suite -> module that it needs
MOST_DIM = 100


class SuiteMissing(UserError, ValueError):
    """The library of a suite is not installed; the message is one line."""


@dataclass(frozen=True)
class Case:
    """A problem of a suite in one dimension.

    Attributes:
      suite, name, dim: what decides it.
      related: shares its formula with a function of the classical benchmark.
      problems: (starts, seed) -> as many problems that share an objective; the first is the
        suite's own.
      expected: least value according to the suite's library, where it says.
    """

    suite: str
    name: str
    dim: int
    related: bool
    problems: Callable[[int, int], list[Problem]]
    expected: float | None = None


def problem_of(
    name: str, seed: int, start: int, x0: np.ndarray, floor: float, **more: Any
) -> Problem:
    """One start of a problem whose least value is not known.

    Args:
      name: of the problem.
      seed: of the starts.
      start: its number.
      x0: float64 `[N]`.
      floor: of the problem.
      **more: its `box`, `objective` and `data`.
    """
    decided = (SUITE.name, name, x0.size, seed, start)
    unknown = np.full(x0.size, np.nan)
    return Problem(*decided, x0, f_star=0.0, minimum=0.0, minimiser=unknown, floor=floor, **more)


def library(suite: str) -> Any:
    """The module of a suite; raises `SuiteMissing` saying how to get it."""
    try:
        return importlib.import_module(PACKAGES[suite])
    except ImportError as error:
        how = extra_command("suites")
        raise SuiteMissing(f"suite {suite} needs its library ({error}): {how}") from None


def cases(
    suite: str, names: Sequence[str] = (), least_dim: int = 2, most_dim: int = MOST_DIM
) -> list[Case]:
    """The cases of a suite, small ones first.

    Args:
      suite: a key of `PACKAGES`.
      names: problems; empty for all.
      least_dim, most_dim: range of the number of variables.

    Raises:
      SuiteMissing: its library is not installed.
      ConfigError: no such suite or problem, or nothing in this range; one line.
    """
    require_known(suite, tuple(PACKAGES), "suite")
    module = importlib.import_module(f"optimus.problems.suites.{suite}")
    found: list[Case] = module.cases(least_dim, most_dim)
    known = {case.name for case in found}
    some = f"{', '.join(sorted(known)[:8])} ... ({len(known)} in all)"
    within = f"with {least_dim} to {most_dim} variables"
    for name in names:
        require(name in known, f"{suite} has no {name!r} {within}; it has {some}")
    chosen = [case for case in found if not names or case.name in names]
    require(bool(chosen), f"{suite} has nothing {within}")
    return sorted(chosen, key=lambda case: (case.dim, case.name))
