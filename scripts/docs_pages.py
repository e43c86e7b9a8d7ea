"""The generated parts of the documentation: commands, configuration, cards of the weights.

A page of docs/ holds a line `<!-- generated: NAME -->` and behind it one in italics that says how
to see the text without a build. `scripts/docs_hooks.py` puts the text of `PAGES[NAME]()` in place
of both while the site is built. Nothing of this is committed, so that none of it can become stale.
`python scripts/docs_pages.py NAME` prints one.

It imports the command line and the configuration, which need no JAX, and reads the cards as files.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import re
import sys
import tokenize
import typing
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHIPPED, BESIDE = "optimus/weights/data", "benchmarks/weights"
PLACE = re.compile(r"^<!-- generated: ([\w-]+) -->\n\*(.+)\*$", re.MULTILINE)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; bars and line breaks inside cells are escaped."""

    def line(cells: tuple[str, ...]) -> str:
        flat = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
        return "| " + " | ".join(flat) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)]) + "\n"


def _code(text: object) -> str:
    return f"`{text}`"


def _literal(text: str) -> str:
    """Text of a help or comment as Markdown: `<config>` is no tag, `*` no emphasis, and a page of
    docs/ is a link (from docs/reference)."""
    parts = text.split("`")  # odd ones are code
    for index in range(0, len(parts), 2):
        parts[index] = re.sub(r"([*_\[\]])", r"\\\1", parts[index]).replace("<", "&lt;")
    return re.sub(r"`?docs/([\w/-]+\.md)`?", _link, "`".join(parts))


def _link(match: re.Match[str]) -> str:
    page = ROOT / "docs" / match[1]
    title = page.read_text().partition("\n")[0].lstrip("# ")
    return f"[{title}](../{match[1]})"


# ------------------------------------------------------------------------------------ command line


def cli() -> str:
    """Every command with its options."""
    from launch.cli.main import COMMANDS

    return "\n".join(
        part for kind in COMMANDS for part in _command(kind, f"optimus {kind.__name__.lower()}", 2)
    )


def _command(kind: type, words: str, depth: int) -> Iterator[str]:
    import tyro

    yield f"{'#' * depth} {words} {{ #{words.replace(' ', '-')} }}\n"
    yield _prose(inspect.cleandoc(kind.__doc__ or ""))
    nested = _nested(kind)
    if nested:
        links = [
            f"[`{words} {name}`](#{(words + ' ' + name).replace(' ', '-')})" for name in nested
        ]
        yield "Commands: " + ", ".join(links) + ".\n"
        for name, each in nested.items():
            yield from _command(each, f"{words} {name}", depth + 1)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(tyro.conf.OmitArgPrefixes[kind], prog=words)
    rows = [_option(action) for action in parser._actions if type(action).__name__ != "_HelpAction"]
    if rows:
        yield table(("argument", "default", "meaning"), rows)


def _nested(kind: type) -> dict[str, type]:
    """Subcommand -> class, for a command that is a choice of others."""
    found: dict[str, type] = {}

    def visit(hint: Any) -> None:
        metadata = getattr(hint, "__metadata__", ())
        names = [getattr(mark, "name", None) for mark in metadata]
        name = next((each for each in names if isinstance(each, str)), None)
        if name is not None and dataclasses.is_dataclass(hint.__origin__):
            found[name] = hint.__origin__
            return
        for part in typing.get_args(hint):
            if not isinstance(part, str):
                visit(part)

    for hint in typing.get_type_hints(kind, include_extras=True).values():
        visit(hint)
    return found


def _option(action: Any) -> tuple[str, str, str]:
    text, default = action.help or "", ""
    match = re.search(r"\s*\((required|optional|repeatable|default: ?(.*?))\)\s*$", text, re.DOTALL)
    if match:
        text, default = text[: match.start()], match[2] if match[2] is not None else match[1]
    name = ", ".join(action.option_strings) or str(action.dest).upper()
    metavar = action.metavar or ""
    metavar = re.sub(r"^\[?(\w+) \[\1 \.\.\.\]\]?$", r"\1 ...", metavar.replace("{None}|", ""))
    if action.option_strings and metavar:
        name += f" {metavar}"
    shown = "" if default in ("None", "", "''", "False") else default
    plain = shown in ("required", "repeatable", "optional") or not shown
    return _code(name), shown if plain else _code(shown), _literal(text)


