"""The page itself: its sections, each out of what was collected and computed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch import command
from launch.monitoring.readings import Record, mapping
from launch.monitoring.report import METHODS, MINE, charts
from launch.monitoring.report.data import Collected
from launch.monitoring.report.motion import Motion
from launch.monitoring.report.templates import Html, fill, join, table
from launch.monitoring.watch import clean, duration, listed

if TYPE_CHECKING:
    from launch.monitoring.report.baselines import Found

_STYLE = Path(__file__).with_name("style.html")
_SHOWN = 30  # evaluations in the table
_BESIDE = 2  # columns of functions that fit beside the curve


@dataclass(frozen=True)
class Extras:
    """What takes computing: each None with a line of why in `notes`."""

    baselines: Found | None = None
    motion: Motion | None = None
    notes: tuple[str, ...] = ()
    checkpoint: str = ""  # what the computed parts are of


def page(found: Collected, extras: Extras, written: float) -> str:
    """The whole document; `written`: s since 1970."""
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(written))
    body = [_header(found, moment), _curves(found), _evaluations(found)]
    body += [_baselines(extras), _motion(extras)]
    body += [section(found) for section in (_runtime, _checkpoints, _use, _configuration)]
    body.append(_notes([*found.problems, *extras.notes]))
    style = Html(_STYLE.read_text(encoding="utf-8"))
    return fill("page", name=found.status.name, style=style, body=join(body, "\n")) + "\n"


def _number(value: float | None, form: str = "{:+.3f}") -> str:
    return "–" if value is None else form.format(value)


# -- how far it is and how well it learns ----------------------------------------------------------


def _header(found: Collected, moment: str) -> Html:
    s = found.status
    progress = f"{s.step}" + (f" / {s.updates}" if s.updates else "")
    tiles = [("updates", progress), ("meta-loss, newest", _number(s.meta_loss))]
    if s.comparison:
        both = f"{s.comparison['start']:+.2f} → {s.comparison['end']:+.2f}"
        tiles.append(("held-out, start → end", both))
    if s.best_score is not None:
        tiles.append((f"best score, update {s.best_step}", _number(s.best_score)))
    if s.validation is not None:
        tiles.append((f"validation gap, update {s.validation_step}", _number(s.validation)))
    newest = f"{_number(s.checkpoint_step, '{:.0f}')}, {duration(s.checkpoint_age)} old"
    tiles += [("loss evaluations", f"{s.evaluations:,}"), ("newest checkpoint", newest)]
    return fill(
        "header",
        name=s.name,
        state=s.state,
        words=f"{s.task}, {s.launch or 'unknown launch'}; page written {moment}",
        cause=fill("paragraph", text=s.cause) if s.cause else "",
        verdict=_verdict(found),
        tiles=join(fill("tile", name=name, value=value) for name, value in tiles),
    )


def _verdict(found: Collected) -> Html:
    result = found.status.comparison
    if not result:
        return Html("")
    change = f"{result['difference']:+.3f} [{result['low']:+.3f}, {result['high']:+.3f}]"
    kind = "better" if result["high"] < 0 else "worse" if result["low"] > 0 else "undecided"
    return fill("verdict", verdict=fill(kind), change=change, tasks=f"{result['tasks']:.0f}")


def _figure(title: str, drawing: Html, words: str = "") -> Html:
    if not drawing:
        return drawing
    caption = fill("caption", text=words) if words else ""
    return fill("figure", title=title, drawing=drawing, caption=caption)


def _curves(found: Collected) -> Html:
    loss, staleness = found.curve("meta_loss"), found.curve("staleness")
    series = {"each update": loss}
    if len(loss) > 30:
        series["mean of 15"] = charts.smooth(loss)
    norm = found.curve("gradient_norm") or found.curve("norm")
    seconds = {"whole": found.curve("seconds"), "waiting": found.curve("waiting")}
    stale = {"staleness": staleness} if any(y for _, y in staleness) else {}
    norms = charts.lines({"norm": norm}, "update", "norm", log=True)
    figures = [
        _figure("Meta-loss", charts.lines(series, "update", "meta-loss"), "Lower is better."),
        _figure("Norm of the meta-gradient", norms),
        _figure("Seconds per update", charts.lines(seconds, "update", "s")),
        _figure("Age of samples", charts.lines(stale, "update", "updates")),
    ]
    drawn = join(figures)
    nothing = fill("paragraph", text="No update has been recorded yet.")
    return fill("learning", curves=fill("grid", cells=drawn) if drawn else nothing)


# -- how it is judged ------------------------------------------------------------------------------


def _evaluations(found: Collected) -> Html:
    if not found.judged:
        return Html("")
    names = sorted({f for r in found.judged for f in _functions(r)})
    rows = []
    for record in found.judged[-_SHOWN:]:
        values, score = _functions(record), record.get("score")
        shown = _number(score if isinstance(score, float) else None)
        if "error" in record:
            shown = str(record["error"])[:80]
        mark = "*" if record["step"] == found.status.best_step else ""
        rows.append([record["step"], mark + shown, *(_number(values.get(name)) for name in names)])
    scored = [r for r in found.judged if isinstance(r.get("score"), float)]
    points = [(float(r["step"]), r["score"]) for r in scored]
    curve = charts.lines({"score": points}, "update", "score") if len(points) > 1 else Html("")
    own = found.status.score_of == "tasks"
    text = fill("score_words", score=fill("of_tasks" if own else "of_functions"))
    scores = table(["update", "score", *names], rows)
    wide = len(names) > _BESIDE
    beside, below = (text, scores) if wide else (join([scores, text]), "")
    return fill("evaluation", curve=_figure("Score", curve), beside=beside, below=below)


def _functions(record: Record) -> dict[str, float]:
    """ "FUNCTION DIM" -> score; what is not as this version writes it is left out."""
    functions = record
    for key in ("suites", "classical", "functions"):
        functions = mapping(functions, key)
    pairs = ((name, mapping(functions, name)) for name in functions)
    flat = ((f"{name} {dim}", value) for name, found in pairs for dim, value in found.items())
    return {name: value for name, value in flat if isinstance(value, float)}


def _picture(path: Path, alt: str, caption: str) -> Html:
    data = base64.b64encode(path.read_bytes()).decode()
    return fill("picture", alt=alt, data=data, caption=caption)


def _baselines(extras: Extras) -> Html:
    found = extras.baselines
    if found is None or not found.table:
        return Html("")
    rows = []
    for (function, dim), values in found.table.items():
        cells = {method: _number(value) for method, value in values.items()}
        best = min(values.values())
        cells |= {method: f"*{cells[method]}" for method in values if values[method] == best}
        rows.append([f"{function}, N = {dim}", *(cells.get(m, "–") for m in METHODS)])
    names = [("this checkpoint" if m == MINE else m) for m in METHODS]
    pictures = (_picture(path, fill(key), fill(key)) for key, path in found.pictures.items())
    scores = table(["problem", *names], rows)
    return fill("baselines", table=scores, checkpoint=extras.checkpoint, pictures=join(pictures))


def _motion(extras: Extras) -> Html:
    m = extras.motion
    if m is None:
        return Html("")
    shares = {"loss": f"{m.loss:.3f}", "baseline": f"{m.baseline:.3f}"}
    window = {"clip": repr(m.clip), "start": f"{m.start:.2f}", "error": f"{m.error_mm:.0f}"}
    cost = {"evaluations": m.evaluations, "checkpoint": extras.checkpoint}
    words = fill("motion_words", **window, **cost, **shares)
    alt = "reconstructed beside captured motion"
    return fill("motion", picture=_picture(m.picture, alt, words))


# -- what it is and how to go on -------------------------------------------------------------------


def _runtime(found: Collected) -> Html:
    s = found.status
    busy = {role: f"{work['share']:.0%}" for role, work in s.work.items()}
    alive = {role: f"{count['alive']} / {count['total']}" for role, count in s.roles.items()}
    roles = [[role, count, busy.get(role, "–")] for role, count in alive.items()]
    facts = {
        "samples refused": listed(s.refused),
        "samples failed": str(s.failed),
        "replies of workers": listed(s.replies),
        "calls of workers": listed(s.calls),
    }
    shares = dict(s.time_shares)
    total = sum(y for _, y in found.curve("seconds"))
    if total > 0:
        waiting = sum(y for _, y in found.curve("waiting"))
        shares["learner waits for samples (whole run)"] = waiting / total
    both = {"roles": table(["role", "alive / all", "busy"], roles)}
    both["facts"] = table(["counter", ""], facts.items())
    return fill("runtime", shares=charts.bars(shares), **both)


def _checkpoints(found: Collected) -> Html:
    rows = []
    marks = (("newest", found.status.checkpoint_step), ("best", found.status.best_step))
    for step, size, moment in found.checkpoints:
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment)) if moment else "–"
        what = ", ".join(mark for mark, at in marks if at == step)
        rows.append([step, written, f"{size / 1e6:.2f} MB" if size else "–", what])
    return fill("checkpoints", table=table(["update", "written (UTC)", "size", ""], rows))


def _use(found: Collected) -> Html:
    run_dir, launch = found.status.run_dir, found.status.launch
    how = ("--launch", clean(launch)) if launch else ()
    again = command("optimus", "train", f"{run_dir}/config.json", "--run-dir", run_dir, *how)
    step = found.status.best_step
    step = found.status.checkpoint_step if step is None else step
    folder = f"{run_dir}/checkpoints/{step}"
    more = fill("commands", quoted=command(folder), model=repr(folder))
    return fill("use", again=again, more="" if step is None else more)


def _configuration(found: Collected) -> Html:
    m = found.manifest
    about = {key: m[key] for key in ("config_hash", "run_id", "code", "libraries") if key in m}
    config = json.dumps(found.config, indent=2)
    return fill("configuration", about=json.dumps(about, indent=2), config=config)


def _notes(lines: Sequence[str]) -> Html:
    if not lines:
        return Html("")
    return fill("notes", lines=join(fill("item", text=line) for line in lines))
