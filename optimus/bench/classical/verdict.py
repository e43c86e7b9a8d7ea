"""Our numbers against the printed ones: floors, agreement, and the bootstrap verdict.

Fact sheet `benchmark.md`, sections 5 and 11. Pure NumPy, on values of one cell.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

# The table's spellings to ours.
PRINTED_NAMES = {
    "Ackley": "ackley",
    "Dixon-Price": "dixon_price",
    "Griwank": "griewank",
    "Levy": "levy",
    "Perm Function 0, d, beta": "perm",
    "Powel": "powell",
    "Rastrigin": "rastrigin",
    "Rosenbrock": "rosenbrock",
    "Rotated Hyper-Ellipsoid": "rotated_hyper_ellipsoid",
    "Sphere": "sphere",
    "Styblinski-Tang": "styblinski_tang",
    "Sum of Powers": "sum_of_powers",
    "Sum of Squares": "sum_of_squares",
    "Trid": "trid",
    "Zakharov": "zakharov",
}
PRINTED_METHODS = ("bfgs", "optimus", "adafactor_mlp", "adam", "momentum")
RESAMPLES = 10_000
PRINTED_STARTS = 64
WANTED_STARTS = 256  # fewer make the verdict coarser, which the report says


@functools.cache
def printed() -> dict[tuple[str, int, str], float]:
    """(function, dim, method) -> printed value; 600 of them."""
    text = (
        resources.files("optimus.bench.classical")
        .joinpath("table4.csv")
        .read_text(encoding="utf-8")
    )
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        (PRINTED_NAMES[row["function"]], int(row["dim"]), method): float(row[method])
        for row in csv.DictReader(lines)
        for method in PRINTED_METHODS
    }


@dataclass(frozen=True)
class Comparison:
    """One cell beside one printed number.

    Attributes:
      mean, error: of our values, and the standard error of the mean.
      printed: the number of Table 4.
      agreement: "round-off" (both at the floor), "agrees" (within 10 %, or within 2 combined
        standard errors and a factor of 10), "spread" (within 2 combined standard errors, but a
        factor of 10 apart: a mean that one wild start in 64 makes is within 2 standard errors of
        everything), or "differs". Combined: the print is taken to have our spread over 64 starts.
      share: P, share of resamples of 64 of our starts whose floored mean is <= the floored print.
      share_below: the same for <, so that two ties at the floor are no clear win.
    """

    mean: float
    error: float
    printed: float
    agreement: str
    share: float
    share_below: float

    @property
    def verdict(self) -> str:
        """ "clearly better", "no worse", "worse" or "clearly worse" than the print."""
        if self.share >= 0.5:
            return "clearly better" if self.share_below >= 0.95 else "no worse"
        return "clearly worse" if self.share <= 0.05 else "worse"


def standard_error(values: np.ndarray) -> float:
    """Of the mean; 0 for one value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def rounding(minimum: float) -> float:
    """Half a unit of the third digit: what the print cannot show above a minimum that is not 0."""
    return 0.5 * 10.0 ** (np.floor(np.log10(abs(minimum))) - 2) if minimum else 0.0


def compare(
    values: Sequence[float], reference: float, minimum: float, floor: float, seed: int = 0
) -> Comparison:
    """Values `[S]` of one cell against a printed one; up to minimum + floor all are equal.

    P also forgives the rounding of a print whose minimum is not 0: 230.003 is no worse than 2.30e2.
    """
    level = minimum + floor
    raw = np.asarray(values, np.float64)
    floored, target = np.maximum(raw, level), max(reference, level)
    mean, error = float(np.mean(floored)), standard_error(floored)
    spread = np.hypot(error, error * np.sqrt(len(raw) / PRINTED_STARTS))
    if mean <= level and target <= level:
        agreement = "round-off"
    else:
        near = abs(mean - target) <= 0.1 * target
        alike = abs(mean - target) <= 2 * spread
        close = 0.1 * target <= mean <= 10 * target
        agreement = "agrees" if near or (alike and close) else "spread" if alike else "differs"
    level = max(level, minimum + rounding(minimum))
    floored, target = np.maximum(raw, level), max(reference, level)
    random = np.random.default_rng(seed)
    # In blocks: 10,000 × 64 indices at once would be five megabytes for every cell.
    means = np.concatenate(
        [
            floored[random.integers(0, len(raw), (RESAMPLES // 10, PRINTED_STARTS))].mean(axis=1)
            for _ in range(10)
        ]
    )
    # A mean of equal numbers must not fall above them by rounding.
    share = float(np.mean(means <= target * (1 + 1e-12)))
    below = float(np.mean(means < target * (1 - 1e-12)))
    return Comparison(float(np.mean(raw)), standard_error(raw), reference, agreement, share, below)
