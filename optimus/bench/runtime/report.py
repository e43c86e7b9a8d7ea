"""`runtime.md` and `runtime.png` of the rows of `bench runtime`."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import scipy

from optimus.bench import cores
from optimus.bench.runtime.steps import GEMM, LANES, SCAN_STEPS
from optimus.bench.storage import Row, markdown_table


def _table(rows: Sequence[Row], title: str, column: str, digits: int) -> list[str]:
    methods = dict.fromkeys(row["method"] for row in rows)
    found = {(row["N"], row["method"]): f"{row[column]:.{digits}g}" for row in rows}
    lines = [
        {"N": dim, **{method: found.get((dim, method), "–") for method in methods}}
        for dim in dict.fromkeys(row["N"] for row in rows)
    ]
    return ["", f"## {title}", "", *markdown_table(lines)]


def _threads() -> str:
    """What XLA and BLAS were told, as far as the environment says."""
    one = "intra_op_parallelism_threads=1" in os.environ.get("XLA_FLAGS", "")
    blas = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or "all"
    return f"threads: XLA {'1' if one else 'all'}, BLAS {blas}"


def markdown(
    rows: Sequence[Row], skipped: Sequence[str], rates: Mapping[int, float], load: Sequence[float]
) -> str:
    """`runtime.md`.

    Args:
      rows: of `runtime.csv`.
      skipped: lines about what did not fit.
      rates: FLOP/s of the matrix product by N.
      load: load averages before and after.
    """
    versions = f"jax {jax.__version__}, scipy {scipy.__version__}, numpy {np.__version__}"
    measured = ", ".join(f"{rate / 1e9:.0f} (N = {dim})" for dim, rate in rates.items())
    text = [
        "# Time of one step against N (the paper's Fig. 1)",
        "",
        f"{platform.machine()}, {cores()} visible cores, {_threads()}; "
        f"device {jax.devices()[0].platform};",
        f"Python {platform.python_version()}, {versions};",
        f"load average {load[0]:.1f} before and {load[1]:.1f} after.",
        f"{GEMM}³ float32 matrix product, GFLOP/s in the rounds of each N: {measured}.",
        "",
        "optimus: D = 128, 3 encoders; optimus_small: D = 32, 2 encoders; optimus_tiny: D = 16,",
        "1 encoder; random weights.",
        f"call: one jitted call a step, dispatch included; scan: per step of a compiled loop of "
        f"{SCAN_STEPS};",
        f"vmap: per trajectory of {LANES} at once.",
        "iteration: a whole iteration without the function; update: the inverse Hessian alone, as",
        "SciPy forms it (O(N³)) and multiplied out (O(N²)). FLOPs of optimus are XLA's count, of",
        "the others the leading terms; the floor of float64 rows is the float32 one too.",
    ]
    text += _table(rows, "Median milliseconds per step and trajectory", "median_ms", 3)
    text += _table(rows, "Times a whole iteration of SciPy's BFGS", "times_scipy_bfgs", 2)
    text += _table(rows, "Times the floor", "times_floor", 2)
    text += _table(rows, "Samples (rounds until a row's time was up)", "samples", 3)
    text += _table(rows, "Compilation, seconds", "compile_s", 2)
    text += ["", *(f"* skipped: {line}" for line in skipped)] if skipped else []
    return "\n".join(text) + "\n"


def draw(rows: Sequence[Row], path: Path) -> Path:
    """Median milliseconds against N, log-log, q10 to q90 shaded."""
    from optimus.bench.figures import figure_of, finish, styles_of

    figure, (axis,) = figure_of(1, width=7.5, height=5.0)
    for method, style in styles_of(row["method"] for row in rows).items():
        mine = [row for row in rows if row["method"] == method]
        dims = [row["N"] for row in mine]
        axis.plot(dims, [row["median_ms"] for row in mine], marker=".", linewidth=1.2, **style)
        low, high = ([row[name] for row in mine] for name in ("q10_ms", "q90_ms"))
        axis.fill_between(dims, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axis.set(xscale="log", yscale="log", xlabel="N", ylabel="milliseconds per step")
    return finish(figure, path, [axis])
