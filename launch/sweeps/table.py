"""What a sweep found, from its run directories alone: table.csv, table.md, curves.csv, curves.png.

A cell's validation value is the mean log10 share of the first gap that `evaluation.steps` steps
leave, less is better, of the checkpoint that validates best: the one that would be shipped. All
cells have the same validation tasks and the same number of validations to choose from.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launch.evaluation.records import validations
from launch.monitoring.readings import Record, mapping
from launch.sweeps import BASE, Cell, inner_steps_at
from launch.sweeps.state import core_seconds, finished
from optimus.bench.storage import write_csv
from optimus.problems.groups import FUNCTION_NAMES, tag_of
from optimus.rundir import checkpoint
from optimus.rundir.metrics import is_number
from workers.unroll import parameter_layout

Row = dict[str, Any]
_COLUMNS = (
    *("study", "arm", "seed", "state", "weights", "updates", "inner_steps", "core_seconds"),
    *("start", "last", "best", "best_update"),
)
_TITLES = (
    *("arm", "seeds", "weights", "updates", "inner steps", "core-s"),
    *("best validation", "minus base, same seed", "last"),
)
_CURVE_COLUMNS = ("study", "arm", "seed", "updates", "inner_steps", "gap")


def curve(cell: Cell) -> list[Row]:
    """The cell's validations in order; an update validated twice counts once."""
    found = (r for r in validations(cell.run_dir) if r["step"] <= cell.config.updates)
    return [{**record, "gap": _number(record["gap"])} for record in found]


def rows(cells: Iterable[Cell]) -> list[Row]:
    """A row for every cell that has validated at least once."""
    found = []
    for cell in cells:
        validated = curve(cell)
        if not validated:
            continue
        best, last = min(validated, key=lambda each: each["gap"]), validated[-1]
        row = _named(cell, last["step"])
        row["state"] = "finished" if finished(cell) else "unfinished"
        row["weights"] = parameter_layout(cell.config).size
        row["core_seconds"] = round(core_seconds(cell.run_dir), 3)
        row |= dict(start=validated[0]["gap"], last=last["gap"])
        row |= dict(best=best["gap"], best_update=best["step"])
        row |= {f"n<={size}": _number(value) for size, value in mapping(best, "sizes").items()}
        row |= _by_group(mapping(best, "members"))
        found.append(row)
    return found


def _named(cell: Cell, step: int) -> Row:
    """The columns that say which cell this is, after how much."""
    row = dict(study=cell.arm.study, arm=cell.arm.name, seed=cell.seed, updates=step)
    return {**row, "inner_steps": inner_steps_at(cell.config, step)}


def _number(value: Any) -> float:
    """A number; what is not finite was written as a string, and what is none counts as infinite."""
    number = float(value) if is_number(value) else np.inf
    return np.inf if np.isnan(number) else number


def _by_group(members: Record) -> dict[str, float]:
    """Mean over the functions of each group; other tasks stand for themselves."""
    values: dict[str, list[float]] = {}
    for name, value in members.items():
        group = tag_of(name) if name in FUNCTION_NAMES else name
        values.setdefault(group, []).append(_number(value))
    return {group: round(float(np.mean(each)), 3) for group, each in values.items()}


def write(cells: Sequence[Cell], out: Path, pictures: bool = True) -> list[Path]:
    """Writes what there is so far into `out`; returns the files. Pictures need matplotlib."""
    found = rows(cells)
    if not found:
        return []
    extra = list(dict.fromkeys(key for row in found for key in row if key not in _COLUMNS))
    pairs = [(cell, each) for cell in cells for each in curve(cell)]
    points = [_named(cell, each["step"]) | {"gap": each["gap"]} for cell, each in pairs]
    written = [
        write_csv(out / "table.csv", found, (*_COLUMNS, *extra)),
        write_csv(out / "curves.csv", points, _CURVE_COLUMNS),
        out / "table.md",
    ]
    checkpoint.write_atomically(out / "table.md", markdown(found, extra))
    if pictures:
        written.append(_draw(points, out / "curves.png"))
    return written


