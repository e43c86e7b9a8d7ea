"""All cells of a preset that lie in OUT, whichever calls computed them.

Methods may thus be run one by one, and the report shows them together. A cell counts if what
decides its numbers is what would decide them now: starts, steps, seed, preset, revision, schema and
library versions. For a method's options, weights and revision the call's own hold; of a method
that this call did not name, those of its newest cell hold. Whatever else lies there is stale.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimus.bench import storage
from optimus.bench.cells import Cell, Method
from optimus.bench.storage import Row
from optimus.problems.functions import FUNCTIONS

Key = tuple[str, int, str]  # (function, dim, method)


@dataclass(frozen=True)
class Gathered:
    """Attributes:
    rows: of all cells: by function, dimension, method (those called first), start.
    traces: (function, dim, method) -> npz of that cell.
    stale: cells of the preset that were left out.
    """

    rows: list[Row]
    traces: dict[Key, Path]
    stale: int


@dataclass(frozen=True)
class _Found:
    """A usable cell: its key, the options and weights it was computed with, and when."""

    key: Key
    name: str
    variant: str
    written: int
    rows: list[Row]


def _parse(name: str, preset: str) -> Key | None:
    """The key in a cell's name, `PRESET-FUNCTION-DIM-METHOD-DIGEST`; None if it is no such name."""
    try:
        function, dim, rest = name[len(preset) + 1 :].split("-", 2)
        method, _ = rest.rsplit("-", 1)
        return (function, int(dim), method) if function in FUNCTIONS else None
    except ValueError:
        return None


def _variant(decides: Mapping[str, Any]) -> str:
    chosen = {name: decides.get(name) for name in ("options", "weights_hash", "method_revision")}
    return json.dumps(chosen, sort_keys=True)


def _look(
    out: Path, name: str, key: Key, template: Cell, methods: Mapping[str, Method]
) -> _Found | None:
    """The cell of that name, or None where something else than the method has changed."""
    function, dim, method = key
    cell = Cell(template.preset, function, dim, method, *_numbers(template))
    stored = storage.load(out, name)
    if stored is None:
        return None
    known = methods.get(method)
    if known is not None and cell.name(known) == name:
        decides: Mapping[str, Any] = known.decides()
    else:
        decides = stored.decides
        now = json.loads(json.dumps(cell.decides()))
        if any(decides.get(what) != value for what, value in now.items()):
            return None
    return _Found(key, name, _variant(decides), storage.written_at(out, name), stored.rows)


def _numbers(cell: Cell) -> tuple[int, int, int]:
    return cell.starts, cell.steps, cell.seed


def gather(
    out: Path,
    preset: str,
    starts: int,
    steps: int,
    seed: int,
    called: Sequence[str],
    methods: Mapping[str, Method],
) -> Gathered:
    """Reads `out/cells`; `called`: the methods whose options and weights are those of `methods`."""
    template = Cell(preset, "", 0, "", starts, steps, seed)
    names = storage.names(out, preset)
    found = []
    for name in names:
        key = _parse(name, preset)
        one = _look(out, name, key, template, methods) if key else None
        if one is not None:
            found.append(one)
    wanted = {name: _variant(methods[name].decides()) for name in called}
    for one in sorted(found, key=lambda one: one.written, reverse=True):
        wanted.setdefault(one.key[2], one.variant)
    chosen = [one for one in found if one.variant == wanted[one.key[2]]]
    order = [*called, *methods, *sorted(wanted)]
    functions = list(FUNCTIONS)
    chosen.sort(key=lambda one: (functions.index(one.key[0]), one.key[1], order.index(one.key[2])))
    return Gathered(
        rows=[row for one in chosen for row in one.rows],
        traces={one.key: storage.trace_path(out, one.name) for one in chosen},
        stale=len(names) - len(chosen),
    )
