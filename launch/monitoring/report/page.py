"""The page itself: sections as HTML text. Everything that comes out of a file is escaped."""

from __future__ import annotations

import base64
import html
import json
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.monitoring.report import charts
from launch.monitoring.report.baselines import MINE, Found
from launch.monitoring.report.data import Collected
from launch.monitoring.report.motion import Motion
from launch.monitoring.watch import duration, listed

_STYLE = Path(__file__).with_name("style.html")


@dataclass(frozen=True)
class Extras:
    """What takes computing: each None with a line of why in `notes`."""

    rivals: Found | None = None
    motion: Motion | None = None
    notes: tuple[str, ...] = ()
    checkpoint: str = ""  # what the computed parts are of


def page(found: Collected, extras: Extras, written: float) -> str:
    """The whole document; `written`: s since 1970."""
    status = found.status
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(written))
    body = [
        _header(found, moment),
        _curves(found),
        _evaluations(found),
        _rivals(extras),
        _motion(extras),
        _time(found),
        _checkpoints(found),
        _use(found),
        _configuration(found),
        _notes([*found.problems, *extras.notes]),
    ]
    title = html.escape(f"{status.name}: optimus report")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{title}</title>{_STYLE.read_text()}</head><body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _number(value: float | None, form: str = "{:+.3f}") -> str:
    return "–" if value is None else form.format(value)


def _header(found: Collected, moment: str) -> str:
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
    tiles.append(("loss evaluations", f"{s.evaluations:,}"))
    tiles.append(
        (
            "newest checkpoint",
            f"{_number(s.checkpoint_step, '{:.0f}')}, {duration(s.checkpoint_age)} old",
        )
    )
    cards = "".join(
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>'
        for name, value in tiles
    )
    state = html.escape(s.state)
    words = html.escape(f"{s.task}, {s.launch or 'unknown launch'}; page written {moment}")
    cause = f"<p>{html.escape(s.cause)}</p>" if s.cause else ""
    return (
        f'<h1>{html.escape(s.name)} <span class="badge {state}">{state}</span></h1>'
        f'<p class="soft">{words}</p>{cause}{_verdict(found)}<div class="tiles">{cards}</div>'
    )


def _verdict(found: Collected) -> str:
    result = found.status.comparison
    if not result:
        return ""
    change = f"{result['difference']:+.3f} [{result['low']:+.3f}, {result['high']:+.3f}]"
    if result["high"] < 0:
        words = "Training made it better on held-out tasks"
    elif result["low"] > 0:
        words = "Training made it WORSE on held-out tasks"
    else:
        words = "No difference shown on held-out tasks: the interval includes zero"
    return f"<p><b>{words}</b>: change {change} (95 % bootstrap, {result['tasks']:.0f} tasks).</p>"


def _figure(title: str, drawing: str, words: str = "") -> str:
    if not drawing:
        return ""
    caption = f"<figcaption>{words}</figcaption>" if words else ""
    return f"<figure><h3>{html.escape(title)}</h3>{drawing}{caption}</figure>"


