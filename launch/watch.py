"""`optimus watch`: shows where a run is, on a terminal, in a log, or as JSON."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from launch.status import ACTIVE, MAX_AGE, NotARun, Status, read_status

_BARS = "▁▂▃▄▅▆▇█"


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
      Exit code: 0; 1 when `run_dir` is no run directory; 3 when the run is stale and this was the
      only look, or nobody has written a record for 30 s, so that waiting longer is useless.
    """
    limit = MAX_AGE if max_age is None else max_age
    console = Console(highlight=False)
    try:
        if as_json:
            status = read_status(run_dir, max_age=limit)
            print(json.dumps(asdict(status)))
        elif once:
            status = read_status(run_dir, max_age=limit)
            console.print(_view(status))
        else:
            status = _follow(run_dir, limit, console)
    except (NotARun, OSError) as error:
        print(f"optimus watch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 3 if status.stale else 0


def _follow(run_dir: Path, max_age: float, console: Console) -> Status:
    """Returns the last status: of a run that has ended, never started, or is lost and stale."""
    status = read_status(run_dir, max_age=max_age)
    if not console.is_terminal:
        print(_line(status), flush=True)
        while _goes_on(status):
            time.sleep(10.0)
            status = read_status(run_dir, max_age=max_age)
            print(_line(status), flush=True)
        return status
    with Live(_view(status), console=console, auto_refresh=False) as live:
        while _goes_on(status):
            time.sleep(1.0)
            status = read_status(run_dir, max_age=max_age)
            live.update(_view(status), refresh=True)
    return status


def _goes_on(status: Status) -> bool:
    return status.state == "running" or (status.state == "lost" and not status.stale)


def _line(status: Status) -> str:
    rows = (f"{name} {text}" for name, text in _rows(status))
    return "  ".join([time.strftime("%H:%M:%S"), *rows])


def _view(status: Status) -> Table:
    """Fits 80 columns."""
    styles = {"running": "green", "lost": "red", "failed": "red", "finished": "bold green"}
    table = Table.grid(padding=(0, 2))
    for name, text in _rows(status):
        style = styles.get(status.state, "yellow") if name == "state" else ""
        if name == "checkpoint" and status.stale:
            style = "red"
        if name == "meta-loss":
            text += f"  {_sparkline(status.meta_loss_tail)}"
        table.add_row(Text(name, style="dim"), Text(text, style=style))
    return table


def _rows(status: Status) -> list[tuple[str, str]]:
    """(label, text) of each line of the view."""
    state = f"{status.state} ({status.launch})" if status.launch else status.state
    if status.state == "lost":
        state += f": no record for {_duration(status.last_record_age)}"
    if status.cause:
        state += f": {status.cause}"
    progress = f"{status.step}/{status.updates or '?'}"
    if status.updates:
        progress += f" ({100 * status.step // status.updates} %)"
    if status.eta_seconds is not None:
        progress += f", {_duration(status.eta_seconds)} left"
    evaluations = str(status.evaluations)
    if status.evaluations_per_second is not None:
        evaluations += f", {status.evaluations_per_second:.1f}/s"
    saved = "none"
    if status.checkpoint_step is not None:
        saved = f"{status.checkpoint_step}, {_duration(status.checkpoint_age)} old"
    if status.stale:
        saved += f"; TOO OLD, limit {_duration(status.max_age)}"
    samples = f"staleness {status.staleness_max or 0}, failed {status.failed}, "
    samples += f"refused {_listed(status.refused)}"
    if status.waiting_share is not None:
        samples += f"; the learner waits {status.waiting_share:.0%} of its time"
    rows = [
        ("run", f"{status.name}: {status.task}"),
        ("state", state),
        ("update", progress),
        ("meta-loss", "-" if status.meta_loss is None else f"{status.meta_loss:+.4g}"),
        ("evaluations", evaluations),
        ("checkpoint", saved),
        ("samples", samples),
    ]
    for role, count in status.roles.items():
        alive = f"{count['alive']}/" if status.state in ACTIVE else ""
        rows.append((role, f"{alive}{count['total']}" + (" alive" if alive else "")))
    if status.validation is not None:
        gap = f"mean log10 gap {status.validation:+.3f} after {status.validation_step} updates"
        rows.insert(4, ("validation", gap))
    bad = {reply: count for reply, count in status.replies.items() if reply != "ok"}
    return rows + ([("replies", _listed(bad))] if bad else [])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "0"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _sparkline(values: list[float], width: int = 40) -> str:
    """At most `width` bars, each the mean of its share of the values."""
    if not values:
        return ""
    width = min(width, len(values))
    edges = [len(values) * k // width for k in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(_BARS[min(7, int(8 * (mean - low) / span))] for mean in means)
