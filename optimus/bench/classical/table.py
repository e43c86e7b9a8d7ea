"""Table 4 in the paper's form: functions and dimensions down, its five methods across, and counts.

Two rules of agreement are counted, each under its name (fact sheet `benchmark.md`, section 5):
within 10 % or 2 combined standard errors; and the same where 2 standard errors count only within a
factor of 10. Perm, which is Sum of Squares once more in the print, is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optimus.bench.classical import verdict
from optimus.bench.storage import Row
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS

MARKS = {"round-off": "≈", "agrees": "=", "spread": "~", "differs": "≠"}
LEGEND = """\
Each entry: our mean ± standard error, a mark, the printed value, P; the printed value in brackets
where we have none. Marks: ≈ both at round-off; = within 10 %, or within 2 combined standard errors
and a factor of 10; ~ within 2 combined standard errors only; ≠ neither. P: share of resamples of
64 starts that are no worse than the print."""


def centred(preset: str, function: str) -> bool:
    """Whether the optimum is the centre of the start box, as return-zero would like it."""
    dim = 4 if function != "perm" else 2
    return not presets.problem(preset, function, dim, 0, 0).minimiser.any()


def _groups(lines: Sequence[Row]) -> dict[str, list[Row]]:
    """All functions but Perm, and those of them whose optimum is off the centre."""
    counted = [line for line in lines if line["function"] != "perm"]
    off = [line for line in counted if not centred(line["preset"], line["function"])]
    return {"all functions but perm": counted, "optimum off the centre": off}


def _cells(lines: Sequence[Row]) -> str:
    return ", ".join(f"{line['function']} {line['dim']}" for line in lines) or "none"


def agreement_counts(summary: Sequence[Row]) -> list[str]:
    """Per method that the paper has: cells that agree by either rule, and those that do not."""
    found = []
    for method in dict.fromkeys(line["method"] for line in summary):
        compared = [line for line in summary if line["method"] == method and line["verdict"]]
        for title, chosen in _groups(compared).items():
            above = [line for line in chosen if line["agreement"] != "round-off"]
            by = {
                mark: [line for line in above if line["agreement"] == mark]
                for mark in ("agrees", "spread", "differs")
            }
            tally = [line["verdict"] for line in chosen]
            no_worse = tally.count("no worse") + tally.count("clearly better")
            if chosen:
                found.append(
                    f"{method}, {title}: {len(above)} cells above round-off, of which "
                    f"{len(by['agrees']) + len(by['spread'])} within 10 % or 2 standard errors "
                    f"({len(by['agrees'])} if the latter also needs a factor of 10); "
                    f"{len(chosen) - len(above)} at round-off. Differ: {_cells(by['differs'])}. "
                    f"Within 2 standard errors only: {_cells(by['spread'])}. "
                    f"Against the print: no worse {no_worse}, of which clearly better "
                    f"{tally.count('clearly better')}; clearly worse "
                    f"{tally.count('clearly worse')}; of {len(chosen)}"
                )
    return found


def best_counts(summary: Sequence[Row]) -> list[str]:
    """How often each of the paper's five is best of the five, ties after the floor counting for
    all; beside them how often a method that never looks is at least as good as the best of them."""
    means: dict[tuple[str, int], dict[str, float]] = {}
    for line in summary:
        means.setdefault((line["function"], line["dim"]), {})[line["method"]] = line["mean"]
    whole = [
        {"preset": summary[0]["preset"], "function": function, "dim": dim, "means": found}
        for (function, dim), found in means.items()
        if all(method in found for method in verdict.PRINTED_METHODS)
    ]
    found = []
    for title, chosen in _groups(whole).items():
        tally: dict[str, int] = dict.fromkeys(verdict.PRINTED_METHODS, 0)
        for line in chosen:
            problem = presets.problem(line["preset"], line["function"], line["dim"], 0, 0)
            level = problem.minimum + problem.floor
            floored = {method: max(mean, level) for method, mean in line["means"].items()}
            least = min(floored[method] for method in verdict.PRINTED_METHODS)
            for method in (*verdict.PRINTED_METHODS, "return_zero", "shrink"):
                if method in floored:
                    tally[method] = tally.get(method, 0) + (floored[method] <= least)
        if chosen:
            words = ", ".join(f"{method} {count}" for method, count in tally.items())
            found.append(f"best of the paper's five, ours, {title}: {words}; of {len(chosen)}")
    return found


def _ours(line: Row) -> str:
    return f"{line['mean']:.3g} ± {line['error']:.1g}"


def _beside_print(line: Row | None, printed: float | None) -> str:
    if line is None or line["printed"] is None:
        ours = _ours(line) if line else ""
        return ours if printed is None else f"{ours} ({printed:.3g})".strip()
    mark = MARKS[line["agreement"]]
    return f"{_ours(line)} {mark} {line['printed']:.3g} (P {line['share']:.2f})"


def _table(
    keys: Sequence[tuple[str, int]],
    methods: Sequence[str],
    lines: Mapping[tuple[str, int, str], Row],
    printed: Mapping[tuple[str, int, str], float],
) -> list[str]:
    text = ["| function | dim | " + " | ".join(methods) + " |", "|---" * (len(methods) + 2) + "|"]
    for key in keys:
        entries = [
            _beside_print(lines.get((*key, method)), printed.get((*key, method)))
            for method in methods
        ]
        text.append(f"| {key[0]} | {key[1]} | " + " | ".join(entries) + " |")
    return [*text, ""]


def markdown(summary: Sequence[Row]) -> str:
    """`table4.md` of a summary (`report.summarise`) of one preset."""
    preset, starts = summary[0]["preset"], max(line["starts"] for line in summary)
    lines = {(line["function"], line["dim"], line["method"]): line for line in summary}
    order = {name: place for place, name in enumerate(FUNCTIONS)}
    keys = sorted({key[:2] for key in lines}, key=lambda key: (order[key[0]], key[1]))
    methods = tuple(dict.fromkeys(line["method"] for line in summary))
    text = [f"# Table 4, preset {preset}, {starts} starts", ""]
    if presets.preset(preset).slips:
        text += [LEGEND]
        if starts < verdict.WANTED_STARTS:
            text.append(f"The verdict wants {verdict.WANTED_STARTS} starts; here are {starts}.")
        text += ["", *(f"* {line}" for line in agreement_counts(summary) + best_counts(summary))]
        text += ["", "## The paper's methods", ""]
        text += _table(keys, verdict.PRINTED_METHODS, lines, verdict.printed())
        methods = tuple(name for name in methods if name not in verdict.PRINTED_METHODS)
        text += ["## Other methods", ""] if methods else []
    else:
        text += [*(f"* {line}" for line in best_counts(summary)), ""]
    if methods:
        text += _table(keys, methods, lines, {})
    return "\n".join(text)
