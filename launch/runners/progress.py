"""Where a run is, said every few seconds while `optimus train` waits for it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optimus.config import TrainConfig
from optimus.rundir.metrics import tail


class Progress:
    """Says where the run is every few seconds, from its metrics file alone."""

    def __init__(
        self, run_dir: Path, config: TrainConfig, say: Callable[[str], None], unit: str
    ) -> None:
        self._unit = unit
        self._path = run_dir / "metrics" / "learner-0.jsonl"
        self._config = config
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._began = time.time()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        interval = 2.0 if sys.stderr.isatty() else 10.0
        shown = -1
        while not self._stop.wait(interval):
            record = _last_update(self._path, self._began)
            if record is None:
                self._say(f"starting ... {time.time() - self._began:.0f} s")
            elif record["step"] != shown:
                shown = record["step"]
                rate = record["step_rate"]
                left = (self._config.updates - shown) / rate if rate else float("nan")
                phases = len(self._config.phases)
                phase = f"  phase {record['phase'] + 1}/{phases}" if phases > 1 else ""
                self._say(
                    f"update {shown}/{self._config.updates}{phase}  "
                    f"meta-loss {record['meta_loss']:+.3f}  "
                    f"{record['evaluations_rate']:.0f} {self._unit}/s  {left:.0f} s left"
                )


def _last_update(path: Path, since: float) -> dict[str, Any] | None:
    """Newest update record of this life, with rates over its last records."""
    if not path.exists():
        return None
    updates = [r for r in tail(path) if r["event"] == "update" and r["time"] >= since]
    if not updates:
        return None
    first, last = updates[0], updates[-1]
    seconds = last["time"] - first["time"]
    share = 1.0 / seconds if seconds > 0 else 0.0
    last["meta_loss"] = float(last["meta_loss"])
    last["step_rate"] = (last["step"] - first["step"]) * share
    last["evaluations_rate"] = (last["evaluations"] - first["evaluations"]) * share
    return last
