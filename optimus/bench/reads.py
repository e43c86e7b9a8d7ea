"""Who has read the test set: the benchmark's starts are read here and nowhere else.

Before a benchmark computes a cell with weights it adds a line to OUT/test_reads.jsonl: when, which
cells, and the weights by fingerprint. Weights that change get another fingerprint, so a line speaks
of frozen ones; lines of other weights of the same run (`config_hash`) are reads from before. The
package may be installed read-only, so the log lies in OUT; `add_to_card`, a maintainer's step
before weights are shipped, copies it into their card. What nobody logs (a fork, a deleted OUT)
is not known: the card says what was logged, not that there was nothing else.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optimus import weights
from optimus.bench import storage
from optimus.bench.cells import Cell, Method
from optimus.bench.methods.sources import UNKNOWN, Source
from optimus.rundir import checkpoint, metrics

LOG = "test_reads.jsonl"
KEYS = ("time", "set", "functions", "dims", "starts", "steps", "seed", "cells")


def note(
    out: Path,
    method: str,
    weights_hash: str,
    sources: Mapping[str, Source],
    cells: Sequence[tuple[str, int]],
    **settings: Any,
) -> None:
    """Adds a line to the log of `out`, before the cells, (function, dim), are computed.

    `settings`: set (the preset or suite), starts, steps, seed.
    """
    line = {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "method": method,
        "weights_hash": weights_hash,
        "weights": [
            {
                "fold": fold,
                "name": source.name,
                "fingerprint": source.fingerprint,
                "arm": source.arm,
                "config_hash": source.config_hash,
                "frozen": source.frozen,
            }
            for fold, source in sources.items()
        ],
        **settings,
        "functions": sorted({function for function, _ in cells}),
        "dims": sorted({dim for _, dim in cells}),
        "cells": len(cells),
    }
    out.mkdir(parents=True, exist_ok=True)
    with open(out / LOG, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def note_cells(out: Path, planned: Sequence[Cell], methods: Mapping[str, Method]) -> None:
    """Logs the cells of the classical benchmark that are not yet there, a line a learned method."""
    for name in dict.fromkeys(cell.method for cell in planned):
        method, own = methods[name], [cell for cell in planned if cell.method == name]
        new = [cell for cell in own if not storage.exists(out, cell.name(method))]
        if not method.sources or not new:
            continue
        note(
            out,
            name,
            method.weights_hash,
            method.sources,
            [(cell.function, cell.dim) for cell in new],
            set=f"classical {new[0].preset}",
            starts=new[0].starts,
            steps=new[0].steps,
            seed=new[0].seed,
        )


def arms(out: Path) -> dict[str, str]:
    """weights_hash -> arm in words, of all weights that the log of `out` names."""
    found = {}
    for line in metrics.read(out / LOG) if (out / LOG).is_file() else ():
        named = {used["arm"] for used in line["weights"]}
        found[line["weights_hash"]] = ", ".join(sorted(named))
    return found


def said(rows: Iterable[Mapping[str, Any]], out: Path) -> dict[str, str]:
    """Method -> "arm B (weights 0123456789abcdef)", of the learned ones among rows of `out`."""
    hashes = {row["method"]: row["weights_hash"] for row in rows if row["weights_hash"]}
    known = arms(out)
    return {
        method: f"arm {known.get(weights_hash, UNKNOWN)} (weights {weights_hash})"
        for method, weights_hash in hashes.items()
    }


def add_to_card(
    path: str | os.PathLike[str], logs: Iterable[str | os.PathLike[str]]
) -> tuple[int, int]:
    """Copies what logs say of some weights into their card; what it has already is not repeated.

    Args:
      path: NAME.safetensors, or the folder of `weights.save`.
      logs: files `test_reads.jsonl` of benchmarks.

    Returns:
      (reads in the card, reads of other weights of the same run in the card).

    Raises:
      WeightsError: weights, card or a log cannot be read, or the card cannot be written; one line.
    """
    target = weights.card_path(path)
    model = weights.load(target.with_suffix(".safetensors"))
    card = json.loads(target.read_text())
    own = list(card.get("test_reads", []))
    others = list(card.get("test_reads_of_others", []))
    for log in logs:
        if not Path(log).is_file():
            raise weights.WeightsError(f"no log of reads at {log}; a benchmark's is OUT/{LOG}")
        for line in metrics.read(Path(log)):
            for used in line.get("weights", []):
                read = {key: line.get(key) for key in KEYS}
                if used.get("fingerprint") == model.fingerprint:
                    own += [read] if read not in own else []
                elif used.get("config_hash") and used["config_hash"] == card.get("config_hash"):
                    read["fingerprint"] = used["fingerprint"]
                    others += [read] if read not in others else []
    card |= {"test_reads": own, "test_reads_of_others": others}
    try:
        checkpoint.write_atomically(target, json.dumps(card, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise weights.WeightsError(f"cannot write {target}: {error.strerror or error}") from None
    return len(own), len(others)
