"""Draws watch-{light,dark}.svg: what `optimus watch RUN_DIR` shows now.

    python scripts/draw_watch.py RUN_DIR [FOLDER]      # FOLDER is docs/assets by default

docs/reference/monitoring has those of a run with several processes.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI, TerminalTheme

from launch.monitoring.status import read_status
from launch.monitoring.watch import panel

OUT = Path(__file__).resolve().parents[1] / "docs" / "assets"
LIGHT = TerminalTheme(
    (255, 255, 255),
    (36, 41, 47),
    [
        (36, 41, 47),
        (207, 34, 46),
        (17, 99, 41),
        (154, 103, 0),
        (9, 105, 218),
        (130, 80, 223),
        (27, 124, 131),
        (87, 96, 106),
    ],
)


def main(run_dir: Path, folder: Path = OUT) -> None:
    """Writes both forms into a folder, without what rich's SVG would fetch from the net."""
    for name, theme in (("light", LIGHT), ("dark", DIMMED_MONOKAI)):
        console = Console(record=True, width=80, file=io.StringIO(), highlight=False)
        console.print(panel(read_status(run_dir)))
        svg = console.export_svg(title=f"optimus watch {run_dir}", theme=theme)
        svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
        svg = svg.replace("Fira Code, monospace", "ui-monospace, DejaVu Sans Mono, monospace")
        (folder / f"watch-{name}.svg").write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
