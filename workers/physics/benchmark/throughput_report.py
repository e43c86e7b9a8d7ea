"""`physics.csv`, `physics_threads.csv` and `physics.md` of `bench throughput --loss physics`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimus.rundir.checkpoint import write_atomically

Row = dict[str, Any]

# What is wanted of 1 s of motion with 840 controls on one core, and of two threads.
LIMITS_MS = {"generated": 8.0, "tape": 60.0}
GOAL_MS = 4.0
TWO_THREADS = 1.8


def spread(name: str, values: np.ndarray) -> Row:
    """Median and the 10 % and 90 % quantiles of values [rounds], as columns."""
    low, middle, high = (float(value) for value in np.quantile(values, (0.1, 0.5, 0.9)))
    return {name: middle, f"{name}_q10": low, f"{name}_q90": high}


def write(
    alone: Sequence[Row], together: Sequence[Row], left_out: Sequence[str], machine: str, out: Path
) -> list[Path]:
    """Writes the three files into `out`; their paths."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "physics.csv": _csv(alone),
        "physics_threads.csv": _csv(together),
        "physics.md": markdown(alone, together, left_out, machine),
    }
    for name, text in texts.items():
        write_atomically(out / name, text)
    return [out / name for name in texts]


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
        )
    return text.getvalue()


def markdown(
    alone: Sequence[Row], together: Sequence[Row], left_out: Sequence[str], machine: str
) -> str:
    """`physics.md`."""
    first = alone[0]
    lines = [
        "# Throughput of the physics loss",
        "",
        f"{first['motion_s']:g} s of motion, N = {first['N']}, PD control, one window of `walk`.",
        f"{machine}.",
        f"Medians [10 % to 90 %] of {first['rounds']} interleaved rounds; ratios are medians of "
        "the ratios within rounds.",
        "",
        "## Loss and gradient, one thread",
        "",
        "| dt | row | wall ms | times forward |",
        "|---|---|---|---|",
    ]
    for row in sorted(alone, key=lambda row: (row["steps_per_s"], row["ms"])):
        lines.append(
            f"| 1/{row['steps_per_s']} | {row['row']} | {_range(row, 'ms', 3)} | "
            f"{row['times_forward']:.2f} |"
        )
    lines += [
        "",
        f"## Batches of {together[0]['batch']} windows in one call",
        "",
        f"| dt | gradient | threads | evaluations a second | times {together[0]['threads']} "
        "thread(s) |",
        "|---|---|---|---|---|",
    ]
    for row in together:
        lines.append(
            f"| 1/{row['steps_per_s']} | {row['gradient']} | {row['threads']} | "
            f"{_range(row, 'per_s', 1)} | {_range(row, 'times_first', 2)} |"
        )
    lines += verdicts(alone, together)
    lines += ["", *(f"* left out: {reason}" for reason in left_out)] if left_out else []
    return "\n".join(lines) + "\n"


def verdicts(alone: Sequence[Row], together: Sequence[Row]) -> list[str]:
    """What is wanted beside what was found; nothing but for 1 s of motion."""
    if alone[0]["motion_s"] != 1.0:
        return []
    lines = ["", "## Wanted", ""]
    for row in alone:
        if row["row"] in LIMITS_MS:
            limit = LIMITS_MS[row["row"]]
            goal = f" (goal {GOAL_MS:g})" if row["row"] == "generated" else ""
            lines.append(
                f"* {row['row']}, dt 1/{row['steps_per_s']}: at most {limit:g} ms{goal}; "
                f"{row['ms']:.2f} ms, {_met(row['ms'] <= limit)}"
            )
    for row in together:
        if row["gradient"] == "generated" and row["threads"] == 2 and together[0]["threads"] == 1:
            found = row["times_first"]
            lines.append(
                f"* two threads, generated, dt 1/{row['steps_per_s']}: at least "
                f"{TWO_THREADS:g} × one; {found:.2f} ×, {_met(found >= TWO_THREADS)}"
            )
    return lines


def _met(met: bool) -> str:
    return "met" if met else "missed"


def _range(row: Row, name: str, digits: int) -> str:
    low, high = row[f"{name}_q10"], row[f"{name}_q90"]
    return f"{row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
