"""A histogram of durations that goes into a metrics record and out again as Prometheus wants it."""

import bisect
import math
import threading
from collections.abc import Iterable, Mapping
from typing import Any

BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # s


class Histogram:
    """Counts durations (s) by bucket; cheap enough for every call, safe between threads."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: float) -> None:
        """Counts one duration; what is not finite or negative counts as 0."""
        seconds = seconds if math.isfinite(seconds) and seconds > 0 else 0.0
        with self._lock:
            self._counts[bisect.bisect_left(BOUNDS, seconds)] += 1
            self._sum += seconds

    def record(self) -> dict[str, Any]:
        """For a metrics record: {"counts": per bucket and above the last, "sum": s}."""
        with self._lock:
            return {"counts": list(self._counts), "sum": round(self._sum, 4)}


def total(records: Iterable[Any]) -> dict[str, Any] | None:
    """The sum of several `record()`s, foreign ones passed over; None without any."""
    good = [each for each in records if isinstance(each, Mapping) and _good(each)]
    counts = [sum(bucket) for bucket in zip(*(each["counts"] for each in good))]
    seconds = sum(float(each["sum"]) for each in good)
    return {"counts": counts, "sum": seconds} if good else None


def _good(record: Mapping[str, Any]) -> bool:
    counts, seconds = record.get("counts", ()), record.get("sum")
    whole = isinstance(counts, list) and len(counts) == len(BOUNDS) + 1
    number = isinstance(seconds, (int, float)) and math.isfinite(seconds)
    return whole and number and all(isinstance(n, int) and n >= 0 for n in counts)


def quantile(record: Mapping[str, Any], share: float) -> float | None:
    """Upper bound (s) of the bucket in which a share of the durations has ended; None if empty."""
    counts = record["counts"]
    wanted, seen = share * sum(counts), 0
    for bound, count in zip((*BOUNDS, math.inf), counts):
        seen += count
        if count and seen >= wanted:
            return bound
    return None
