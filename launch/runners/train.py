"""`optimus train`: prepares the run directory, runs it, evaluates it, says what came out."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from launch import Say, alongside, command, handlers_restored, patient, stop_on_signals
from launch.monitoring import readings
from launch.runners import CANNOT
from optimus import rundir
from optimus.config import PhysicsTask, TrainConfig
from optimus.errors import ConfigError, UserError, require
from optimus.rundir import checkpoint
from optimus.rundir.metrics import Follower, MetricsWriter, Record


def train(
    config: TrainConfig,
    run_dir: Path,
    launch: str,
    say: Say,
    base_port: int | None = None,
    advertise: str | None = None,
) -> None:
    """Meta-trains, or resumes, or reports a finished run.

    Args:
      config: what to run.
      run_dir: where; the same directory resumes.
      launch: one of `runners.LAUNCH_TYPES`.
      say: takes lines for the user.
      base_port: first port of the servers, or None for free ones.
      advertise: name of this host for others that join, or None for this host alone.

    Raises:
      UserError: one clear line: a ConfigError, RunDirError, CheckpointError, IdentityError,
        RunFailed or PortInUse.
    """
    from launch import builders
    from launch.runners import fused
    from learner import identity

    say = patient(say)
    why = problem(config, launch, run_dir)
    require(why is None, str(why))
    if launch != "fused":
        builders.check_task(config)
    with rundir.owned(run_dir):
        rundir.check(run_dir, config)
        found = builders.newest_checkpoint(run_dir, say)
        if found:
            rundir.check_checkpoint(found.path, found.manifest, config)
        if launch != "fused":
            identity.check(run_dir, found.manifest if found else {})
        if found is None or found.step <= config.updates:  # else mistyped, and not written down
            rundir.prepare(run_dir, config)
        if found and found.step >= config.updates:
            say(f"this run is finished at update {found.step}")
        else:
            say(f"training {config.name!r} in {run_dir} ({launch}, {config.updates} updates)")
            if found:
                say(f"resuming from update {found.step}")
            how = ("--launch", launch) if launch == "fused" else ()
            words = ("train", run_dir / rundir.CONFIG, "--run-dir", run_dir, *how)
            resumes = f"this resumes: {command('optimus', *words)}"
            try:
                done = _run(config, run_dir, launch, say, base_port, advertise)
            except UserError:
                if checkpoint.latest_step(run_dir / "checkpoints") is not None:
                    say(f"failed; once its cause is mended, {resumes}")
                raise
            if not done:
                say(f"stopped; {resumes}")
                return
        if launch == "fused":
            fused.summarise(run_dir, say)
        else:
            summarise(config, run_dir, say)


def _run(config: TrainConfig, run_dir: Path, launch: str, say: Say, *where: Any) -> bool:
    """Runs what is left, between two records of the launcher; whether the run is done. `where`: see
    `train`."""
    from launch.runners import distributed

    launcher = MetricsWriter(run_dir, "launcher")
    launcher.write("started", launch=launch, pid=os.getpid())
    state, cause = "failed", "interrupted"
    unit = "inner steps" if launch == "fused" else "evaluations"
    try:
        with alongside(say_progress, run_dir, config, say, unit):
            if launch in ("local_mt", "local_mp"):
                done = distributed.run(config, run_dir, launch, *where)
            else:
                from launch.runners import fused, inprocess

                runner = fused.run if launch == "fused" else inprocess.run
                with handlers_restored():
                    done = runner(config, run_dir, stop_on_signals(), say)
        state, cause = ("finished" if done else "stopped"), ""
    except Exception as error:
        cause = str(error)
        raise
    finally:
        launcher.write("ended", state=state, cause=cause)
        launcher.close()
    return done


def problem(config: TrainConfig, launch: str, run_dir: Path) -> str | None:
    """Why this configuration or directory cannot be run by `launch`, or None."""
    from optimus.weights.warm_start import initial_params

    cannot = CANNOT[launch](config)
    if cannot:
        return cannot
    if config.initial:
        try:
            initial_params(config)
        except ConfigError as error:
            return str(error)
    found, _ = checkpoint.load_latest(run_dir / "checkpoints")
    if found is not None and (found.manifest.get("launch") == "fused") != (launch == "fused"):
        return f"{run_dir / rundir.CONFIG} was run by another --launch; resume it with that"
    return None


def say_progress(
    run_dir: Path, config: TrainConfig, say: Say, unit: str, wait: Callable[[float], bool]
) -> None:
    """Says where the run is every few seconds, from its metrics file alone.

    Args:
      run_dir: where the run lives.
      config: what runs.
      say: takes lines for the user.
      unit: of the evaluations.
      wait: `wait(seconds)` says whether to end.
    """
    path, began = run_dir / "metrics" / "learner-0.jsonl", time.monotonic()
    follower = Follower(path, path.stat().st_size if path.exists() else 0)
    interval, shown = 2.0 if sys.stderr.isatty() else 10.0, -1
    updates: deque[Record] = deque(maxlen=1000)  # of the learner's newest life
    while not wait(interval):
        while records := follower.new():
            for record in records:
                if record.get("event") == "learner_started":
                    updates.clear()
                elif record.get("event") == "update" and readings.sound(record):
                    updates.append(record)
        if not updates:
            say(f"starting ... {time.monotonic() - began:.0f} s")
        elif updates[-1]["step"] != shown:
            shown = updates[-1]["step"]
            say(progress_line(config, updates, unit))


def progress_line(config: TrainConfig, updates: Sequence[Record], unit: str) -> str:
    """Where a run is; rate and time left as soon as they are known.

    Args:
      config: what runs. updates: newest records of one life of the learner, one at least.
      unit: of the evaluations.
    """
    newest, loss = updates[-1], readings.number(updates[-1], "meta_loss")
    chosen, seconds = readings.recent(list(updates), None)
    speed = readings.rate(chosen, "step", seconds)
    rate = readings.rate(chosen, "evaluations", seconds)
    parts = [f"update {newest['step']}/{config.updates}"]
    if len(config.phases) > 1:
        parts.append(f"phase {readings.whole(newest, 'phase') + 1}/{len(config.phases)}")
    parts.append("meta-loss not finite" if loss is None else f"meta-loss {loss:+.3f}")
    if rate:
        parts.append(f"{rate:.0f} {unit}/s" if rate >= 10 else f"{rate:.2g} {unit}/s")
    if speed:
        parts.append(f"{max(0, config.updates - newest['step']) / speed:.0f} s left")
    return "  ".join(parts)


def summarise(config: TrainConfig, run_dir: Path, say: Say) -> None:
    """Evaluates the first and the newest checkpoint once, writes `eval.jsonl`, says the result."""
    from launch.evaluation import comparison, records

    folder = run_dir / "checkpoints"
    newest, _ = checkpoint.load_latest(folder)
    assert newest is not None
    result = comparison.result_of(config, run_dir, newest, say)
    say(f"run: {run_dir}  (update {newest.step}, checkpoint {newest.path})")
    if damaged := readings.damaged_evaluations(run_dir):
        say(damaged)
    say(result.sentence())
    if isinstance(config.task, PhysicsTask):
        medians = f"{result.best_start:.3f} -> {result.best_end:.3f}"
        within = f"best loss within {result.steps} steps, as a share of the start"
        say(f"{within}: median {medians}")
    judged = records.judged(run_dir, records.evaluations(run_dir))
    best = checkpoint.best_step(folder)
    if best in judged:
        score = records.score_of(judged[best])
        say(f"best of {len(judged)} evaluated checkpoints: update {best}, score {score:+.3f}")
    if config.evaluator and newest.step not in judged:
        say(f"not evaluated: {command('optimus', 'eval', folder / str(newest.step))}")
    say(f"next: {command('optimus', 'watch', run_dir, '--once')}")
