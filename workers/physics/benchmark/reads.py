"""Who has read the held-out clips: a line in OUT/test_reads.jsonl for every learned method.

The log is that of the classical benchmark (`optimus.bench.reads`), whose `add_to_card` copies it
into the card of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optimus import weights
from optimus.bench import reads
from optimus.bench.methods.sources import source_of
from workers.physics.benchmark import cells
from workers.physics.benchmark.methods import Models
from workers.physics.benchmark.plan import Case, Settings


def note(settings: Settings, windows: Sequence[Case], models: Models, out: Path) -> None:
    """Adds a line for each method with weights, of the windows of `out` that are not there yet.

    functions are the clips, dims the numbers of controls, starts the windows. Other splits than the
    held-out one are not logged; weights that cannot be loaded read nothing.
    """
    if not settings.reads_test:
        return
    for method in settings.rows:
        chosen = models.used_by(method)
        if chosen is None:
            continue
        new = [
            case
            for case in windows
            if cells.load(out / "cells", cells.name(settings, case, method, models)) is None
        ]
        try:
            source = source_of(weights.load(chosen), chosen)
        except (weights.WeightsError, ImportError):
            continue
        if not new:
            continue
        found = [
            (case.clip.name if case.clip else case.name, case.build(settings.options).dim)
            for case in new
        ]
        reads.note(
            out,
            method,
            source.fingerprint,
            {"": source},
            found,
            set=f"physics {settings.split}, {settings.length:g} s",
            starts=len(new),
            steps=settings.budget,
            seed=settings.seed,
        )
