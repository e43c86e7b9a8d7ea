"""Where one thread's time goes: it does one thing at a time, and says when that changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class TimeIn:
    """Seconds by activity of one thread; any thread may read them, what is going on included.

    Args:
      activity: what the thread does from now on. clock: s, monotonic.
    """

    def __init__(self, activity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._activity, self._since = clock, activity, clock()
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def enter(self, activity: str) -> None:
        """From now on the thread does this; what it did until now is charged."""
        with self._lock:
            self._charge()
            self._activity = activity

    def record(self) -> dict[str, float]:
        """Cumulative s by activity, for a metrics record; they add up to the age of this object."""
        with self._lock:
            self._charge()
            return {name: round(seconds, 4) for name, seconds in sorted(self._seconds.items())}

    def _charge(self) -> None:
        now = self._clock()
        spent = max(0.0, now - self._since)
        self._seconds[self._activity] = self._seconds.get(self._activity, 0.0) + spent
        self._since = now
