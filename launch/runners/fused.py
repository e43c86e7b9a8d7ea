"""The fused runner: `optimus.meta.fused` with checkpoints, validation, metrics and progress.

Validates at every checkpoint, keeps the best (`checkpoints/BEST`). A stop finishes the update under
way and saves; resuming equals never having stopped, bit for bit, on the same devices.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optimus.config import TrainConfig, config_hash
from optimus.meta.fused.trainer import Trainer
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter, finite, read

_RECORD_EVERY = 1.0  # s


def run(
    config: TrainConfig, run_dir: Path, stop: threading.Event, say: Callable[[str], None]
) -> bool:
    """Trains until done or `stop`; True when done.

    Args:
      config: what to run.
      run_dir: where; its newest checkpoint is gone on from.
      stop: ends it after the update under way.
      say: takes lines for the user.
    """
    trainer = Trainer(config)
    found, problems = checkpoint.load_latest(run_dir / "checkpoints")
    for problem in problems:
        say(f"{problem}; using step {found.step if found else '?'} instead")
    metrics = MetricsWriter(run_dir, "learner")
    try:
        devices = trainer.devices_used
        metrics.write("learner_started", resumed=found is not None, devices=devices)
        session = _Session(config, run_dir, trainer, metrics, say)
        if found is not None:
            trainer.load(found.arrays)
        else:
            session.save()
        session.train(stop)
    finally:
        metrics.close()
    return trainer.step >= config.updates


class _Session:
    """One life of a run."""

    def __init__(
        self,
        config: TrainConfig,
        run_dir: Path,
        trainer: Trainer,
        metrics: MetricsWriter,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._trainer = trainer
        self._metrics = metrics
        self._say = say
        self._saved = -1
        self._of_update: dict[str, float] = {}  # the newest one's, for the manifest

    def train(self, stop: threading.Event) -> None:
        trainer, last = self._trainer, time.monotonic()
        self._saved = trainer.step
        found: dict[str, Any] = {}
        while trainer.step < self._config.updates and not stop.is_set():
            found = trainer.update()
            # Waiting here keeps the clock honest and a stop from being far away.
            self._of_update = {name: float(found[name]) for name in ("meta_loss", "norm")}
            due = trainer.step % self._config.checkpoint_every == 0
            due = due or trainer.step == self._config.updates
            if due or time.monotonic() - last >= _RECORD_EVERY:
                last = time.monotonic()
                self._record(found)
            if due:
                self.save()
        if self._saved != trainer.step:
            if found:
                self._record(found)
            self.save()

    def _record(self, found: dict[str, Any]) -> None:
        counts = self._trainer.counts
        self._metrics.write(
            "update",
            step=self._trainer.step,
            updates=self._config.updates,
            phase=self._trainer.phase,
            meta_loss=float(found["meta_loss"]),
            norm=float(found["norm"]),
            evaluations=self._trainer.inner_steps,
            cpu_seconds=time.process_time(),
            **counts,
        )

    def save(self) -> None:
        """Validates, writes a checkpoint, and moves `BEST` if it is one."""
        trainer, folder = self._trainer, self._run_dir / "checkpoints"
        result = trainer.validate()
        manifest = {
            "config_hash": config_hash(self._config),
            "launch": "fused",
            "evaluations": trainer.inner_steps,
            "metrics": finite(self._of_update),
            "validation": result,
        }
        keep, every = self._config.keep_checkpoints, self._config.keep_checkpoints_every
        checkpoint.save(folder, trainer.step, trainer.arrays(), manifest, keep, every)
        self._saved = trainer.step
        self._metrics.write("validation", step=trainer.step, **result)
        self._metrics.write("checkpoint", step=trainer.step)
        best = best_validation(self._run_dir)
        if best is None or result["gap"] < best[1]:
            checkpoint.mark_best(folder, trainer.step)
        self._say(
            f"validation after {trainer.step} updates: mean log10 gap {result['gap']:+.3f}"
            f" ({_listed(result['sizes'])})"
        )


def _listed(sizes: dict[str, float]) -> str:
    return ", ".join(f"n <= {size} {value:+.2f}" for size, value in sizes.items())


def best_validation(run_dir: Path) -> tuple[int, float] | None:
    """(step, mean log10 gap) of the checkpoint that `BEST` names."""
    step = checkpoint.best_step(run_dir / "checkpoints")
    if step is None:
        return None
    try:
        manifest = json.loads(
            (run_dir / "checkpoints" / str(step) / checkpoint.MANIFEST).read_text()
        )
        return step, float(manifest["validation"]["gap"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def summarise(run_dir: Path, say: Callable[[str], None]) -> None:
    """Says what a run came to, from its files; writes its validations to `eval.jsonl`."""
    records = {
        record["step"]: record
        for record in read(run_dir / "metrics" / "learner-0.jsonl")
        if record["event"] == "validation"
    }
    curve = [records[step] for step in sorted(records)]
    path = run_dir / "eval.jsonl"  # what `optimus eval` added stays
    judged = [record for record in read(path) if "kind" in record] if path.exists() else []
    checkpoint.write_atomically(
        path, "".join(json.dumps(record) + "\n" for record in [*curve, *judged])
    )
    newest = checkpoint.steps(run_dir / "checkpoints")[-1]
    say(f"run: {run_dir}  (update {newest})")
    best = best_validation(run_dir)
    if curve and best:
        say(
            f"validation, mean log10 gap: {curve[0]['gap']:+.3f} -> {curve[-1]['gap']:+.3f}; best "
            f"{best[1]:+.3f} after {best[0]} updates (checkpoints/{best[0]})"
        )
    say(f"next: optimus watch {run_dir} --once")
