"""Benchmarks: the paper's tables and figures, remade."""

import functools
from collections.abc import Callable

from rich.console import Console


def printer(console: Console) -> Callable[[str], None]:
    """Prints lines as they are: brackets are no markup, and a long line stays one."""
    return functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
