"""The paper's printed Table 4, and our numbers of a cell beside it. Pure NumPy."""

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import numpy as np

Agreement = Literal["round-off", "agrees", "spread", "better", "worse"]
Outcome = Literal["clearly better", "no worse", "worse", "clearly worse"]
METHODS = ("bfgs", "optimus", "adafactor_mlp", "adam", "momentum")
RESAMPLES = 10_000
STARTS = 64  # of the print


@functools.cache
def table4() -> Mapping[tuple[str, int, str], float]:
    """(function, dim, method) -> printed value; 600 of them."""
    file = resources.files("optimus.bench.classical").joinpath("table4.csv")
    text = file.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in text if not line.startswith("#"))
    lines = [(row["function"], int(row["dim"]), row) for row in rows]
    return {(name, n, each): float(row[each]) for name, n, row in lines for each in METHODS}


@dataclass(frozen=True)
class Comparison:
    """One cell beside one printed number.

    Attributes:
      agreement: "round-off" (both at the floor), "agrees" (within 10 %, or within 2 combined
        standard errors and a factor of 10), "spread" (within 2 combined standard errors, but a
        factor of 10 apart: a mean that one wild start in 64 makes is within 2 standard errors of
        everything): these are equal. Else "better", ours is lower, or "worse", ours is higher.
        Combined: the print is taken to have our spread over 64 starts.
      share: of resamples of 64 of our starts, those whose floored mean is <= the floored print.
      share_below: the same for <, so that two ties at the floor are no clear win.
    """

    agreement: Agreement
    share: float
    share_below: float

    @property
    def outcome(self) -> Outcome:
        """Ours against the print."""
        if self.share >= 0.5:
            return "clearly better" if self.share_below >= 0.95 else "no worse"
        return "clearly worse" if self.share <= 0.05 else "worse"


def standard_error(values: np.ndarray) -> float:
    """Of the mean of `[S]`; 0 for one value, NaN where one is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _rounding(minimum: float) -> float:
    """Half a unit of the third digit: what the print cannot show above a minimum that is not 0."""
    return 0.5 * 10.0 ** (np.floor(np.log10(abs(minimum))) - 2) if minimum else 0.0


def compare(values: Sequence[float], reference: float, minimum: float, floor: float) -> Comparison:
    """The values of one cell against a printed one; up to minimum + floor all are equal.

    The share also forgives the rounding of a print whose minimum is not 0: 230.003 is no worse than
    2.30e2.

    Args:
      values: reported values `[S]`.
      reference: printed mean.
      minimum: least reported value.
      floor: what above it counts as equal to it.
    """
    level = minimum + floor
    raw = np.asarray(values, np.float64)
    floored, target = np.maximum(raw, level), max(reference, level)
    mean, error = float(np.mean(floored)), standard_error(floored)
    spread = np.hypot(error, error * np.sqrt(len(raw) / STARTS))
    agreement: Agreement = "better" if mean < target else "worse"
    if np.max(floored) <= level and target <= level:
        agreement = "round-off"
    elif abs(mean - target) <= 0.1 * target:
        agreement = "agrees"
    elif abs(mean - target) <= 2 * spread:
        agreement = "agrees" if 0.1 * target <= mean <= 10 * target else "spread"
    level = max(level, minimum + _rounding(minimum))
    floored, target = np.maximum(raw, level), max(reference, level)
    random = np.random.default_rng(0)
    # In blocks: 10,000 × 64 indices at once would be five megabytes for every cell.
    block = (RESAMPLES // 10, STARTS)
    blocks = (floored[random.integers(0, len(raw), block)] for _ in range(10))
    means = np.concatenate([each.mean(axis=1) for each in blocks])
    # A mean of equal numbers must not fall above them by rounding.
    share = float(np.mean(means <= target * (1 + 1e-12)))
    return Comparison(agreement, share, float(np.mean(means < target * (1 - 1e-12))))
