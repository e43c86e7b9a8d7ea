"""`optimus train`: prepares the run directory, runs it, evaluates it, says what came out."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch import Say, alongside, handlers_restored, stop_on_signals
from launch.runners import CANNOT
from optimus import rundir
from optimus.config import PhysicsTask, TrainConfig
from optimus.errors import ConfigError, require
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter, read, tail


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
      UserError: one clear line: a ConfigError, RunDirError, CheckpointError, RunFailed or
        PortInUse.
    """
    from launch import builders
    from launch.runners import fused

    why = problem(config, launch, run_dir)
    require(why is None, str(why))
    if launch != "fused":
        builders.check_task(config)
    rundir.prepare(run_dir, config)
    with rundir.owned(run_dir):
        found = builders.newest_checkpoint(run_dir, say)
        if found and found.step >= config.updates:
            say(f"this run is finished at update {found.step}")
        else:
            say(f"training {config.name!r} in {run_dir} ({launch}, {config.updates} updates)")
            if found:
                say(f"resuming from update {found.step}")
            if not _run(config, run_dir, launch, say, base_port, advertise):
                again = f"optimus train {run_dir / rundir.CONFIG} --run-dir {run_dir}"
                again += " --launch fused" if launch == "fused" else ""
                say(f"stopped; this resumes: {again}")
                return
        if launch == "fused":
            fused.summarise(run_dir, say)
        else:
            summarise(config, run_dir, say)


def _run(
    config: TrainConfig,
    run_dir: Path,
    launch: str,
    say: Say,
    base_port: int | None,
    advertise: str | None,
) -> bool:
    """Runs what is left, between two records of the launcher; whether the run is done."""
    from launch.runners import distributed

    launcher = MetricsWriter(run_dir, "launcher")
    launcher.write("started", launch=launch, pid=os.getpid())
    state, cause = "failed", "interrupted"
    unit = "inner steps" if launch == "fused" else "evaluations"
    try:
        with alongside(say_progress, run_dir, config, say, unit):
            if launch in ("local_mt", "local_mp"):
                done = distributed.run(config, run_dir, launch, base_port, advertise)
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
    path, began = run_dir / "metrics" / "learner-0.jsonl", time.time()
    interval, phases = 2.0 if sys.stderr.isatty() else 10.0, len(config.phases)
    shown = -1
    while not wait(interval):
        record = _last_update(path, began)
        if record is None:
            say(f"starting ... {time.time() - began:.0f} s")
        elif record["step"] != shown:
            shown, rate = record["step"], record["step_rate"]
            left = (config.updates - shown) / rate if rate else float("nan")
            phase = f"  phase {record['phase'] + 1}/{phases}" if phases > 1 else ""
            say(
                f"update {shown}/{config.updates}{phase}  meta-loss {record['meta_loss']:+.3f}  "
                f"{record['evaluations_rate']:.0f} {unit}/s  {left:.0f} s left"
            )


def _last_update(path: Path, since: float) -> dict[str, Any] | None:
    """Newest update record of this life, with rates over its last records."""
    if not path.exists():
        return None
    updates = [r for r in tail(path) if r["event"] == "update" and r["time"] >= since]
    if not updates:
        return None
    first, last = updates[0], updates[-1]
    seconds = last["time"] - first["time"]
    share = 1.0 / seconds if seconds > 0 else 0.0
    last["meta_loss"] = float(last["meta_loss"])
    last["step_rate"] = (last["step"] - first["step"]) * share
    last["evaluations_rate"] = (last["evaluations"] - first["evaluations"]) * share
    return last


def summarise(config: TrainConfig, run_dir: Path, say: Say) -> None:
    """Evaluates the first and the newest checkpoint once, writes `eval.jsonl`, says the result."""
    import json
    from dataclasses import asdict

    from launch.evaluation import records
    from launch.evaluation.comparison import Comparison, compare
    from optimus.meta.update import theta_from_arrays
    from workers.unroll import parameter_layout

    folder = run_dir / "checkpoints"
    newest, _ = checkpoint.load_latest(folder)
    assert newest is not None
    path = run_dir / "eval.jsonl"
    known = [r for r in read(path) if "kind" not in r] if path.exists() else []
    record = next((r for r in known if r.get("step") == newest.step), None)
    if record is None:
        say(f"evaluating start and end on {config.evaluation.tasks} held-out tasks ...")
        layout = parameter_layout(config)
        ends = (checkpoint.load(folder / "0"), newest)
        result = compare(config, *(theta_from_arrays(each.arrays, layout) for each in ends))
        record = {"step": newest.step, "time": round(time.time(), 1), **asdict(result)}
        with open(path, "a") as file:
            file.write(json.dumps(record) + "\n")
    result = Comparison(**{k: v for k, v in record.items() if k not in ("step", "time")})
    say(f"run: {run_dir}  (update {newest.step}, checkpoint {newest.path})")
    say(result.sentence())
    if isinstance(config.task, PhysicsTask):
        say(
            f"best loss within {result.steps} steps, as a share of the start: median "
            f"{result.best_start:.3f} -> {result.best_end:.3f}"
        )
    judged = {r["step"]: r for r in records.evaluations(run_dir)}
    best = checkpoint.best_step(folder)
    if best in judged:
        score = records.score_of(judged[best])
        say(f"best of {len(judged)} evaluated checkpoints: update {best}, score {score:+.3f}")
    if config.evaluator and newest.step not in judged:
        say(f"not evaluated: optimus eval {folder / str(newest.step)}")
    say(f"next: optimus watch {run_dir} --once")
