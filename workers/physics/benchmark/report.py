"""The report of the motion benchmark: CSV files, a table, pictures.

Curves are indexed by evaluation: the best point until then, its loss (median and mean over windows)
and its metrics (means). A run that ended early keeps its last point. Time is shown twice for the
same curves: as measured (mean over windows), and with 4 s for each evaluation, the cost in the
paper, plus the time measured outside evaluations.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimus.bench.figures import figure_of, finish, styles_of
from optimus.bench.storage import markdown_table, write_csv
from optimus.rundir.checkpoint import write_atomically
from workers.physics.benchmark import targets
from workers.physics.benchmark.cells import Cell, extended
from workers.physics.benchmark.plan import Settings
from workers.physics.loss.metrics import COLUMNS, HEADS

Say = Callable[[str], None]
PAPER_SECONDS = 4.0  # of one evaluation
CLOSE, NEAR = 30.0, 50.0  # mm: root-aligned and global error of a clip that was reached
SEEN = ("mpjpe_g", "mpjpe", "mpjpe_pa", "foot_skate", "total_variation")
PANELS = {"loss_median": "loss, median"} | {key: HEADS[key] for key in SEEN}
AGAINST = {
    "evaluation": "evaluations",
    "seconds": "seconds, as measured",
    "seconds_at_4s": "seconds, 4 s an evaluation",
}


def write(settings: Settings, cells: Sequence[Cell], out: Path, figures: bool = True) -> list[Path]:
    """Writes everything into `out`; the paths.

    Args:
      settings: of the benchmark. cells: all of them. out: folder.
      figures: whether to draw as well, which needs matplotlib.
    """
    curves = {method: curve(some, settings.budget) for method, some in _by_method(cells).items()}
    rows = [
        {"method": method} | {key: column[e] for key, column in values.items()}
        for method, values in curves.items()
        for e in range(len(values["evaluation"]))
    ]
    reached = targets.table(cells, settings.budget)
    whole = table(settings, cells) + (f"\n{reached}" if reached else "")
    results = write_csv(out / "results.csv", six_digits(map(_row, cells)))
    written = [results, write_csv(out / "curves.csv", six_digits(rows)), out / "table.md"]
    write_atomically(written[-1], whole)
    return written + (draw_curves(curves, out) if figures else [])


def _by_method(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    methods = dict.fromkeys(cell.method for cell in cells)
    return {method: [cell for cell in cells if cell.method == method] for method in methods}


def curve(cells: Sequence[Cell], budget: int) -> dict[str, np.ndarray]:
    """Columns of `curves.csv` but the method, each [E]; one entry where nothing is optimised."""
    count = budget if max(len(cell.best) for cell in cells) > 1 else 1
    best = np.stack([extended(cell.best, count) for cell in cells])
    looks = np.stack([_metrics_by_evaluation(cell, count) for cell in cells])
    elapsed = np.stack([extended(cell.elapsed, count) for cell in cells])
    outside = elapsed - np.stack([extended(cell.evaluating, count) for cell in cells])
    made = np.stack([np.minimum(np.arange(1, count + 1), len(cell.best)) for cell in cells])
    with np.errstate(invalid="ignore"):
        columns = {"evaluation": np.arange(1, count + 1), "loss_median": np.median(best, axis=0)}
        columns["loss_mean"] = np.mean(best, axis=0)
        columns |= dict(zip(COLUMNS, np.moveaxis(np.mean(looks, axis=0), -1, 0)))
        columns["seconds"] = np.mean(elapsed, axis=0)
        columns["seconds_at_4s"] = np.mean(PAPER_SECONDS * made + outside, axis=0)
        return columns


def _metrics_by_evaluation(cell: Cell, count: int) -> np.ndarray:
    """[count, len(COLUMNS)] of the best point until each evaluation; NaN before there is one."""
    result = np.full((count, len(COLUMNS)), np.nan)
    for at, values in zip(cell.at, cell.metrics):
        result[at:] = values
    return result


def _row(cell: Cell) -> dict[str, Any]:
    last = cell.metrics[-1] if len(cell.metrics) else np.full(len(COLUMNS), np.nan)
    optimises = cell.status != "baseline"
    outside = cell.elapsed[-1] - cell.evaluating[-1]
    evaluations = len(cell.best) if optimises else 0
    row: dict[str, Any] = {"method": cell.method, "window": cell.window, "status": cell.status}
    row |= {"evaluations": evaluations, "loss": cell.best[-1], **dict(zip(COLUMNS, last))}
    row |= {"lr": "" if np.isnan(cell.lr) else cell.lr, "seconds": cell.elapsed[-1]}
    row["seconds_evaluating"] = cell.evaluating[-1]
    return row | {"seconds_at_4s": PAPER_SECONDS * evaluations + outside}


def six_digits(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a CSV file, whose numbers have six digits."""
    return [{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def table(settings: Settings, cells: Sequence[Cell]) -> str:
    """Markdown: what was run, a row per method, and how many windows were reached."""
    options = settings.options
    lines = [
        f"Motion windows: split {settings.split}, {settings.length:g} s at most, control "
        f"{options.control} around the {options.target_base} pose, start {settings.start}, "
        f"{settings.budget} evaluations, dt {options.dt:.5f} s, "
        f"frames at {options.frame_rate:g} Hz.",
        "",
        *markdown_table([_summary(*item) for item in _by_method(cells).items()]),
        "",
        "Metrics are means over windows, of each window's best point by loss; "
        "milliseconds are per evaluation, as measured on this machine.",
    ]
    return "\n".join(lines) + "\n"


def _summary(method: str, cells: Sequence[Cell]) -> dict[str, str]:
    """A method's row of the table."""
    rows = [_row(cell) for cell in cells]
    count = sum(row["evaluations"] for row in rows)
    inside = sum(row["seconds_evaluating"] for row in rows)
    outside = sum(row["seconds"] for row in rows) - inside
    with np.errstate(invalid="ignore"):
        means = {HEADS[key]: f"{np.mean([row[key] for row in rows]):.1f}" for key in COLUMNS}
        loss = float(np.median([row["loss"] for row in rows]))

    def below(key: str, limit: float) -> str:
        return f"{sum(row[key] < limit for row in rows)} of {len(rows)}"

    return {
        "method": method,
        "windows": str(len(rows)),
        "loss, median": "–" if np.isnan(loss) else f"{loss:.4g}",
        **means,
        "evaluations": f"{count / len(rows):.0f}",
        "loss ms": f"{1e3 * inside / count:.2f}" if count else "–",
        "optimizer ms": f"{1e3 * outside / count:.2f}" if count else "–",
        f"MPJPE < {CLOSE:g}": below("mpjpe", CLOSE),
        f"MPJPE-G < {NEAR:g}": below("mpjpe_g", NEAR),
    }


def draw_curves(curves: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> list[Path]:
    """`curves_<against>.png` for each of AGAINST (needs matplotlib).

    curves: method -> `curve` of it, arrays `[E]`; rows that optimise nothing are level lines.
    """
    styles, written = styles_of(curves), []
    for against, label in AGAINST.items():
        figure, axes = figure_of(len(PANELS), columns=3)
        for axis, (key, title) in zip(axes, PANELS.items()):
            for method, values in curves.items():
                _draw(axis, values[against], values[key], styles[method])
            axis.set(xlabel=label, xscale="log")
            axis.set_title(title, fontsize=9)
            if key == "loss_median":
                axis.set_yscale("log")
            else:
                axis.set_ylim(bottom=0)
            axis.grid(alpha=0.25, linewidth=0.5)
        written.append(finish(figure, folder / f"curves_{against}.png", axes))
    return written


def _draw(axis: Any, x: np.ndarray, y: np.ndarray, style: dict[str, Any]) -> None:
    if len(y) > 1:
        axis.plot(np.maximum(x, 1e-4), y, linewidth=1.4, **style)
    elif np.isfinite(y[0]):
        axis.axhline(y[0], linewidth=1.2, **style | {"linestyle": ":"})
