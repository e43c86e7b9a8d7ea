"""Performance profiles (Dolan and Moré 2002) and data profiles (Moré and Wild 2009).

A problem is one (function, dim, start). A cost is a number of evaluations; Hessian-vector products
are not in it, which favours newton_cg and trust_ncg. Methods that never look at the function are
left out: under `paper` they would be the reference on every centred function.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimus.bench.cells import TOLERANCES
from optimus.bench.methods import BLIND
from optimus.bench.storage import Row
from optimus.problems import presets

problem_of = operator.itemgetter("function", "dim", "start")  # of a row


@dataclass(frozen=True)
class Table:
    """Numbers of problems × methods, for the problems that every method has.

    Attributes:
      methods: names `[M]`.
      problems: (function, dim, start) `[P]`.
      values: float64 `[P, M]`.
    """

    methods: tuple[str, ...]
    problems: tuple[tuple[str, int, int], ...]
    values: np.ndarray


def table(rows: Sequence[Row], column: str) -> Table:
    """A column of `results.csv` as a table; None becomes infinity."""
    methods = tuple(dict.fromkeys(row["method"] for row in rows if row["method"] not in BLIND))
    cells: dict[tuple[str, int, int], dict[str, float]] = {}
    for row in rows:
        value = np.inf if row[column] is None else float(row[column])
        cells.setdefault(problem_of(row), {})[row["method"]] = value
    whole = [key for key, found in cells.items() if methods and found.keys() >= set(methods)]
    values = [[cells[key][method] for method in methods] for key in whole]
    shape = (len(whole), len(methods))
    return Table(methods, tuple(whole), np.asarray(values, np.float64).reshape(shape))


def shares(ratios: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Share of problems with a ratio <= each of `at`: `[P, M]`, `[T]` -> `[T, M]`."""
    return np.mean(ratios[None] <= at[:, None, None], axis=1)


def performance(costs: Table, at: np.ndarray) -> np.ndarray:
    """ρ_s(t) = share of problems with c_{s,p} <= t min_s c_{s,p}; `[T, M]`. Infinite: unsolved."""
    least = np.min(costs.values, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(costs.values), costs.values / least, np.inf)
    return shares(ratios, at)


def data(costs: Table, at: np.ndarray) -> np.ndarray:
    """Share of problems solved within κ (N + 1) evaluations, κ in `at`; `[T, M]`."""
    sizes = np.asarray([dim + 1 for _, dim, _ in costs.problems], np.float64)
    return shares(costs.values / sizes[:, None], at)


def value(best: Table, preset: str, at: np.ndarray) -> np.ndarray:
    """Share of problems with gap <= t × the least gap at the end of the budget; `[T, M]`.

    Gaps are floored as in the comparison with the print; not finite counts as infinite.
    """
    names = {(function, dim) for function, dim, _ in best.problems}
    ends = {name: presets.problem(preset, *name, 0, 0) for name in names}
    known = [(ends[each[:2]].minimum, ends[each[:2]].floor) for each in best.problems]
    minimum, floor = np.asarray(known).reshape(-1, 2, 1).transpose(1, 0, 2)
    gaps = np.where(np.isfinite(best.values), np.maximum(best.values - minimum, floor), np.inf)
    return performance(Table(best.methods, best.problems, gaps), at)


def long_form(kind: str, tau: str, of: Table, at: np.ndarray, values: np.ndarray) -> list[Row]:
    """Shares as rows of `profiles.csv`: profile, tau, problems, at, method, share.

    Args:
      kind: name of the profile.
      tau: tolerance, "" where there is none.
      of: the table that the profile is of.
      at: where it is drawn, `[T]`.
      values: shares `[T, M]`.
    """
    shared = {"profile": kind, "tau": tau, "problems": len(of.problems)}
    return [
        shared | {"at": float(where), "method": method, "share": float(share)}
        for where, line in zip(at, values)
        for method, share in zip(of.methods, line)
    ]


def cost_rows(rows: Sequence[Row], at: Mapping[str, np.ndarray]) -> list[Row]:
    """The profiles "performance" and "data" in long form, of those that `at` says where to draw,
    `[T]` each, for every tolerance."""
    found: list[Row] = []
    for tau in TOLERANCES:
        costs = table(rows, f"evals_to_{tau}")
        for kind, profile in (("performance", performance), ("data", data)):
            if len(costs.problems) and kind in at:
                found += long_form(kind, tau, costs, at[kind], profile(costs, at[kind]))
    return found
