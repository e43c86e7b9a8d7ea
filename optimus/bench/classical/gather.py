"""All cells of a preset that lie in OUT, whichever calls computed them.

Methods may thus be run one by one, and the report shows them together. A cell counts if what
decides its numbers is what would decide them now: starts, steps, seed, preset, schema and library
versions. For a method's options and weights the call's own hold; of a method that this call did not
name, those of its newest cell hold. Whatever else lies there is stale.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimus.bench import storage
from optimus.bench.cells import Cell, Method
from optimus.bench.methods import BASELINES, LEARNED
from optimus.bench.storage import Key, Row
from optimus.problems.functions import FUNCTIONS


@dataclass(frozen=True)
class Gathered:
    """The cells that count.

    Attributes:
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


def _variant(decides: Mapping[str, Any]) -> str:
    return json.dumps([decides.get("options"), decides.get("weights_hash")], sort_keys=True)


def _look(out: Path, name: str, preset: str, counts: tuple[int, int, int]) -> _Found | None:
    """The cell of that name, or None where something else than the method has changed."""
    stored = storage.load(out, name)
    if stored is None or stored.decides.get("function") not in FUNCTIONS:
        return None
    decides: dict[str, Any] = {"dim": 0, "method": "", **stored.decides}
    key = (decides["function"], decides["dim"], decides["method"])
    now = json.loads(json.dumps(Cell(preset, *key, *counts).decides()))
    if any(stored.decides.get(what) != value for what, value in now.items()):
        return None
    written = (out / "cells" / f"{name}.json").stat().st_mtime_ns
    return _Found(key, name, _variant(stored.decides), written, stored.rows)


def gather(
    out: Path, preset: str, counts: tuple[int, int, int], called: Sequence[Method]
) -> Gathered:
    """Reads `out/cells`.

    Args:
      out: folder of the benchmark.
      preset: whose cells are read.
      counts: starts, steps and seed.
      called: the methods whose own options and weights count.
    """
    names = sorted(path.stem for path in (out / "cells").glob(f"{preset}-*.json"))
    looked = (_look(out, name, preset, counts) for name in names)
    found = [one for one in looked if one is not None]
    wanted = {method.name: _variant(method.decides()) for method in called}
    for one in sorted(found, key=lambda one: one.written, reverse=True):
        wanted.setdefault(one.key[2], one.variant)
    chosen = [one for one in found if one.variant == wanted[one.key[2]]]
    order = [*(method.name for method in called), *BASELINES, *LEARNED, *sorted(wanted)]
    functions = list(FUNCTIONS)
    chosen.sort(key=lambda one: (functions.index(one.key[0]), one.key[1], order.index(one.key[2])))
    return Gathered(
        rows=[row for one in chosen for row in one.rows],
        traces={one.key: storage.trace_path(out, one.name) for one in chosen},
        stale=len(names) - len(chosen),
    )
