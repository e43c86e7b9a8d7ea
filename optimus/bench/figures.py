"""Pictures of the benchmark; the only module that needs matplotlib (extra [bench])."""

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimus.bench.storage import Traces
from optimus.installation import extra_command

LABELS = {
    "performance": "evaluations / least evaluations",
    "data": "evaluations / (N + 1)",
    "value": "gap / least gap at the budget",
}


def drawable(say: Callable[[str], None]) -> bool:
    """Whether matplotlib is installed; if it is not, `say` takes a line with what to install."""
    found = importlib.util.find_spec("matplotlib") is not None
    if not found:
        say(f"no pictures, matplotlib is missing: {extra_command('bench')}")
    return found


def figure_of(
    panels: int, columns: int = 4, width: float = 3.6, height: float = 3.0
) -> tuple[Any, list[Any]]:
    """A figure without a display, and its axes; no global state of pyplot is touched.

    Args:
      panels: axes.
      columns: most of them side by side.
      width, height: of each, inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(panels, columns)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in axes[panels:]:
        empty.set_axis_off()
    return figure, list(axes[:panels])


def styles_of(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each method: ten colours, then the same dashed."""
    return {
        method: {"color": f"C{i % 10}", "linestyle": ("-", "--", ":")[i // 10 % 3], "label": method}
        for i, method in enumerate(dict.fromkeys(methods))
    }


def finish(figure: Any, path: Path, axes: Sequence[Any] = ()) -> Path:
    """Writes a picture, with one legend beside all panels that `axes` names."""
    lines = {line.get_label(): line for axis in axes for line in axis.get_lines()}
    if lines:
        figure.legend(lines.values(), lines.keys(), loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=120)
    return path


def draw_profiles(lines: Sequence[dict[str, Any]], path: Path) -> Path:
    """All profiles of `report.profile_rows`, a panel each."""
    kinds = list(dict.fromkeys((line["profile"], line["tau"]) for line in lines))
    styles = styles_of(line["method"] for line in lines)
    figure, axes = figure_of(len(kinds))
    for axis, (kind, tau) in zip(axes, kinds, strict=True):
        chosen = [line for line in lines if (line["profile"], line["tau"]) == (kind, tau)]
        for method in dict.fromkeys(line["method"] for line in chosen):
            points = [(each["at"], each["share"]) for each in chosen if each["method"] == method]
            axis.step(*np.transpose(points), where="post", linewidth=1.2, **styles[method])
        axis.set(xscale="log", ylim=(-0.02, 1.02), xlabel=LABELS[kind], ylabel="share of problems")
        words = f"{kind} profile" + (f", τ = {tau}" if tau else "")
        axis.set_title(f"{words} ({chosen[0]['problems']} problems)", fontsize=8)
    return finish(figure, path, axes)


def draw_mean(axis: Any, mean: np.ndarray, style: Mapping[str, Any]) -> None:
    """Mean best-so-far `[P]` against evaluations; what is not positive is not drawn (log scale)."""
    mean = np.where(np.isfinite(mean) & (mean > 0), mean, np.nan)
    marker = "o" if len(mean) == 1 else None
    axis.plot(1 + np.arange(len(mean)), mean, linewidth=1.2, marker=marker, **style)
    axis.set(xscale="log", yscale="log", xlabel="evaluations", ylabel="mean best-so-far")


def draw_curves(traces: Traces, folder: Path) -> list[Path]:
    """`draw_mean` of every cell, a picture per function, a panel per dimension.

    Methods that stop early keep their last value.
    """
    written = []
    styles = styles_of(method for _, _, method in traces)
    folder.mkdir(parents=True, exist_ok=True)
    for function in dict.fromkeys(key[0] for key in traces):
        chosen = {key: path for key, path in traces.items() if key[0] == function}
        dims = sorted({dim for _, dim, _ in chosen})
        figure, axes = figure_of(len(dims))
        for (_, dim, method), path in chosen.items():
            with np.load(path) as arrays, np.errstate(invalid="ignore", over="ignore"):
                draw_mean(axes[dims.index(dim)], np.mean(arrays["best"], axis=0), styles[method])
        for axis, dim in zip(axes, dims, strict=True):
            axis.set_title(f"{function}, {dim}", fontsize=9)
        written.append(finish(figure, folder / f"{function}.png", axes))
    return written