def _studies(found: Sequence[Row]) -> dict[str, list[str]]:
    """The arms of each study in order, the base first in all of them."""
    studies: dict[str, list[str]] = {}
    for row in found:
        if row["arm"] != BASE and row["arm"] not in studies.setdefault(row["study"], []):
            studies[row["study"]].append(row["arm"])
    if any(row["arm"] == BASE for row in found):
        studies = {name: [BASE, *arms] for name, arms in (studies or {"": []}).items()}
    return studies


def markdown(found: Sequence[Row], extra: Sequence[str]) -> str:
    """A table per study: a line per arm, means over its finished seeds and min..max."""
    by_arm: dict[str, list[Row]] = {}
    for row in found:
        if row["state"] == "finished":
            by_arm.setdefault(row["arm"], []).append(row)
    base = {row["seed"]: row["best"] for row in by_arm.get(BASE, ())}
    titles = [*_TITLES, *extra]
    text = [
        "Validation: mean log10 of the share of the first gap that is left, less is better; mean "
        "(min..max) over seeds. Columns after `last` are of the best checkpoint, means over seeds."
    ]
    for study, arms in _studies(found).items():
        text += ["", f"## {study or 'all'}", ""]
        text += [_line(titles), _line(["---"] * len(titles))]
        text += [_line(_cells(arm, by_arm[arm], base, extra)) for arm in arms if arm in by_arm]
    waiting = [f"{row['arm']} (seed {row['seed']})" for row in found if row["state"] != "finished"]
    if waiting:
        text += ["", f"Unfinished, not in the tables: {', '.join(waiting)}."]
    return "\n".join(text) + "\n"


def _line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


def _cells(arm: str, lines: list[Row], base: dict[int, float], extra: Sequence[str]) -> list[str]:
    def mean(key: str) -> float:
        return float(np.mean([line[key] for line in lines]))

    behind = [line["best"] - base[line["seed"]] for line in lines if line["seed"] in base]
    return [
        *(arm, str(len(lines)), f"{lines[0]['weights']}", f"{lines[0]['updates']}"),
        *(f"{lines[0]['inner_steps']}", f"{mean('core_seconds'):.0f}"),
        _interval([line["best"] for line in lines], "{:.2f}"),
        _interval(behind, "{:+.2f}") if arm != BASE and behind else "",
        f"{mean('last'):.2f}",
        *(f"{mean(key):.2f}" if all(key in line for line in lines) else "" for key in extra),
    ]


def _interval(values: Sequence[float], form: str) -> str:
    shown: Callable[[float], str] = form.format
    if len(values) == 1:
        return shown(values[0])
    return f"{shown(float(np.mean(values)))} ({shown(min(values))}..{shown(max(values))})"


def _draw(points: Sequence[Row], path: Path) -> Path:
    """Validation against inner steps: a panel per study, the mean over seeds and their range."""
    from optimus.bench.figures import figure_of

    studies = _studies(points)
    figure, axes = figure_of(len(studies), columns=3, width=4.6, height=3.4)
    for axis, (study, arms) in zip(axes, studies.items(), strict=True):
        colours = iter(f"C{k % 10}" for k in range(len(arms)))
        for arm in arms:
            colour = "black" if arm == BASE else next(colours)
            values: dict[int, list[float]] = {}
            for point in points:
                if point["arm"] == arm:
                    values.setdefault(point["inner_steps"], []).append(point["gap"])
            at = sorted(values)
            axis.plot(at, [np.mean(values[k]) for k in at], color=colour, label=arm, linewidth=1.2)
            low, high = [min(values[k]) for k in at], [max(values[k]) for k in at]
            axis.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.set(title=study or None, xlabel="inner steps", ylabel="validation, log10 gap left")
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=130)
    return path
