"""Builds each role's plain object out of the configuration; knows no servers."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from launch import Say
from launch.adapters.local import LocalPool
from learner.intake import largest_sample
from learner.learner import Learner
from optimus.config import AnalyticTask, Phase, PhysicsTask, ServedTask, TrainConfig
from optimus.errors import ConfigError
from optimus.meta import estimators
from optimus.rundir import checkpoint
from optimus.rundir.histogram import Histogram
from optimus.rundir.metrics import MetricsWriter
from optimus.tasks import analytic
from optimus.weights.warm_start import initial_params
from optimus.wire import LossPool, ParameterSource, SampleReader, SampleWriter
from workers.actor import Actor
from workers.synthetic_loss import SyntheticLossServer, SyntheticWindows
from workers.unroll import AnalyticUnroll, PooledUnroll, Unroll, parameter_layout

if TYPE_CHECKING:
    from workers.physics.loss import Backend


def initial_theta(config: TrainConfig) -> np.ndarray:
    """Weights to start from, float32 `[P]`; raises `ConfigError` as `initial_params` does."""
    return parameter_layout(config).flatten(initial_params(config))


def sample_limit(config: TrainConfig) -> int:
    """Bytes of the largest sample of this run."""
    return largest_sample(config, parameter_layout(config).size)


def check_task(config: TrainConfig) -> None:
    """Makes sure the task can be evaluated here, before any process is started.

    Raises:
      ConfigError: unknown family, split or clip; a window that does not fit. The native library's
      and the motion data's own errors name what to build or fetch.
    """
    try:
        if isinstance(config.task, AnalyticTask):
            analytic.family(config.task.family)
        if not isinstance(config.task, PhysicsTask):
            return
        from workers.physics.loss.windows import PhysicsWindows  # needs the native library

        for split in (config.task.split, config.evaluation.split):
            PhysicsWindows(dataclasses.replace(config.task, split=split), config.seed)
    except ValueError as error:
        raise ConfigError(f"task: {error}") from None


def make_loss_server(
    config: TrainConfig, metrics: MetricsWriter | None = None, backend: Backend | None = None
) -> Any:
    """What evaluates this configuration's losses: an object with `evaluate`, `ping`, `report`.

    `backend` of physics; None: the TensorFlow op where TensorFlow is installed, else the direct
    one.
    """
    if isinstance(config.task, ServedTask):
        return SyntheticLossServer(config.task, metrics)
    from workers.physics.loss.server import PhysicsLossServer  # needs the native library

    assert isinstance(config.task, PhysicsTask)
    best: Backend = "tensorflow" if importlib.util.find_spec("tensorflow") else "direct"
    return PhysicsLossServer(config.task, backend or best, metrics)


@contextlib.contextmanager
def local_pool(config: TrainConfig, run_dir: Path | None = None) -> Iterator[LocalPool | None]:
    """For the block, loss servers in this process, a thread each; None where none are served."""
    if not config.served:
        yield None
        return
    indices = range(config.processes.workers)
    writers = [MetricsWriter(run_dir, "physics_worker", k) if run_dir else None for k in indices]
    servers = [make_loss_server(config, metrics, backend="direct") for metrics in writers]
    pool = LocalPool([server.evaluate for server in servers])
    try:
        yield pool
    finally:
        pool.close()


def make_unroll(
    config: TrainConfig, pool: LossPool | None, signs: int = 2, order: int = 0
) -> Unroll:
    """How lanes of this task are unrolled.

    Args:
      config: the run's configuration.
      pool: of loss workers; a served task needs one.
      signs: trajectories per lane.
      order: of the windows' derivatives, of a served task: 0: none, 1: with inner gradients held
        constant, 2: exact.
    """
    if not config.served:
        return AnalyticUnroll(config, config.seed, signs)
    if pool is None:
        raise ValueError("a served task needs a loss pool")
    if isinstance(config.task, ServedTask):
        windows: Any = SyntheticWindows(config.task, config.seed)
    else:
        from workers.physics.loss.windows import PhysicsWindows  # needs the native library

        assert isinstance(config.task, PhysicsTask)
        windows = PhysicsWindows(config.task, config.seed)
    return PooledUnroll(config, windows, pool, signs, order)


def make_actor(
    config: TrainConfig,
    index: int,
    run_dir: Path | None,
    parameters: ParameterSource,
    stream: SampleWriter,
    pool: LossPool | None,
    pool_counts: Callable[[], dict[str, int]] = dict,
    latency: Histogram | None = None,
) -> Actor:
    """An actor.

    Args:
      config: the run's configuration.
      index: which actor it is.
      run_dir: for metrics; None: it writes none.
      parameters: source of weights, session and episode ids.
      stream: where samples go.
      pool: of loss workers, where losses are served.
      pool_counts: what the pool has counted.
      latency: of the pool's calls, or None.
    """
    metrics = MetricsWriter(run_dir, "actor", index) if run_dir else None

    def unroll(phase: Phase) -> Unroll:
        estimator = phase.estimator
        order = estimator.order if estimators.of(estimator).needs_gradient else 0
        return make_unroll(config, pool, estimator.signs, order)

    return Actor(config, index, unroll, parameters, stream, metrics, pool_counts, latency)


def newest_checkpoint(run_dir: Path, say: Say = lambda _: None) -> checkpoint.Checkpoint | None:
    """The checkpoint to resume from, saying what had to be passed over."""
    found, problems = checkpoint.load_latest(run_dir / "checkpoints")
    for problem in problems:
        say(f"{problem}; using step {found.step if found else '?'} instead")
    return found


def make_learner(
    config: TrainConfig, run_dir: Path, stream: SampleReader, say: Say, **options: Any
) -> Learner:
    """The learner, resumed from the newest checkpoint of the run directory if there is one.

    Args:
      config: the run's configuration.
      run_dir: where it lives.
      stream: where samples come from.
      say: takes lines for the user.
      **options: of `Learner`; "resume": a checkpoint that has been loaded already.
    """
    resume = options.pop("resume", None) or newest_checkpoint(run_dir, say)
    options.setdefault("ledger", bool(os.environ.get("OPTIMUS_LEDGER")))
    layout, theta = parameter_layout(config), initial_theta(config)
    metrics = MetricsWriter(run_dir, "learner")
    return Learner(config, run_dir, layout, theta, stream, metrics, resume=resume, **options)