def _curves(found: Collected) -> str:
    loss = found.curve("meta_loss")
    series = (
        {"each update": loss, "mean of 15": charts.smooth(loss)}
        if len(loss) > 30
        else {"each update": loss}
    )
    norm = found.curve("gradient_norm") or found.curve("norm")
    figures = [
        _figure("Meta-loss", charts.lines(series, "update", "meta-loss"), "Lower is better."),
        _figure("Norm of the meta-gradient", charts.lines({"norm": norm}, "update", "norm", True)),
        _figure(
            "Seconds per update",
            charts.lines(
                {"whole": found.curve("seconds"), "waiting": found.curve("waiting")}, "update", "s"
            ),
        ),
        _figure(
            "Age of samples",
            charts.lines({"staleness": found.curve("staleness")}, "update", "updates")
            if any(y for _, y in found.curve("staleness"))
            else "",
        ),
    ]
    drawn = "".join(figures)
    return (
        f'<h2>Learning</h2><div class="grid2">{drawn}</div>'
        if drawn
        else ("<h2>Learning</h2><p>No update has been recorded yet.</p>")
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 1) -> str:
    """Cells are HTML already; a cell that begins with "*" is the best of its row."""

    def cell(k: int, text: str) -> str:
        kind = " ".join(["n"] * (k >= numbers_from) + ["best"] * text.startswith("*"))
        return f'<td class="{kind}">{text.removeprefix("*")}</td>'

    top = "".join(
        f'<th class="{"n" if k >= numbers_from else ""}">{html.escape(h)}</th>'
        for k, h in enumerate(head)
    )
    lines = "".join(
        f"<tr>{''.join(cell(k, text) for k, text in enumerate(row))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{lines}</table></div>'


_BESIDE = 2  # columns of functions that fit beside the curve


def _evaluations(found: Collected) -> str:
    if not found.judged:
        return ""
    names = sorted({f for r in found.judged for f in _functions(r)})
    best = found.status.best_step
    rows = []
    for record in found.judged[-30:]:
        values = _functions(record)
        cells = [_number(values.get(name)) for name in names]
        score = record.get("score")
        shown = _number(score if isinstance(score, float) else None)
        if "error" in record:
            shown = html.escape(str(record["error"])[:80])
        mark = "*" if record["step"] == best else ""
        rows.append([str(record["step"]), mark + shown, *cells])
    points = [(float(r["step"]), r["score"]) for r in found.judged if _is_number(r.get("score"))]
    curve = charts.lines({"score": points}, "update", "score") if len(points) > 1 else ""
    words = (
        "Score: mean meta-loss on the run's held-out tasks. "
        if found.status.score_of == "tasks"
        else "Score: mean over the functions. "
    )
    words += "Functions: mean log10 (best gap / first gap). Lower is better; bold: BEST."
    scores, words = table(["update", "score", *names], rows), f'<p class="soft">{words}</p>'
    beside, below = (words, scores) if len(names) > _BESIDE else (scores + words, "")
    return (
        f'<h2>Held-out evaluation</h2><div class="grid2">{_figure("Score", curve)}'
        f"<div>{beside}</div></div>{below}"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, float)


def _functions(record: dict[str, object]) -> dict[str, float]:
    suites = record.get("suites")
    suite = suites.get("classical") if isinstance(suites, dict) else None
    functions = suite.get("functions") if isinstance(suite, dict) else None
    found = {}
    for name, of_dim in functions.items() if isinstance(functions, dict) else ():
        for dim, value in of_dim.items() if isinstance(of_dim, dict) else ():
            if _is_number(value):
                found[f"{name} {dim}"] = value
    return found


def _image(path: Path, words: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">'


def _rivals(extras: Extras) -> str:
    found = extras.rivals
    if found is None or not found.table:
        return ""
    rows = []
    for (function, dim), values in found.table.items():
        least = min(values.values())
        cells = [
            ("*" if values[m] == least else "") + _number(values[m]) if m in values else "–"
            for m in found.methods
        ]
        rows.append([f"{html.escape(function)}, N = {dim}", *cells])
    names = [("this checkpoint" if m == MINE else m) for m in found.methods]
    pictures = [
        f'<figure class="raster">{_image(found.pictures[key], words)}'
        f"<figcaption>{words}</figcaption></figure>"
        for key, words in (
            (
                "profile",
                "Performance profiles (Dolan and Moré): share of problems solved to "
                "accuracy τ within a multiple of the fewest evaluations any method took.",
            ),
            (
                "paths",
                "Trajectories on Rosenbrock in the plane of the first two coordinates: "
                "square: start, star: end.",
            ),
        )
        if key in found.pictures
    ]
    words = (
        f"Mean log10 (best gap / first gap) after the same number of evaluations, from the same "
        f"shifted starts; lower is better. Checkpoint: {html.escape(extras.checkpoint)}. A small "
        "sample: the benchmark proper is <code>optimus bench classical</code>."
    )
    return (
        f"<h2>Against rivals</h2>{table(['problem', *names], rows)}"
        f'<p class="soft">{words}</p>{"".join(pictures)}'
    )


def _motion(extras: Extras) -> str:
    m = extras.motion
    if m is None:
        return ""
    words = html.escape(
        f"Clip {m.clip!r} from {m.start:.2f} s, never trained on, after {m.evaluations} loss "
        f"evaluations by {extras.checkpoint}. Captured motion left, simulated right, six moments. "
        f"Best loss as a share of the first: {m.loss:.3f}; L-BFGS-B with as many: {m.rival:.3f}. "
        f"Mean joint error {m.error_mm:.0f} mm."
    )
    return (
        f'<h2>Motion reconstruction</h2><figure class="raster">'
        f"{_image(m.picture, 'reconstructed beside captured motion')}"
        f"<figcaption>{words}</figcaption></figure>"
    )


def _time(found: Collected) -> str:
    s = found.status
    roles = [
        [
            html.escape(role),
            f"{c['alive']} / {c['total']}",
            f"{s.work[role]['share']:.0%}" if role in s.work else "–",
        ]
        for role, c in s.roles.items()
    ]
    facts = [
        ["samples refused", html.escape(listed(s.refused))],
        ["samples failed", str(s.failed)],
        ["replies of workers", html.escape(listed(s.replies))],
        ["calls of workers", html.escape(listed(s.calls))],
    ]
    seconds, waiting = found.curve("seconds"), found.curve("waiting")
    shares = dict(s.time_shares)
    total = sum(y for _, y in seconds)
    if total > 0:
        share = sum(y for _, y in waiting) / total
        shares |= {"learner waits for samples (whole run)": share}
    return (
        f'<h2>Runtime</h2><div class="grid2"><div>{charts.bars(shares)}</div><div>'
        f"{table(['role', 'alive / all', 'busy'], roles)}{table(['counter', ''], facts)}"
        "</div></div>"
    )


def _checkpoints(found: Collected) -> str:
    rows = []
    for step, size, moment in found.checkpoints:
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment)) if moment else "–"
        marks = [("newest", found.status.checkpoint_step), ("best", found.status.best_step)]
        rows.append(
            [
                str(step),
                written,
                f"{size / 1e6:.2f} MB" if size else "–",
                ", ".join(mark for mark, at in marks if at == step),
            ]
        )
    return f"<h2>Checkpoints</h2>{table(['update', 'written (UTC)', 'size', ''], rows)}"


