"""The audit of a run's ledger: that its weights are those updates and nothing else.

What a learner that died had done after its last checkpoint is done again by the next; those lines
do not survive. Replaying the others from the initial weights must give the newest checkpoint, bit
for bit: then every accepted sample counted once, and nothing that is not in the ledger counted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner.learner import LEDGER
from optimus.config import TrainConfig
from optimus.meta import estimators
from optimus.meta import update as meta_update
from optimus.meta.estimators.evolution import estimate
from optimus.rundir.metrics import read


class LedgerError(RuntimeError):
    """The ledger does not agree with the run; the message is one line."""


@dataclass(frozen=True)
class Entry:
    """One update: the version it led to, and (episode, window, difference, versions) per sample."""

    epoch: int
    step: int
    samples: list[list[Any]]


def surviving(run_dir: Path) -> list[Entry]:
    """Entries of the updates that the newest weights consist of, in order."""
    entries: list[Entry] = []
    starts = {
        record["version"][0]: record["version"][1]
        for record in read(run_dir / "metrics" / "learner-0.jsonl")
        if record["event"] == "learner_started"
    }
    for values in read(run_dir / LEDGER):  # not what a learner was writing when it died
        epoch, step = values["version"]
        begun = starts.get(epoch)
        if begun is not None and (not entries or entries[-1].epoch != epoch):
            entries = [old for old in entries if old.step <= begun]
        entries.append(Entry(epoch, step, values["samples"]))
    newest = starts[max(starts)]  # a learner that has resumed and made no update yet
    if entries and entries[-1].epoch < max(starts):
        entries = [old for old in entries if old.step <= newest]
    return entries


def check(entries: list[Entry], config: TrainConfig) -> None:
    """Raises `LedgerError` unless no step is missing and each sample counts once, in its epoch."""
    seen: set[tuple[int, int]] = set()
    for k, entry in enumerate(entries):
        if entry.step != k + 1:
            raise LedgerError(f"update {entry.step} follows {k}")
        batch = config.phase_at(k).meta.batch
        if len(entry.samples) != batch:
            raise LedgerError(f"update {entry.step} has {len(entry.samples)} samples, not {batch}")
        for episode, window, _, versions in entry.samples:
            where = f"window {window} of episode {episode} in update {entry.step}"
            if (episode, window) in seen:
                raise LedgerError(f"{where} counted before")
            seen.add((episode, window))
            if any(epoch != entry.epoch for epoch, _ in versions):
                raise LedgerError(f"{where}: of epochs {versions}, counted in {entry.epoch}")
            if versions[-1][1] >= entry.step:
                raise LedgerError(f"{where}: made by weights {versions[-1]} that did not exist")


def replay(
    config: TrainConfig, entries: list[Entry], theta: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weights `[P]` after these updates, from `theta`, out of seeds and loss differences alone.

    Raises:
      LedgerError: a pathwise estimator, whose derivatives the ledger does not hold; `check` works.
    """
    state = meta_update.init(config.phases[0].meta, theta)
    for entry in entries:
        phase = config.phase_at(entry.step - 1)
        chosen, estimator = phase.estimator, estimators.of(phase.estimator)
        if estimator.needs_gradient:
            why = "its derivatives are not in the ledger"
            raise LedgerError(f"no replay of {chosen.kind!r}: {why}")
        if entry.step - 1 in config.starts:
            state = meta_update.init(phase.meta, state.theta)
        rows = sorted(entry.samples, key=lambda sample: (sample[0], sample[1]))
        sums = []
        for episode, window, _, _ in rows:
            total = None
            for at in range(0 if estimator.fresh_each_window else window, window + 1):
                of = (config.seed, episode, at, theta.size)
                drawn = estimator.draw(*of, chosen.sigma, chosen.noise)
                total = estimator.advance(total, drawn)
            assert total is not None
            sums.append(total)
        differences = np.asarray([row[2] for row in rows], np.float32)
        gradient = estimate(np.stack(sums), differences, np.float32(chosen.sigma))
        state, _ = meta_update.update(phase.meta, state, gradient)
    return np.asarray(state.theta)