def _prose(text: str) -> str:
    """A docstring as Markdown: indented commands become a block."""
    blocks: list[str] = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if all(line.startswith(("  ", "optimus ")) for line in lines):
            commands = "\n".join(line.strip() for line in lines)
            blocks.append(f"```sh\n{commands}\n```")
        elif re.match(r"1\. ", block):
            items = re.split(r"\n(?=\d\. )", block)
            blocks.append("\n".join(_literal(" ".join(item.split())) for item in items))
        else:
            blocks.append(_literal(" ".join(line.strip() for line in lines)))
    return "\n\n".join(blocks) + "\n"


# ----------------------------------------------------------------------------------- configuration

# Fields whose line in the code says nothing, since their name does.
MEANINGS = {
    "TrainConfig.name": "also the default run directory, `runs/NAME`",
    "TrainConfig.task": "what the optimizer is trained on; `kind` chooses one of the four below",
    "TrainConfig.phases": "one or more, in order; `updates` of the last is null",
    "TrainConfig.seed": "of weights, noise and tasks",
    "TrainConfig.optimizer": "what is trained: Optimus, or Adafactor-MLP as a baseline",
    "TrainConfig.evaluation": "the fixed held-out tasks",
    "TrainConfig.meta_loss": "how a step is scored; read by `--launch fused`",
    "Phase.estimator": "of the meta-gradient",
    "Phase.meta": "the meta-optimizer",
    "Phase.layout": "lanes and processes",
    "Estimator.noise": "distribution of the perturbation",
    "MetaOptimizer.learning_rate": "of Adam",
    "Layout.actors": "processes that unroll the optimizer",
    "AdafactorMlpConfig.step_mult": "factor of every step",
    "AdafactorMlpConfig.exp_mult": "factor in the exponent of the predicted step size",
    "ClassicalTask.least_dim": "smallest number of coordinates",
    "ServedTask.poison": "period of episodes about which workers raise an error; 0: none",
    "ServedTask.nonfinite": "period of episodes without a finite loss; 0: none",
    "ServedTask.slow": "period of episodes whose evaluations sleep four times as long; 0: none",
    "ServedTask.stagger": "whether a worker's first evaluation takes up to twice as long",
    "PhysicsTask.split": "of the motion clips",
    "MetaLoss.kind": "`log_gap`: log of the gap over the first; `log_ratio`: log(ratio + floor)",
    "Evaluation.steps": "inner steps of each task",
    "Evaluation.seed": "of the tasks",
}
PARTS = {
    "TrainConfig": "Top level",
    "Phase": "`phases.N`: a phase",
    "Estimator": "`phases.N.estimator`",
    "MetaOptimizer": "`phases.N.meta`: clipped Adam",
    "Layout": "`phases.N.layout`: processes and lanes",
    "OptimizerConfig": "`optimizer`: the learned optimizer",
    "AdafactorMlpConfig": "`optimizer`, with `kind` `adafactor_mlp`",
    "AnalyticTask": "`task`, with `kind` `analytic`",
    "ClassicalTask": "`task`, with `kind` `classical`",
    "PhysicsTask": "`task`, with `kind` `physics`",
    "ServedTask": "`task`, with `kind` `served`",
    "MetaLoss": "`meta_loss`",
    "Evaluation": "`evaluation`",
}


def configuration() -> str:
    """Every field of a run's configuration."""
    from optimus import config
    from optimus.config import tasks, training
    from optimus.model import config as model

    parts = []
    for name, title in PARTS.items():
        kind = next(getattr(m, name) for m in (config, training, tasks, model) if hasattr(m, name))
        parts.append(f"## {title} {{ #{name} }}\n\n{_fields(kind)}")
    return "\n".join(parts)


