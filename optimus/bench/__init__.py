"""Benchmarks: the paper's tables and figures, remade."""

import functools
import os
from collections.abc import Callable

from rich import progress
from rich.console import Console


def printer(console: Console) -> Callable[[str], None]:
    """Prints lines as they are: brackets are no markup, and a long line stays one."""
    return functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)


def progress_bar(console: Console, clock: progress.ProgressColumn) -> progress.Progress:
    """What is done now, how much of it is done, and a clock."""
    text = progress.TextColumn("{task.description}")
    columns = (text, progress.BarColumn(), progress.MofNCompleteColumn(), clock)
    return progress.Progress(*columns, console=console)


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)
