"""Where a run is, said every few seconds while `optimus train` waits for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch import Say
from optimus.config import TrainConfig
from optimus.rundir.metrics import tail


def say_progress(
    run_dir: Path, config: TrainConfig, say: Say, unit: str, wait: Callable[[float], bool]
) -> None:
    """Says where the run is every few seconds, from its metrics file alone.

    Args:
      run_dir: where the run lives.
      config: what runs.
      say: takes lines for the user.
      unit: of the evaluations.
      wait: `wait(seconds)` says whether to end.
    """
    path, began = run_dir / "metrics" / "learner-0.jsonl", time.time()
    interval, phases = 2.0 if sys.stderr.isatty() else 10.0, len(config.phases)
    shown = -1
    while not wait(interval):
        record = _last_update(path, began)
        if record is None:
            say(f"starting ... {time.time() - began:.0f} s")
        elif record["step"] != shown:
            shown, rate = record["step"], record["step_rate"]
            left = (config.updates - shown) / rate if rate else float("nan")
            phase = f"  phase {record['phase'] + 1}/{phases}" if phases > 1 else ""
            say(
                f"update {shown}/{config.updates}{phase}  meta-loss {record['meta_loss']:+.3f}  "
                f"{record['evaluations_rate']:.0f} {unit}/s  {left:.0f} s left"
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
