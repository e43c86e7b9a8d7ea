"""Pictures of the motion benchmark (needs matplotlib, extra [bench])."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PANELS = {
    "loss_median": "loss, median",
    "mpjpe_g": "MPJPE-G, mm",
    "mpjpe": "MPJPE, mm",
    "mpjpe_pa": "MPJPE-PA, mm",
    "foot_skate": "foot skate, %",
    "total_variation": "TV, mm/frame²",
}
AGAINST = {
    "evaluation": "evaluations",
    "seconds": "seconds, as measured",
    "seconds_at_4s": "seconds, 4 s an evaluation",
}


def draw_curves(curves: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> list[Path]:
    """`curves_<against>.png` for each of AGAINST; rows that optimise nothing are level lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written = []
    for against, label in AGAINST.items():
        # Fixed margins: matplotlib's own layout takes three times as long as the rest.
        figure = Figure(figsize=(11.5, 6.0))
        figure.subplots_adjust(0.055, 0.085, 0.835, 0.95, wspace=0.22, hspace=0.33)
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 3).ravel()
        for axis, (key, title) in zip(axes, PANELS.items()):
            for i, (method, values) in enumerate(curves.items()):
                _draw(axis, values[against], values[key], method, i)
            axis.set(xlabel=label, xscale="log")
            axis.set_title(title, fontsize=9)
            if key == "loss_median":
                axis.set_yscale("log")
            else:
                axis.set_ylim(bottom=0)
            axis.grid(alpha=0.25, linewidth=0.5)
        lines = {line.get_label(): line for axis in axes for line in axis.get_lines()}
        figure.legend(
            lines.values(), lines.keys(), loc="upper left", bbox_to_anchor=(0.84, 0.96), fontsize=8
        )
        path = folder / f"curves_{against}.png"
        figure.savefig(path, dpi=120)
        written.append(path)
    return written


def _draw(axis: Any, x: np.ndarray, y: np.ndarray, method: str, i: int) -> None:
    if len(y) == 1:
        if np.isfinite(y[0]):
            axis.axhline(y[0], color=f"C{i % 10}", linestyle=":", linewidth=1.2, label=method)
        return
    axis.plot(np.maximum(x, 1e-4), y, color=f"C{i % 10}", linewidth=1.4, label=method)
