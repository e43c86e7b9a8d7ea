"""Evaluations that a method needs for what another reaches at the end of its budget.

The target of a window is the baseline's best loss there after the whole budget, where L-BFGS-B, the
baseline, is among the rows. Intervals are 95 % percentile bootstraps over windows; windows cut from
a few clips are not independent, and the intervals are then too narrow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from optimus.bench.storage import markdown_table
from workers.physics.benchmark.cells import Cell, extended

BASELINE = "l_bfgs_b"
EQUAL = "adafactor_mlp"  # compared with at equal evaluations
AFTER = (67, 100, 200)  # evaluations at which methods are compared
RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A statistic of the windows with its bootstrap interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """ "value [low, high]"."""
        value, low, high = (f"{each:.{digits}f}" for each in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]".replace("inf", "∞")


def best_curves(cells: Sequence[Cell], budget: int) -> dict[str, dict[str, np.ndarray]]:
    """Method -> window -> best loss after each evaluation `[budget]`; rows that optimise only."""
    curves: dict[str, dict[str, np.ndarray]] = {}
    for cell in cells:
        if cell.status != "baseline":
            curves.setdefault(cell.method, {})[cell.window] = extended(cell.best, budget)
    return curves


def hits(best: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Evaluations until a loss at or below the target, `[windows]`; inf where there was none.

    best `[windows, budget]`, targets `[windows]`.
    """
    reached = best <= targets[:, None]
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)


def expected_running_time(needed: np.ndarray, budget: int) -> float:
    """Evaluations spent in all windows over windows that were reached; inf without any.

    needed: `[windows]`, as of `hits`; budget: evaluations a window.

    Censored windows cost the whole budget: the expected number of evaluations of a method that is
    started again until it reaches a target.
    """
    found = np.isfinite(needed)
    spent = np.where(found, needed, budget).sum()
    return float(spent / found.sum()) if found.any() else np.inf


def bootstrap(statistic: Callable[[np.ndarray], float], values: np.ndarray) -> Interval:
    """95 % percentile interval of `statistic` over the first axis of `values` `[windows, ...]`."""
    rng = np.random.default_rng(0)
    count = len(values)
    drawn = [statistic(values[rng.integers(count, size=count)]) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
    return Interval(statistic(values), float(low), float(high))


def _share(values: np.ndarray) -> str:
    return bootstrap(lambda some: float(np.mean(some)), values).text()


def table(cells: Sequence[Cell], budget: int) -> str:
    """Markdown: loss after `AFTER` evaluations, windows where the baseline's end is reached,
    expected running time; "" where the baseline is not among the rows."""
    curves = best_curves(cells, budget)
    if BASELINE not in curves:
        return ""
    windows = list(curves[BASELINE])
    targets = np.array([curves[BASELINE][window][-1] for window in windows])
    after = [count for count in AFTER if count <= budget]
    # Where a cell failed the windows are not the same.
    whole = {m: np.stack([*c.values()]) for m, c in curves.items() if list(c) == windows}
    rows = []
    for method, best in whole.items():
        row = {"method": method}
        row |= {f"loss after {n}": f"{np.median(best[:, n - 1]):.4g}" for n in after}
        reached = f"at or below {BASELINE} ({budget}) after"
        row |= {f"{reached} {n}": _share(best[:, n - 1] <= targets) for n in after}
        running = bootstrap(lambda some: expected_running_time(some, budget), hits(best, targets))
        row["expected running time, evaluations"] = running.text(0)
        if EQUAL in whole:
            better = best < whole[EQUAL]
            shares = {n: "–" if method == EQUAL else _share(better[:, n - 1]) for n in after}
            row |= {f"better than {EQUAL} after {n}": share for n, share in shares.items()}
        rows.append(row)
    losses = f"Losses are medians over {len(windows)} windows"
    others = "shares and expected running time with 95 % bootstrap intervals over windows"
    return "\n".join([*markdown_table(rows), "", f"{losses}; {others}.", ""])
