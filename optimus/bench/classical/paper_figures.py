"""The paper's figures 4, 5 and 6, remade; their numbers, and with matplotlib the pictures.

Fig. 4: loss against the number of evaluations, Rosenbrock, largest N there is.
Fig. 5: mean over the starts against N, a panel per function; under `paper` with the printed values.
Fig. 6: trajectories on Rosenbrock in the plane of the first two coordinates, a panel per method.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from optimus.bench.figures import draw_mean, figure_of, finish, styles_of
from optimus.bench.storage import Row, Traces
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS

FUNCTION = "rosenbrock"
EVALUATION_COLUMNS = ("function", "dim", "method", "evaluations", "mean", "median")
PATH_COLUMNS = ("function", "dim", "method", "start", "iteration", "z1", "z2")
HALF_WIDTH = 12.0  # of a panel of Fig. 6; the starts lie in ±10


def evaluation_rows(traces: Traces) -> list[Row]:
    """Fig. 4: best-so-far by evaluation over the starts; methods that end early keep their last."""
    dims = [dim for function, dim, _ in traces if function == FUNCTION]
    found: list[Row] = []
    for (function, dim, method), path in traces.items():
        if function != FUNCTION or dim != max(dims):
            continue
        with np.load(path) as arrays, np.errstate(invalid="ignore", over="ignore"):
            mean, median = (each(arrays["best"], axis=0) for each in (np.mean, np.median))
        for index, values in enumerate(zip(mean.tolist(), median.tolist())):
            found.append(dict(zip(EVALUATION_COLUMNS, (function, dim, method, index + 1, *values))))
    return found


def draw_evaluations(rows: Sequence[Row], path: Path) -> Path:
    """Fig. 4 of `evaluation_rows`."""
    styles = styles_of(row["method"] for row in rows)
    figure, (axis,) = figure_of(1, width=6.5, height=4.5)
    for method, style in styles.items():
        mean = np.array([row["mean"] for row in rows if row["method"] == method])
        draw_mean(axis, mean, style)
    axis.set_title(f"{FUNCTION}, N = {rows[0]['dim']}", fontsize=9)
    return finish(figure, path, [axis])


def draw_per_function(summary: Sequence[Row], path: Path) -> Path:
    """Fig. 5 of `report.summarise`: solid ours, dotted the print. A value of 0 is at the bottom."""
    styles = styles_of(line["method"] for line in summary)
    functions = [name for name in FUNCTIONS if any(line["function"] == name for line in summary)]
    figure, axes = figure_of(len(functions))
    for axis, function in zip(axes, functions, strict=True):
        mine = [line for line in summary if line["function"] == function]
        shown = [line[name] for line in mine for name in ("mean", "printed")]
        least = min([value for value in shown if value and 0 < value < np.inf], default=1.0)
        for method in dict.fromkeys(line["method"] for line in mine):
            lines = [line for line in mine if line["method"] == method]
            dims, mean = np.transpose(sorted((line["dim"], line["mean"]) for line in lines))
            mean = np.where(np.isfinite(mean), np.maximum(mean, least / 3), np.nan)
            axis.plot(dims, mean, marker=".", linewidth=1.2, **styles[method])
            dotted = {"color": styles[method]["color"], "linestyle": ":", "linewidth": 1.0}
            known = [line for line in lines if line["printed"] is not None]
            if known:
                pairs = sorted((line["dim"], line["printed"]) for line in known)
                dims, printed = np.transpose(pairs)
                axis.plot(dims, np.maximum(printed, least / 3), label="dotted: the print", **dotted)
        axis.set(xscale="log", yscale="log", xlabel="N", ylabel="mean best-so-far")
        axis.set_title(function, fontsize=9)
    return finish(figure, path, axes)


def path_rows(traces: Traces) -> list[Row]:
    """Fig. 6: where start 0 went, for the smallest and the largest N whose cells have a path."""
    paths: dict[tuple[int, str], np.ndarray] = {}
    for (function, dim, method), path in traces.items():
        if function == FUNCTION:
            with np.load(path) as arrays:
                if "path" in arrays:
                    paths[dim, method] = arrays["path"][0]
    dims = sorted({dim for dim, _ in paths})
    return [
        dict(zip(PATH_COLUMNS, (FUNCTION, dim, method, 0, iteration, *point)))
        for (dim, method), whole in paths.items()
        if dim in (dims[0], dims[-1])
        for iteration, point in enumerate(whole.tolist())
    ]


def _contours(preset: str, dim: int, seed: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    """(axis `[G]`, log10 of the gap `[G, G]`) in the plane through the minimiser."""
    problem = presets.problem(preset, FUNCTION, dim, seed, start)
    axis = np.linspace(-HALF_WIDTH, HALF_WIDTH, 97)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    with presets.arithmetic("float64"):
        data = {name: jnp.asarray(leaf, jnp.float64) for name, leaf in problem.data.items()}
        centre = jnp.asarray(problem.minimiser)

        def value(z12: jax.Array) -> jax.Array:
            return problem.objective(data, centre.at[:2].set(z12))

        values = np.asarray(jax.jit(jax.vmap(value))(jnp.asarray(plane)))
    return axis, np.log10(np.maximum(values, 1e-3)).reshape(len(axis), len(axis))


def draw_paths(rows: Sequence[Row], preset: str, seed: int, path: Path) -> Path:
    """Fig. 6; every iterate a dot, so that the step lengths show.

    Args:
      rows: `path_rows` of one dimension.
      preset: whose function is drawn beneath.
      seed: of its starts.
      path: of the picture, which is returned.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    dim, start = rows[0]["dim"], rows[0]["start"]
    axis_values, levels = _contours(preset, dim, seed, start)
    figure, axes = figure_of(len(methods))
    for axis, method in zip(axes, methods, strict=True):
        points = np.array([(row["z1"], row["z2"]) for row in rows if row["method"] == method])
        axis.contour(axis_values, axis_values, levels, 12, linewidths=0.5, colors="0.75")
        axis.plot(*points.T, marker=".", markersize=3, linewidth=0.8, color="C0")
        axis.plot(*points[0], marker="s", color="C2")
        axis.plot(*points[-1], marker="*", markersize=9, color="C3")
        limits = (-HALF_WIDTH, HALF_WIDTH)
        axis.set(xlim=limits, ylim=limits, xlabel="z1", ylabel="z2")
        axis.set_title(f"{method}, N = {dim}", fontsize=9)
    return finish(figure, path)
