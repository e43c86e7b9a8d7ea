"""Files of a benchmark: stored cells, CSV, Markdown tables.

`OUT/cells/NAME.json` has the rows of a cell, `OUT/traces/NAME.npz` its arrays.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimus.rundir.checkpoint import write_atomically
from optimus.rundir.metrics import finite

Row = dict[str, Any]
Arrays = Mapping[str, np.ndarray]
Key = tuple[str, int, str]  # (function, dim, method)
Traces = Mapping[Key, Path]  # the npz of each cell
NUMBERS = ("f0", "f_best", "f_last", "f_star", "lr", "seconds")


@dataclass(frozen=True)
class Stored:
    """One cell as it was read.

    Attributes:
      rows: one per start.
      non_finite: values that were not finite.
      decides: all that decided the numbers, as hashed in the name.
    """

    rows: list[Row]
    non_finite: int
    decides: dict[str, Any]


def _number(key: str, value: Any) -> Any:
    return float(value) if key in NUMBERS and value is not None else value


def store(
    out: Path, name: str, rows: Sequence[Row], arrays: Arrays, decides: Mapping[str, Any]
) -> Stored:
    """Writes `traces/<name>.npz`, then `cells/<name>.json`: a cell that exists is complete.

    Args:
      out: folder of the benchmark.
      name: of the cell.
      rows: one per start.
      arrays: as `cells.compute` has them, `[S, ...]` each.
      decides: all that decided the numbers, JSON values.
    """
    for folder in ("cells", "traces"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_arrays(trace_path(out, name), arrays)
    cell = Stored(list(rows), int(arrays["non_finite"].sum()), dict(decides))
    document = {
        "non_finite": cell.non_finite,
        "decides": cell.decides,
        "rows": finite(list(rows)),
    }
    write_atomically(out / "cells" / f"{name}.json", json.dumps(document))
    return cell


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Writes an npz in one move; on a full disk nothing is left and `OSError` is raised."""
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)  # type: ignore[arg-type]
    write_atomically(path, data.getvalue())


def load(out: Path, name: str) -> Stored | None:
    """A stored cell; None where there is none, or a damaged one: it is computed anew.

    A cell without its arrays counts as damaged, as after a copy of `cells` alone.
    """
    try:
        with zipfile.ZipFile(trace_path(out, name)) as arrays:
            if arrays.testzip() is not None:
                return None
        document = json.loads((out / "cells" / f"{name}.json").read_text(encoding="utf-8"))
        rows = [{k: _number(k, value) for k, value in row.items()} for row in document["rows"]]
        return Stored(rows, int(document["non_finite"]), dict(document["decides"]))
    except Exception:  # zip, zlib and JSON each have their own
        return None


def trace_path(out: Path, name: str) -> Path:
    """Where the arrays of a cell lie."""
    return out / "traces" / f"{name}.npz"


def write_csv(path: Path, rows: Sequence[Row], columns: Iterable[str] = ()) -> Path:
    """Writes rows; columns default to those of the first row. What is None is empty."""
    text = io.StringIO()
    columns = list(columns) or list(rows[0])
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
    return path


def markdown_table(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table whose columns are those of the first row; floats in 3 digits."""

    def entry(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)

    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return lines + ["| " + " | ".join(entry(row.get(c)) for c in columns) + " |" for row in rows]