def _fields(kind: type) -> str:
    about, attributes = _attributes(inspect.cleandoc(kind.__doc__ or ""))
    comments = _comments(kind)
    rows = []
    for each in dataclasses.fields(kind):
        meaning = attributes.get(each.name) or comments.get(each.name, "")
        meaning = meaning or MEANINGS.get(f"{kind.__name__}.{each.name}", "")
        if each.name == "kind" and not meaning:
            meaning = "chooses this"
        if not meaning:
            raise ValueError(f"{kind.__name__}.{each.name} has no meaning: a comment, or MEANINGS")
        rows.append((_code(each.name), _type(each.type), _default(each), _literal(meaning)))
    return f"{_literal(about)}\n\n{table(('key', 'type', 'default', 'meaning'), rows)}"


def _attributes(text: str) -> tuple[str, dict[str, str]]:
    """(what stands before "Attributes:", name -> description)."""
    about, _, rest = text.partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in rest.splitlines():
        start = re.match(r"  ([a-z_0-9, ]+): (.*)", line)
        if start and not line.startswith("   "):
            names = [name.strip() for name in start[1].split(",")]
            found.update(dict.fromkeys(names, start[2]))
        else:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return about.strip(), found


def _comments(kind: type) -> dict[str, str]:
    """Field -> the comment at the end of its line, or on the line before."""
    source = inspect.getsource(kind)
    by_line = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines, found = source.splitlines(), {}
    for number, line in enumerate(lines, 1):
        name = re.match(r"    (\w+): ", line)
        if name:
            above = by_line.get(number - 1, "")
            alone = number > 1 and lines[number - 2].strip().startswith("#")
            found.setdefault(name[1], by_line.get(number, above if alone else ""))
    return {name: "" if "The rest is for" in text else text for name, text in found.items()}


def _type(annotation: Any) -> str:
    hint = annotation
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(_code(json.dumps(choice)) for choice in typing.get_args(hint))
    if isinstance(hint, str):
        names = {"Task": "task", "LearnedRule": "optimizer", "tuple[Phase, ...]": "list of phases"}
        return names.get(hint, hint.replace("| None", "or null"))
    if typing.get_args(hint):
        inner = [
            _type(part) for part in typing.get_args(hint) if part not in (Ellipsis, type(None))
        ]
        if typing.get_origin(hint) is tuple:
            return f"list of {inner[0]}"
        null = type(None) in typing.get_args(hint)
        return " or ".join(inner) + (" or null" if null else "")
    return str(getattr(hint, "__name__", hint))


def _default(each: Any) -> str:
    if each.default is not dataclasses.MISSING:
        value = each.default
        if dataclasses.is_dataclass(value) or (isinstance(value, tuple) and len(str(value)) > 60):
            return "below" if each.name == "phases" else "all"
        return _code(json.dumps(value))
    return "required" if each.default_factory is dataclasses.MISSING else "its own defaults"


def configurations() -> str:
    """The configurations by name, with what their files say."""
    from launch import configs

    by_file: dict[str, list[str]] = {}
    for name, (file, _) in configs._runs().items():
        by_file.setdefault(file, []).append(name)
    parts = []
    for file, names in by_file.items():
        text = inspect.cleandoc(configs._module(file).__doc__ or "")
        known = f"Names: {', '.join(map(_code, names))}.\n\n" if len(names) > 1 else ""
        prose = re.sub(r"^(-?[A-Za-z-]+): ", r"**\1**: ", _prose(text), flags=re.MULTILINE)
        parts.append(f"### {file} {{ #config-{file} }}\n\n{known}{prose}")
    return "\n".join(parts)


# ------------------------------------------------------------------------------------------ cards


def cards(folder: str) -> str:
    """A card for each set of weights in a folder, those of Optimus first."""
    paths = sorted((ROOT / folder).glob("*.json"), key=lambda p: (p.stem[0] == "a", p.stem))
    return "\n".join(_card(path) for path in paths if path.with_suffix(".safetensors").exists())


