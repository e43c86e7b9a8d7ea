"""`optimus train`: prepares the run directory, runs it, evaluates it, says what came out."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from launch.runners.progress import Progress
from optimus import rundir
from optimus.config import ConfigError, PhysicsTask, TrainConfig
from optimus.errors import UserError
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter, read


def train(
    config: TrainConfig,
    run_dir: Path,
    launch: str,
    say: Callable[[str], None],
    base_port: int | None = None,
    advertise: str | None = None,
) -> None:
    """Meta-trains, or resumes, or reports a finished run.

    Args:
      config: what to run. run_dir: where; the same directory resumes.
      launch: one of `LAUNCH_TYPES`.
      say: takes lines for the user.
      base_port: first port of the servers, or None for free ones.
      advertise: name of this host for others that join, or None for this host alone.

    Raises:
      ConfigError, rundir.RunDirError, checkpoint.CheckpointError, RunFailed, roster.PortInUse:
      one clear line each.
    """
    from launch import builders
    from launch.runners import fused

    problem = fused.check(config, launch, run_dir)
    if problem:
        raise ConfigError(problem)
    if launch != "fused":
        builders.check_task(config)
    rundir.prepare(run_dir, config)
    with rundir.owned(run_dir):
        found = builders.newest_checkpoint(run_dir, say)
        if found and found.step >= config.updates:
            say(f"this run is finished at update {found.step}")
            _summarise(config, run_dir, launch, say)
            return
        say(f"training {config.name!r} in {run_dir} ({launch}, {config.updates} updates)")
        if found:
            say(f"resuming from update {found.step}")
        launcher = MetricsWriter(run_dir, "launcher")
        launcher.write("started", launch=launch, pid=os.getpid())
        state, cause = "failed", "interrupted"
        try:
            unit = "inner steps" if launch == "fused" else "evaluations"
            with Progress(run_dir, config, say, unit):
                if launch in ("inprocess", "fused"):
                    done = _run_in_process(config, run_dir, launch, say)
                else:
                    done = _run_program(config, run_dir, launch, base_port, advertise)
            state, cause = ("finished" if done else "stopped"), ""
        except Exception as error:
            cause = str(error)
            raise
        finally:
            launcher.write("ended", state=state, cause=cause)
            launcher.close()
        if not done:
            again = f"optimus train {run_dir / rundir.CONFIG} --run-dir {run_dir}"
            again += " --launch fused" if launch == "fused" else ""
            say(f"stopped; this resumes: {again}")
            return
        _summarise(config, run_dir, launch, say)


class RunFailed(UserError, RuntimeError):
    """A node failed; the message is one line with the cause and the log to read."""


def _run_in_process(
    config: TrainConfig, run_dir: Path, launch: str, say: Callable[[str], None]
) -> bool:
    from launch.runners import fused, inprocess

    runner = fused.run if launch == "fused" else inprocess.run
    stop = threading.Event()
    previous = {}

    def handle(number: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, handle)
    try:
        return runner(config, run_dir, stop, say)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _run_program(
    config: TrainConfig,
    run_dir: Path,
    launch: str,
    base_port: int | None,
    advertise: str | None,
) -> bool:
    from launch.program import addresses as rosters
    from launch.program import exit_record

    roster = rosters.choose(config, base_port, advertise or "localhost")
    roster.write(run_dir)
    logs = run_dir / "logs"
    os.environ["LAUNCHPAD_LOGGING_DIR"] = str(logs)  # read when launchpad is imported
    from launch.program import program as programs

    began = time.time()
    logs.mkdir(exist_ok=True)
    # Launchpad prints; its lines go beside the roles' logs, ours stay readable.
    with open(logs / "launcher.log", "a") as log, _both_redirected(log):
        failure = programs.launch_and_wait(programs.build(config, run_dir, roster), launch)
    if failure:
        raise RunFailed(exit_record.cause_of_failure(str(run_dir), began) or failure)
    found, _ = checkpoint.load_latest(run_dir / "checkpoints")
    return found is not None and found.step >= config.updates


@contextlib.contextmanager
def _both_redirected(log: TextIO) -> Iterator[None]:
    """Sends Python's stdout and the process's stderr (C++ libraries write there) to a log."""
    sys.stderr.flush()
    saved = os.dup(2)
    os.dup2(log.fileno(), 2)
    try:
        with contextlib.redirect_stdout(log):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


def _summarise(config: TrainConfig, run_dir: Path, launch: str, say: Callable[[str], None]) -> None:
    from launch.runners import fused

    if launch == "fused":
        fused.summarise(run_dir, say)
    else:
        summarise(config, run_dir, say)


def summarise(config: TrainConfig, run_dir: Path, say: Callable[[str], None]) -> None:
    """Evaluates the first and the newest checkpoint once, writes `eval.jsonl`, says the result."""
    import json
    from dataclasses import asdict

    from launch.evaluation.comparison import Comparison, compare
    from learner.learner import theta_from_arrays
    from workers.unroll import parameter_layout

    newest, _ = checkpoint.load_latest(run_dir / "checkpoints")
    assert newest is not None
    path = run_dir / "eval.jsonl"
    known = [r for r in read(path) if "kind" not in r] if path.exists() else []
    record = next((r for r in known if r.get("step") == newest.step), None)
    if record is None:
        say(f"evaluating start and end on {config.evaluation.tasks} held-out tasks ...")
        layout = parameter_layout(config)
        first = checkpoint.load(run_dir / "checkpoints" / "0")
        result = compare(
            config,
            theta_from_arrays(first.arrays, layout),
            theta_from_arrays(newest.arrays, layout),
        )
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
    _say_best(config, run_dir, newest.step, say)
    say(f"next: optimus watch {run_dir} --once")


def _say_best(config: TrainConfig, run_dir: Path, newest: int, say: Callable[[str], None]) -> None:
    from launch.evaluation import records

    judged = {r["step"]: r for r in records.evaluations(run_dir)}
    best = checkpoint.best_step(run_dir / "checkpoints")
    if best in judged:
        score = records.score_of(judged[best])
        say(f"best of {len(judged)} evaluated checkpoints: update {best}, score {score:+.3f}")
    if config.evaluator and newest not in judged:
        say(f"not evaluated: optimus eval {run_dir / 'checkpoints' / str(newest)}")