def _use(found: Collected) -> str:
    run_dir = shlex.quote(found.status.run_dir)
    launch = found.status.launch
    again = f"optimus train {run_dir}/config.json --run-dir {run_dir}"
    again += f" --launch {launch}" if launch else ""
    step = found.status.best_step
    step = found.status.checkpoint_step if step is None else step
    lines = ["# resume, or print the result of a finished run", again]
    if step is not None:
        folder = f"{found.status.run_dir}/checkpoints/{step}"
        lines += [
            "",
            "# judge, and turn into weights that can be shipped",
            f"optimus eval {shlex.quote(folder)}",
            f"optimus export {shlex.quote(folder)} weights.safetensors",
            "",
            "# use, in Python",
            "import optimus",
            f"result = optimus.minimize(fun, x0, jac=True, model={folder!r})",
            f"transform = optimus.as_optax({folder!r})  # an optax.GradientTransformation",
        ]
    return f"<h2>Resume and use</h2><pre>{html.escape(chr(10).join(lines))}</pre>"


def _configuration(found: Collected) -> str:
    m = found.manifest
    about = {key: m[key] for key in ("config_hash", "run_id", "code", "libraries") if key in m}
    config = html.escape(json.dumps(found.config, indent=2))
    where = html.escape(json.dumps(about, indent=2))
    return (
        f"<h2>Configuration and environment</h2><details open><summary>environment of the newest "
        f"checkpoint</summary><pre>{where}</pre></details>"
        f"<details><summary>config.json</summary><pre>{config}</pre></details>"
    )


def _notes(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>Left out</h2><ul>{''.join(f'<li>{html.escape(x)}</li>' for x in lines)}</ul>"
