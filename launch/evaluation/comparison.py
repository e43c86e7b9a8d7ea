"""Start against end on the fixed evaluation set: the number a run is judged by."""

import dataclasses
import functools
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import scipy.stats

from launch import Say, builders
from launch.evaluation import records
from optimus import rundir
from optimus.config import PhysicsTask, TrainConfig
from optimus.meta import loss as meta_loss
from optimus.meta.update import theta_from_arrays
from optimus.rundir import checkpoint
from optimus.rundir.metrics import read
from optimus.wire import LossPool, LossUnavailable
from workers.scheduling import drive
from workers.unroll import parameter_layout
from workers.unroll.base import Unroll


@dataclass(frozen=True)
class Comparison:
    """Two sets of weights on the same tasks.

    Attributes:
      start, end: mean meta-loss over tasks and steps, log(f / f at the start of the task).
      difference: mean over tasks of end - start; negative is better.
      low, high: 95 % bootstrap interval (BCa over tasks) of `difference`. It takes tasks for
        independent; windows cut from few clips are not, and the interval is then too narrow.
      best_start, best_end: median over tasks of the smallest f over the unroll, as a share of the
        task's first f.
      tasks, steps: size of the evaluation set.
    """

    start: float
    end: float
    difference: float
    low: float
    high: float
    best_start: float
    best_end: float
    tasks: int
    steps: int

    def sentence(self) -> str:
        """One plain line for people."""
        change = f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        undecided = "the interval includes zero: no difference shown"
        verdict = "better" if self.high < 0 else "WORSE" if self.low > 0 else undecided
        means = f"meta-loss {self.start:+.3f} -> {self.end:+.3f} on {self.tasks} held-out tasks"
        return f"{means} (change {change}, 95 % bootstrap): {verdict}"


@functools.lru_cache(maxsize=2)
def _alone(config: TrainConfig) -> Unroll:
    """Of losses that need no pool: compiled for the first checkpoint, used for all."""
    return builders.make_unroll(config, None, signs=1)


def losses(
    config: TrainConfig,
    theta: np.ndarray,
    pool: LossPool | None,
    stop: threading.Event | None = None,
) -> np.ndarray:
    """Meta-losses `[tasks, steps]`; a task that diverged counts the cap from there on.

    Args:
      config: from `held_out`.
      theta: weights, float32 `[P]`.
      pool: where losses are served.
      stop: ends it.

    Raises:
      Stopped: `stop` was set.
      LossUnavailable: the pool abandoned a request: a mean over the other tasks would be that of
        another set.
    """
    tasks, steps = config.evaluation.tasks, config.evaluation.steps
    unroll = _alone(config) if pool is None else builders.make_unroll(config, pool, signs=1)
    weights = jnp.broadcast_to(jnp.asarray(theta), (tasks, 1, theta.size))
    generator = unroll.window(weights, None, range(tasks), steps)
    (window,) = drive([generator], stop or threading.Event())
    if window.unavailable:
        task, why = min(window.unavailable.items())
        missing = f"evaluation: no loss for {len(window.unavailable)} of {tasks} held-out tasks"
        raise LossUnavailable(f"{missing}, so there is no score; task {task}: {why}")
    return np.where(window.mask, window.losses[:, 0], meta_loss.CAP)


def held_out(config: TrainConfig) -> TrainConfig:
    """The configuration with the evaluation's seed and split: tasks of no training episode."""
    task = config.task
    if isinstance(task, PhysicsTask):
        task = dataclasses.replace(task, split=config.evaluation.split)
    return dataclasses.replace(config, seed=config.evaluation.seed, task=task)


def compare(config: TrainConfig, start: np.ndarray, end: np.ndarray) -> Comparison:
    """Unrolls both sets of weights, float32 `[P]`, on the evaluation set of this configuration."""
    evaluation, chosen = config.evaluation, held_out(config)
    with builders.local_pool(chosen) as pool:
        before, after = (losses(chosen, theta, pool) for theta in (start, end))
    differences = (after - before).mean(axis=1)
    if np.ptp(differences) == 0.0:  # the bootstrap is degenerate, e.g. equal weights
        low = high = float(differences[0])
    else:
        how = {"n_resamples": 4000, "rng": np.random.default_rng(0), "method": "BCa"}
        interval = scipy.stats.bootstrap((differences,), np.mean, **how).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Comparison(
        start=float(before.mean()),
        end=float(after.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        best_start=float(np.median(np.exp(before.min(axis=1)))),
        best_end=float(np.median(np.exp(after.min(axis=1)))),
        tasks=evaluation.tasks,
        steps=evaluation.steps,
    )


def result_of(
    config: TrainConfig, run_dir: Path, newest: checkpoint.Checkpoint, say: Say
) -> Comparison:
    """The first and the newest checkpoint compared: read from `eval.jsonl`, or computed and added.

    Args:
      config: the run's.
      run_dir: where it lives.
      newest: its newest checkpoint.
      say: takes lines for the user.
    """
    path = run_dir / records.FILE
    names = [field.name for field in dataclasses.fields(Comparison)]
    lines = (r for r in (read(path) if path.exists() else ()) if "kind" not in r)
    whole = (r for r in lines if all(isinstance(r.get(n), (int, float)) for n in ("step", *names)))
    known = records.judged(run_dir, whole).get(newest.step)
    if known is not None:
        return Comparison(**{name: known[name] for name in names})
    say(f"evaluating start and end on {config.evaluation.tasks} held-out tasks ...")
    layout = parameter_layout(config)
    try:
        first = checkpoint.load(newest.path.with_name("0"))
        rundir.check_checkpoint(first.path, first.manifest, config)
        start = theta_from_arrays(first.arrays, layout)
    except (checkpoint.CheckpointError, rundir.RunDirError) as error:
        say(f"{error}; the start is made anew from the configuration")
        start = builders.initial_theta(config)
    result = compare(config, start, theta_from_arrays(newest.arrays, layout))
    of = {"step": newest.step, "sha256": newest.manifest["sha256"], "time": round(time.time(), 3)}
    try:
        records.add(run_dir, {**of, **dataclasses.asdict(result)})
    except OSError as error:
        say(f"cannot write {path}: {error.strerror}")
    return result
