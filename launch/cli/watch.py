"""`optimus watch`: where a run is, from its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from launch import Say


@dataclass(frozen=True)
class Watch:
    """Look at a run: progress, meta-loss, workers alive, age of the newest checkpoint.

    Reads files only: works on a running, finished or copied run directory. Exit code 3 when a
    running run's newest checkpoint is older than --max-age.
    """

    run_dir: tyro.conf.Positional[Path]
    """The run's directory."""
    once: bool = False
    """Print once and end."""
    json: bool = False
    """Print one JSON object and end."""
    max_age: float = 600.0
    """Age of the newest checkpoint, in seconds, from which a running run counts as stale."""

    def run(self, say: Say) -> int:
        """Exit code 0 or 3; `NotARun` when the path is no run directory."""
        from launch.monitoring.watch import watch

        return watch(self.run_dir, self.once, self.json, self.max_age)
