"""The fused runner: `optimus.meta.fused` with checkpoints, validation, metrics and progress.

Validates at every checkpoint, keeps the best (`checkpoints/BEST`). A stop finishes the update under
way and saves; resuming equals never having stopped, bit for bit, on the same devices.
"""

import math
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from launch import Say, builders, command
from launch.evaluation import records
from launch.monitoring import readings
from optimus.config import TrainConfig, config_hash, to_dict
from optimus.meta.fused.trainer import Trainer
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter, finite, read

_RECORD_EVERY = 1.0  # s


def run(config: TrainConfig, run_dir: Path, stop: threading.Event, say: Say) -> bool:
    """Trains until done or `stop`; True when done.

    Args:
      config: what to run.
      run_dir: where; its newest checkpoint is gone on from.
      stop: ends it after the update under way.
      say: takes lines for the user.
    """
    trainer, found = Trainer(config), builders.newest_checkpoint(run_dir, say)
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


@dataclass
class _Session:
    """One life of a run."""

    config: TrainConfig
    run_dir: Path
    trainer: Trainer
    metrics: MetricsWriter
    say: Say
    saved: int = -1
    failing: bool = False  # the newest save
    of_update: dict[str, float] = field(default_factory=dict)  # the newest one's, for the manifest

    def train(self, stop: threading.Event) -> None:
        trainer, last = self.trainer, time.monotonic()
        self.saved = trainer.step
        while trainer.step < self.config.updates and not stop.is_set():
            found = trainer.update()
            # Waiting here keeps the clock honest and a stop from being far away.
            self.of_update = {name: float(found[name]) for name in ("meta_loss", "norm")}
            due = trainer.step % self.config.checkpoint_every == 0
            due = due or trainer.step == self.config.updates
            if due or time.monotonic() - last >= _RECORD_EVERY:
                last = time.monotonic()
                self._record()
            if due:
                self._save_if_possible()
        if self.saved != trainer.step:
            if self.of_update:
                self._record()
            self.save()

    def _record(self) -> None:
        self.metrics.write(
            "update",
            step=self.trainer.step,
            updates=self.config.updates,
            phase=self.trainer.phase,
            **self.of_update,
            evaluations=self.trainer.inner_steps,
            cpu_seconds=time.process_time(),
            **self.trainer.counts,
        )

    def _save_if_possible(self) -> None:
        """A full disk may be emptied: until the end of the run, the previous checkpoint will do."""
        if not self.run_dir.is_dir():  # never made anew: who deleted it wants it gone
            deleted = f"{self.run_dir} was deleted while the run was going on"
            raise checkpoint.CheckpointError(deleted)
        try:
            self.save()
            self.failing = False
        except checkpoint.CheckpointError as error:
            if not self.failing:
                self.say(f"{error}; the next one will be tried all the same")
            self.failing = True
            self.metrics.write("checkpoint_failed", step=self.trainer.step, cause=str(error))

    def save(self) -> None:
        """Validates, writes a checkpoint, and moves `BEST` if it is one."""
        trainer, folder = self.trainer, self.run_dir / "checkpoints"
        result = trainer.validate()
        manifest = {
            "config_hash": config_hash(self.config),
            "config": to_dict(self.config),
            "launch": "fused",
            "evaluations": trainer.inner_steps,
            "metrics": finite(self.of_update),
            "validation": result,
        }
        keep, every = self.config.keep_checkpoints, self.config.keep_checkpoints_every
        checkpoint.save(folder, trainer.step, trainer.arrays(), manifest, keep, every)
        self.saved = trainer.step
        self.metrics.write("validation", step=trainer.step, **result)
        self.metrics.write("checkpoint", step=trainer.step)
        best = best_validation(self.run_dir)
        if best is not None and best[0] != checkpoint.best_step(folder):
            checkpoint.mark_best(folder, best[0])
        sizes = ", ".join(f"n <= {size} {value:+.2f}" for size, value in result["sizes"].items())
        gap = f"mean log10 gap {result['gap']:+.3f} ({sizes})"
        self.say(f"validation after {trainer.step} updates: {gap}")


def best_validation(run_dir: Path) -> tuple[int, float] | None:
    """(step, mean log10 gap) of the checkpoint that validates best, of those up to `LATEST`."""
    folder = run_dir / "checkpoints"
    newest = checkpoint.latest_step(folder)
    there = (step for step in checkpoint.steps(folder) if newest is not None and step <= newest)
    gaps = [(_gap(folder, step), step) for step in there]
    return min(gaps)[::-1] if gaps else None


def _gap(folder: Path, step: int) -> float:
    """Mean log10 gap of the checkpoint's own validation; infinite where it has none."""
    try:
        gap = float(checkpoint.read_manifest(folder / str(step))["validation"]["gap"])
    except (checkpoint.CheckpointError, ValueError, KeyError, TypeError):
        return math.inf
    return math.inf if math.isnan(gap) else gap


def summarise(run_dir: Path, say: Say) -> None:
    """Says what a run came to, from its files; adds its validations to `eval.jsonl`."""
    curve = records.validations(run_dir)
    path = run_dir / records.FILE
    known = list(read(path)) if path.exists() else []
    try:
        for record in (record for record in curve if record not in known):
            records.add(run_dir, record)
    except OSError as error:
        say(f"cannot write {path}: {error.strerror}")
    newest = checkpoint.latest_step(run_dir / "checkpoints")
    say(f"run: {run_dir}  (update {newest})")
    if damaged := readings.damaged_evaluations(run_dir):
        say(damaged)
    best = best_validation(run_dir)
    if curve and best:
        first, last = (float(curve[k]["gap"]) for k in (0, -1))
        gaps = f"{first:+.3f} -> {last:+.3f}; best {best[1]:+.3f} after {best[0]} updates"
        say(f"validation, mean log10 gap: {gaps} (checkpoints/{best[0]})")
    say(f"next: {command('optimus', 'watch', run_dir, '--once')}")
