"""`optimus watch`: shows where a run is, on a terminal, in a log, or as JSON."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.live import Live

from launch.monitoring.status import MAX_AGE, MonitoringError, Status, read_status
from launch.monitoring.watch_view import line, panel


def watch(
    run_dir: Path, once: bool = False, as_json: bool = False, max_age: float | None = None
) -> int:
    """Shows a run until it has ended, Ctrl-C, or `once`.

    On a terminal the view is drawn again each second, elsewhere a line is printed every 10 s.

    Args:
      run_dir: the run's directory.
      once: show it once. as_json: print `Status` as one JSON object, once.
      max_age: s, see `Status.stale`; None: 120.

    Returns:
      Exit code: 0; 3 when the run is stale and this was the only look, or nobody has written a
      record for 30 s, so that waiting longer is useless.

    Raises:
      NotARun: `run_dir` is no run directory.
      MonitoringError: it cannot be read.
    """
    limit = MAX_AGE if max_age is None else max_age
    console = Console(highlight=False)
    try:
        if as_json:
            status = read_status(run_dir, max_age=limit)
            print(json.dumps(asdict(status)))
        elif once:
            status = read_status(run_dir, max_age=limit)
            console.print(panel(status))
        else:
            status = _follow(run_dir, limit, console)
    except OSError as error:
        raise MonitoringError(f"cannot read {run_dir}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        return 0
    return 3 if status.stale else 0


def _follow(run_dir: Path, max_age: float, console: Console) -> Status:
    """Returns the last status: of a run that has ended, never started, or is lost and stale."""
    status = read_status(run_dir, max_age=max_age)
    if not console.is_terminal:
        print(line(status, time.strftime("%H:%M:%S")), flush=True)
        while _goes_on(status):
            time.sleep(10.0)
            status = read_status(run_dir, max_age=max_age)
            print(line(status, time.strftime("%H:%M:%S")), flush=True)
        return status
    with Live(panel(status), console=console, auto_refresh=False) as live:
        while _goes_on(status):
            time.sleep(1.0)
            status = read_status(run_dir, max_age=max_age)
            live.update(panel(status), refresh=True)
    return status


def _goes_on(status: Status) -> bool:
    return status.state == "running" or (status.state == "lost" and not status.stale)