def _card(path: Path) -> str:
    card = json.loads(path.read_text())
    trained, training, compute = card["trained_on"], card["training"], card["compute"]
    shape = card["architecture"]
    if card.get("kind", "optimus") == "optimus":
        size = f"D {shape['dim']}, {shape['encoders']} encoders, {shape['heads']} heads"
        extra = [name for name in ("place", "curvature", "progress") if shape.get(name)]
        extra += [f"L-BFGS direction of {shape['secant']} pairs"] if shape.get("secant") else []
        form = f"{size}; rank-one terms `{shape['rank_one']}`; position `{shape['position']}`"
        form += f"; with {', '.join(extra)}" if extra else ""
    else:
        form = f"Adafactor-MLP, {shape['layers']} hidden layers of {shape['hidden']}"
    data_size = path.with_suffix(".safetensors").stat().st_size
    rows = [
        ("form", form),
        ("weights", f"{card['parameters']:,}, {data_size / 1000:,.0f} kB"),
        ("trained on", _trained_on(trained)),
        *([("N", f"{card['n'][0]} to {card['n'][1]}")] if card.get("n") else []),
        ("episode length", _range(card["horizon"]) + " steps"),
        ("estimators", ", ".join(dict.fromkeys(_estimator(p) for p in training["phases"]))),
        ("updates", f"{_number(training['updates'])} of {_number(training['updates_of_run'])}"),
        ("inner steps", _number(training.get("inner_steps"))),
        ("time", _time(compute)),
        ("seed", str(card["seed"])),
        *([("command", _code(card["command"]))] if card.get("command") else []),
        ("sha256", _code(card["sha256"])),
    ]
    what = card["what"][0].upper() + card["what"][1:]
    return f"### {path.stem} {{ #{path.stem} }}\n\n{_literal(what)}.\n\n{table(('', ''), rows)}"


def _number(value: int | None) -> str:
    return "not recorded" if value is None else f"{value:,}"


def _range(ends: list[int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _estimator(phase: dict[str, Any]) -> str:
    kind = _code(phase["kind"])
    return kind + (", exact derivatives" if phase.get("order") == 2 else "")


def _time(compute: dict[str, Any]) -> str:
    def minutes(value: float | None) -> str:
        return "not recorded" if value is None else f"{value / 60:,.0f} min"

    seconds, cores = compute.get("seconds"), compute.get("core_seconds")
    cpu = "" if cores is None else f", {minutes(cores)} of a core"
    return f"{minutes(seconds)} by the clock{cpu}; {compute['machine']}"


def _trained_on(task: dict[str, Any]) -> str:
    if task["kind"] == "physics":
        about = f"split `{task['split']}`, {task['control']} control"
        return f"motion windows of {task['seconds']} s, {about}"
    names = len(task["functions"])
    parts = [f"{names} functions of the benchmark" if names > 1 else f"`{task['functions'][0]}`"]
    parts = parts if names else []
    if task.get("families"):
        parts.append(
            f"{len(task['families'])} generated families in {task['generated']:.0%} of lanes"
        )
    for field, words in (("shift", "moved"), ("rotate", "rotated")):
        if task.get(field):
            parts.append(f"{task[field]:.0%} {words}")
    if task.get("hold_out"):
        parts.append(f"held out: {', '.join(map(_code, task['hold_out']))}")
    return "; ".join(parts)


# -------------------------------------------------------------------------------------- changelog


def changelog() -> str:
    """CHANGELOG.md without its title, its links made relative to docs/reference."""
    text = (ROOT / "CHANGELOG.md").read_text().partition("\n")[2]
    return re.sub(r"\]\(docs/", "](../", text)


PAGES: dict[str, Callable[[], str]] = {
    "cli": cli,
    "configuration": configuration,
    "configurations": configurations,
    "cards-shipped": lambda: cards(SHIPPED),
    "cards-beside": lambda: cards(BESIDE),
    "changelog": changelog,
}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    print("\n".join(PAGES[name]() for name in sys.argv[1:]))
