"""`--launch fused`: checkpoints, the best kept, metrics that `watch` reads, stop and resume."""

import dataclasses
import os
import threading

import numpy as np
import pytest

import optimus
from launch import configs
from launch.monitoring import watch
from launch.monitoring.status import read_status
from launch.program import environment
from launch.runners import fused, train
from optimus.config import (
    AnalyticTask,
    ClassicalTask,
    ConfigError,
    Estimator,
    Evaluation,
    Layout,
    MetaOptimizer,
)
from optimus.model.config import OptimizerConfig
from optimus.rundir import checkpoint
from optimus.rundir.metrics import read
from tests.launch import run_tools
from tests.one_phase import one_phase

TINY = one_phase(
    name="tiny",
    task=AnalyticTask(family="quadratic", dim=3),
    updates=6,
    optimizer=OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9),
    estimator=Estimator(kind="bptt", truncation=2, horizon=4),
    meta=MetaOptimizer(batch=4, learning_rate=3e-3),
    layout=Layout(1, 1, 4, 0),
    evaluation=Evaluation(tasks=4, steps=5),
    checkpoint_every=2,
    keep_checkpoints=1,
)


class Stops:
    """An event that is set once it has been looked at so many times."""

    def __init__(self, after):
        self._left = after

    def is_set(self):
        self._left -= 1
        return self._left < 0


def test_a_run_from_start_to_result(tmp_path):
    said = []
    train.train(TINY, tmp_path / "whole", "fused", said.append)
    text = "\n".join(said)
    assert "training 'tiny'" in text and "validation after 6 updates" in text
    assert "validation, mean log10 gap:" in text

    folder = tmp_path / "whole" / "checkpoints"
    best, gap = fused.best_validation(tmp_path / "whole")
    # What was the best until now goes when the next checkpoint is written.
    assert {0, 6, best} <= set(checkpoint.steps(folder)) and np.isfinite(gap)
    written = checkpoint.read_manifest(folder / "6")["metrics"]
    assert set(written) == {"meta_loss", "norm"} and written["norm"] > 0
    lines = (tmp_path / "whole" / "eval.jsonl").read_text().splitlines()
    assert len(lines) == 4

    status = read_status(tmp_path / "whole")
    assert (status.state, status.step, status.updates, status.launch) == (
        "finished",
        6,
        6,
        "fused",
    )
    assert np.isfinite(status.meta_loss) and status.evaluations == 6 * 4 * 2
    assert optimus.load(tmp_path / "whole").config == TINY.optimizer

    said.clear()
    train.train(TINY, tmp_path / "whole", "fused", said.append)
    assert "finished at update 6" in said[0]

    # A stop in the middle, at an update without a checkpoint of its own, changes nothing.
    parts = tmp_path / "parts"
    assert not fused.run(TINY, parts, Stops(3), said.append)
    assert checkpoint.steps(parts / "checkpoints")[-1] == 3
    assert fused.run(TINY, parts, threading.Event(), said.append)
    whole, again = (checkpoint.load(p / "checkpoints" / "6") for p in (tmp_path / "whole", parts))
    assert {k: v.tobytes() for k, v in whole.arrays.items()} == {
        k: v.tobytes() for k, v in again.arrays.items()
    }


def test_the_best_checkpoint_is_what_load_gives_and_watch_shows_validation(tmp_path, capsys):
    run_dir = tmp_path / "run"
    train.train(TINY, run_dir, "fused", lambda line: None)
    status = read_status(run_dir)
    assert status.validation_step == 6 and np.isfinite(status.validation)
    watch.watch(run_dir, True, False, 600.0)
    assert f"mean log10 gap {status.validation:+.3f} after 6 updates" in capsys.readouterr().out
    first = run_dir / "checkpoints" / "0"
    checkpoint.mark_best(run_dir / "checkpoints", 0)
    assert optimus.load(run_dir).fingerprint == optimus.load(first).fingerprint
    (run_dir / "checkpoints" / checkpoint.BEST).unlink()
    assert optimus.load(run_dir).fingerprint != optimus.load(first).fingerprint


def test_the_best_stays_when_newer_ones_are_pruned(tmp_path):
    arrays = {"x": np.zeros(2, np.float32)}
    for step in range(5):
        checkpoint.save(tmp_path, step, arrays, {}, keep=1)
        if step == 2:
            checkpoint.mark_best(tmp_path, 2)
    assert checkpoint.steps(tmp_path) == [0, 2, 4] and checkpoint.best_step(tmp_path) == 2


PES = dataclasses.replace(TINY.phases[0], estimator=Estimator("pes", truncation=2, horizon=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "estimator.kind 'bptt' needs --launch fused"),
        ({"task": ClassicalTask()}, "task.kind 'classical' needs --launch fused"),
        (
            {"phases": (PES,), "weight_average": 0.9},
            "weight_average needs --launch fused",
        ),
    ],
)
def test_other_runners_refuse_what_only_this_one_can(tmp_path, changes, message):
    changed = dataclasses.replace(TINY, **changes)
    with pytest.raises(ConfigError, match=message):
        train.train(changed, tmp_path / "run", "inprocess", print)
    assert not (tmp_path / "run").exists()


def test_a_run_has_as_many_devices_as_groups(tmp_path, monkeypatch):
    """Whatever the machine: smoke has two groups. The flag comes first, or XLA reads it not."""
    monkeypatch.delenv("OPTIMUS_XLA_FLAGS", raising=False)
    run_dir = tmp_path / "run"
    changes = ("updates=2", "evaluation.tasks=2", "evaluation.steps=2", "estimator.horizon=5")
    options = [word for change in changes for word in ("--set", change)]
    arguments = ("train", "smoke", "--launch", "fused", "--run-dir", str(run_dir), *options)
    done = run_tools.optimus(*arguments)
    assert done.returncode == 0, done.stderr
    [started] = [r for r in read(run_dir / "metrics" / "learner-0.jsonl") if "devices" in r]
    assert started["event"] == "learner_started" and started["devices"] == 2


def test_flags_that_the_user_gave_win(monkeypatch):
    for flags in (environment.XLA_FLAGS, "--xla_cpu_multi_thread_eigen=true"):
        monkeypatch.setenv("XLA_FLAGS", flags)
        monkeypatch.setenv("OPTIMUS_XLA_FLAGS", flags)
        environment.make_devices(2)
        assert os.environ["XLA_FLAGS"] == flags
    monkeypatch.delenv("OPTIMUS_XLA_FLAGS")
    environment.make_devices(1)
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=true"
    environment.make_devices(3)
    assert os.environ["XLA_FLAGS"].startswith("--xla_force_host_platform_device_count=3 ")
    assert os.environ["XLA_FLAGS"].endswith(environment.XLA_FLAGS)
    environment.make_devices(100)
    assert os.environ["XLA_FLAGS"].startswith("--xla_force_host_platform_device_count=8 ")


@pytest.mark.parametrize(
    "name", ["classical", "rosenbrock", "paper-classical", "adafactor-mlp-classical"]
)
def test_the_shipped_configurations_are_for_this_runner(name):
    config = configs.find(name)
    assert train.problem(config, "fused", configs.Path("none")) is None
    assert "needs --launch fused" in train.problem(config, "local_mp", configs.Path("none"))
    assert sum(config.lengths) == config.updates
