"""`optimus watch`: where a run is, on a terminal, as lines of a log, or as JSON."""

import functools
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from launch.monitoring.status import ACTIVE, MAX_AGE, MonitoringError, Status, read_status
from optimus.errors import printable

_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"  # the second where the terminal has ASCII only
_WIDEST = 120  # columns; lines that are longer are hard to read
_STATES = {"running": "green", "lost": "red", "failed": "red", "finished": "bold green"}
_RESULT = (
    "{start:+.3f} -> {end:+.3f} on {tasks:.0f} held-out tasks "
    "(change {difference:+.3f} [{low:+.3f}, {high:+.3f}])"
)
_TITLES = {"tasks": "held-out", "classical": "functions"}


def watch(
    run_dir: Path, once: bool = False, as_json: bool = False, max_age: float = MAX_AGE
) -> int:
    """Shows a run until it has ended, Ctrl-C, or `once`.

    On a terminal the view is drawn again each second; elsewhere, and on one that cannot move its
    cursor, a line is printed every 10 s.

    Args:
      run_dir: the run's directory.
      once: show it once. as_json: print `Status` as one JSON object, once.
      max_age: s, see `Status.stale`.

    Returns:
      Exit code: 0; 3 when the run is stale and this was the only look, or nobody has written a
      record for 30 s, so that waiting longer is useless.

    Raises:
      NotARun: `run_dir` is no run directory.
      MonitoringError: it cannot be read.
    """
    console, look = Console(highlight=False), functools.partial(read_status, run_dir, None, max_age)
    console.size = _size()
    try:
        status = look() if once or as_json else _follow(look, console)
        if as_json:
            print(json.dumps(asdict(status)))
        elif once:
            console.print(_view(status, console))
    except OSError as error:
        raise MonitoringError(f"cannot read {run_dir}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        return 0
    return 3 if status.stale else 0


def _follow(look: Callable[[], Status], console: Console) -> Status:
    """Returns the last status: of a run that has ended, never started, or is lost and stale."""
    status = look()
    if not console.is_terminal or console.is_dumb_terminal:
        while True:
            print(line(status, time.strftime("%H:%M:%S")), flush=True)
            if not _goes_on(status):
                return status
            time.sleep(10.0)
            status = look()
    with Live(_view(status, console), console=console, auto_refresh=False) as live:
        while _goes_on(status):
            time.sleep(1.0)
            status = look()
            console.size = _size()
            live.update(_view(status, console), refresh=True)
    return status


def _size() -> ConsoleDimensions:
    """Of the terminal, or as COLUMNS says; rich takes 80 columns for every one that is dumb."""
    found = shutil.get_terminal_size()
    return ConsoleDimensions(min(_WIDEST, found.columns), found.lines)


def _goes_on(status: Status) -> bool:
    return status.state == "running" or (status.state == "lost" and not status.stale)


# -- the view --------------------------------------------------------------------------------------


def line(status: Status, clock: str) -> str:
    """Everything in one line, for logs."""
    return "  ".join([clock, *(f"{name} {text}" for name, text in rows(status))])


def _view(status: Status, console: Console) -> Panel:
    bars = _PLAIN_BARS if console.options.ascii_only else _BARS
    return panel(status, max(8, min(40, console.width - 40)), bars)


def panel(status: Status, width: int = 40, bars: str = _BARS) -> Panel:
    """The view on a terminal; `width`: of the longest curve, drawn in these `bars`."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows(status)[1:]:  # the first is the title
        style = _STATES.get(status.state, "yellow") if name == "state" else ""
        if (name == "checkpoint" and status.stale) or name == "lost records":
            style = "red"
        if name == "meta-loss" and status.meta_loss_tail:
            text += f"  {sparkline(status.meta_loss_tail, width, bars)}"
        if name in _TITLES.values() and len(status.scores) > 1:
            scores = [each["score"] for each in status.scores]
            text += f"  {sparkline(scores, min(20, width), bars)}"
        table.add_row(Text(name, style="dim"), Text(text, style=style))
        if name == "update" and status.updates:
            done = ProgressBar(status.updates, min(status.step, status.updates), width=52)
            table.add_row("", done)
    title = Text(f" {clean(status.name)}: {clean(status.task)} ", style="bold")
    border = "red" if status.stale or status.state in ("lost", "failed") else "dim"
    return Panel(table, title=title, title_align="left", border_style=border, box=box.ROUNDED)


def rows(status: Status) -> list[tuple[str, str]]:
    """(label, text) of each line of the view."""
    state = f"{status.state} ({status.launch})" if status.launch else status.state
    if status.state == "lost":
        state += f": no record for {duration(status.last_record_age)}"
    if status.cause:
        state += f": {status.cause}"
    progress = f"{status.step}/{status.updates or '?'}"
    if status.updates:
        progress += f" ({100 * status.step // status.updates} %)"
    if status.updates_per_second is not None and status.state in ACTIVE:
        progress += f", {_speed(status.updates_per_second)}"
    if status.eta_seconds is not None:
        progress += f", {duration(status.eta_seconds)} left"
    evaluations = str(status.evaluations)
    if status.evaluations_per_second is not None:
        evaluations += f", {status.evaluations_per_second:.1f}/s"
    made = [
        ("run", f"{status.name}: {status.task}"),
        ("state", state),
        ("update", progress),
        ("meta-loss", "-" if status.meta_loss is None else f"{status.meta_loss:+.4g}"),
        *_judged(status),
        ("evaluations", evaluations),
        ("checkpoint", _checkpoint(status)),
        ("samples", _samples(status)),
        *_roles(status),
    ]
    bad = {reply: count for reply, count in status.replies.items() if reply != "ok"}
    calls = {name: n for name, n in status.calls.items() if n and name not in ("ok", "tries")}
    lost, strangers = status.records_lost, status.refused_calls
    notes = {
        "time": _shares(status.time_shares),
        "replies": bad and listed(bad),
        "calls": calls and f"{listed(calls)}, of {status.calls.get('tries', '?')}",
        "strangers": strangers and f"calls refused: {listed(strangers)}",
        "lost records": lost and f"{lost}: the disk refused them",
        "damaged lines": status.lines_damaged and damage(status.lines_damaged),
    }
    made += [(name, str(text)) for name, text in notes.items() if text]
    return [(clean(name), clean(text)) for name, text in made]


def _judged(status: Status) -> Iterator[tuple[str, str]]:
    if status.validation is not None:
        gap = f"mean log10 gap {status.validation:+.3f} after {status.validation_step} updates"
        yield "validation", gap
    if status.scores:
        newest = status.scores[-1]
        text = f"{newest['score']:+.4g} at {newest['step']}"
        if status.best_score is not None:
            text += f", best {status.best_score:+.4g} at {status.best_step}"
        if status.evaluations_failed:
            text += f", {status.evaluations_failed} FAILED"
        yield _TITLES.get(status.score_of or "", "score"), text
    elif status.evaluations_failed:
        yield "held-out", f"{status.evaluations_failed} evaluations FAILED: see eval.jsonl"
    if status.comparison:
        yield "result", _RESULT.format(**status.comparison)


def _checkpoint(status: Status) -> str:
    saved = "none"
    if status.checkpoint_step is not None:
        saved = f"{status.checkpoint_step}, {duration(status.checkpoint_age)} old"
    if status.best_step is not None:
        saved += f"; best {status.best_step}"
    if status.stale:
        saved += f"; TOO OLD, limit {duration(status.max_age)}"
    return saved


def _samples(status: Status) -> str:
    samples = f"staleness {status.staleness_max or 0}, failed {status.failed}, "
    samples += f"refused {listed(status.refused)}"
    if status.waiting_share is not None:
        samples += f"; the learner waits {status.waiting_share:.0%} of its time"
    return samples


def _roles(status: Status) -> Iterator[tuple[str, str]]:
    for role, count in status.roles.items():
        active = status.state in ACTIVE
        text = f"{count['alive']}/{count['total']} alive" if active else str(count["total"])
        work = status.work.get(role)
        if work:
            text += f", {work['busy']:.0f} busy ({work['share']:.0%} of their time)"
        if role == "physics_worker" and status.quarantined is not None:
            text += f", {status.quarantined} quarantined"
        yield role, text


def _shares(shares: Mapping[str, float]) -> str:
    """ "learner 1%, loss 5%; actor: losses 3%, network 21%"."""
    whose: dict[str, list[str]] = {}
    for name, share in shares.items():
        role, separator, part = name.rpartition(": ")
        whose.setdefault(role + separator, []).append(f"{part} {share:.0%}")
    return "; ".join(role + ", ".join(parts) for role, parts in whose.items())


def listed(counts: Mapping[str, int]) -> str:
    """ "2 busy, 1 error", or "0"."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "0"


def clean(text: str) -> str:
    """One line of it: what a foreign file says must not steer the terminal."""
    return printable(text, keep="")


def damage(lines: Mapping[str, int]) -> str:
    """ "2 in eval.jsonl: passed over": lines that are no record, by file."""
    where = ", ".join(f"{count} in {name}" for name, count in sorted(lines.items()))
    return f"{where}: passed over"


def _speed(updates_per_second: float) -> str:
    if updates_per_second >= 0.1 or updates_per_second == 0:
        return f"{updates_per_second:.2g}/s"
    return f"{60 * updates_per_second:.2g}/min"


def duration(seconds: float | None) -> str:
    """For people: "90 s", "12 min", "5.0 h", "3.1 days"."""
    if seconds is None:
        return "?"
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def sparkline(values: Sequence[float], width: int = 40, bars: str = _BARS) -> str:
    """At most `width` of the eight bars, each the mean of its share of the values."""
    if not values:
        return ""
    width = min(width, len(values))
    edges = [len(values) * k // width for k in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(bars[max(0, min(7, int(8 * (mean - low) / span)))] for mean in means)
