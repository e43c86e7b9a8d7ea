"""Evaluations that a method needs for what another reaches at the end of its budget.

The target of a window is the baseline's best loss there after the whole budget, where L-BFGS-B, the
baseline, is among the rows. Intervals are 95 % percentile bootstraps over windows; windows cut from
a few clips are not independent, and the intervals are then too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from workers.physics.benchmark.cells import Cell

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

        def one(number: float) -> str:
            return "∞" if np.isinf(number) else f"{number:.{digits}f}"

        return f"{one(self.value)} [{one(self.low)}, {one(self.high)}]"


def best_curves(cells: Sequence[Cell], budget: int) -> dict[str, dict[str, np.ndarray]]:
    """Method -> window -> best loss after each evaluation `[budget]`; rows that optimise only."""
    curves: dict[str, dict[str, np.ndarray]] = {}
    for cell in cells:
        if cell.status != "baseline":
            best = cell.best[:budget]
            whole = np.pad(best, (0, budget - len(best)), mode="edge")
            curves.setdefault(cell.method, {})[cell.window] = whole
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


def _share(values: np.ndarray) -> float:
    return float(np.mean(values))


def table(cells: Sequence[Cell], budget: int) -> str:
    """Markdown: loss after `AFTER` evaluations, windows where the baseline's end is reached,
    expected running time; "" where the baseline is not among the rows."""
    curves = best_curves(cells, budget)
    if BASELINE not in curves:
        return ""
    windows = list(curves[BASELINE])
    targets = np.array([curves[BASELINE][window][-1] for window in windows])
    after = [count for count in AFTER if count <= budget]
    heads = [
        "method",
        *(f"loss after {count}" for count in after),
        *(f"at or below {BASELINE} ({budget}) after {count}" for count in after),
        "expected running time, evaluations",
        *(f"better than {EQUAL} after {count}" for count in after if EQUAL in curves),
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for method, found in curves.items():
        if list(found) != windows:
            continue  # a cell failed: not the same windows
        best = np.stack([found[window] for window in windows])
        words = [method, *(f"{np.median(best[:, count - 1]):.4g}" for count in after)]
        words += [bootstrap(_share, best[:, count - 1] <= targets).text() for count in after]
        running = bootstrap(lambda some: expected_running_time(some, budget), hits(best, targets))
        words.append(running.text(0))
        if EQUAL in curves and list(curves[EQUAL]) == windows:
            equal = np.stack([curves[EQUAL][window] for window in windows])
            words += [
                "–"
                if method == EQUAL
                else bootstrap(_share, best[:, count - 1] < equal[:, count - 1]).text()
                for count in after
            ]
        lines.append("| " + " | ".join(words) + " |")
    lines += [
        "",
        f"Losses are medians over {len(windows)} windows; shares and expected running "
        "time with 95 % bootstrap intervals over windows.",
    ]
    return "\n".join(lines) + "\n"
