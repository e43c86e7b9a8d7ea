"""The ledger of a run: with `OPTIMUS_LEDGER=1` the learner writes what each update was made of.

A replay of its lines from the initial weights must give the newest checkpoint, bit for bit.
"""

from collections.abc import Sequence

from learner.intake import Contribution
from optimus.rundir.metrics import LinesWriter
from optimus.wire import Version

FILE = "ledger.jsonl"


def append(lines: LinesWriter, version: Version, batch: Sequence[Contribution]) -> None:
    """Adds the line of the update that led to `version`."""
    samples = [[c.sample.episode, c.sample.window, c.difference, c.sample.versions] for c in batch]
    lines.append({"version": list(version), "samples": samples})
