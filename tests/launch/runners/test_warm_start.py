"""Runs that start from trained weights, and the configurations of motion reconstruction."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

import optimus
from launch import builders, configs, runners
from launch.runners import inprocess, train
from optimus import rundir, weights
from optimus.config import ConfigError, Estimator, Layout, MetaOptimizer, ServedTask
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.model.parameters import layout_of
from optimus.rundir import checkpoint
from tests.one_phase import one_phase, with_phase
from tests.workers import fakes

BOWLS = one_phase(
    name="bowls",
    task=ServedTask(dim=4),
    updates=4,
    optimizer=fakes.SMALL,
    estimator=Estimator("bptt", truncation=2, horizon=6),
    meta=MetaOptimizer(batch=4),
    layout=Layout(actors=1, groups=2, lanes=2, workers=1),
    checkpoint_every=2,
)


def test_a_run_starts_from_the_weights_that_it_names():
    config = configs.find("physics-flagship")
    shipped = optimus.load("optimus-classical-first")
    expected = layout_of(shipped.params).flatten(shipped.params)
    np.testing.assert_array_equal(builders.initial_theta(config), expected)
    scratch = builders.initial_theta(configs.find("physics-flagship-scratch"))
    assert scratch.shape == expected.shape and (scratch != expected).any()


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ("nobody", "initial: no weights named 'nobody'"),
        ("optimus-classical", "initial: optimus-classical is of another architecture"),
        ("adafactor-mlp-classical", "another architecture"),
    ],
)
def test_weights_that_do_not_fit_are_refused(initial, message):
    with pytest.raises(ConfigError, match=message):
        builders.initial_theta(dataclasses.replace(BOWLS, initial=initial))


def test_a_fused_run_says_that_its_weights_do_not_fit(tmp_path):
    config = dataclasses.replace(configs.find("classical"), initial="optimus-classical-first")
    assert train.problem(config, "fused", tmp_path) is None
    for name, why in [
        ("nobody", "no weights named 'nobody'"),
        ("optimus-paper", "another architec"),
    ]:
        problem = train.problem(dataclasses.replace(config, initial=name), "fused", tmp_path)
        assert problem.startswith("initial: ") and why in problem


@pytest.mark.parametrize(
    ("optimizer", "kind", "order"),
    [
        (fakes.SMALL, "bptt", 1),
        pytest.param(fakes.SMALL, "bptt", 2, marks=pytest.mark.slow),
        pytest.param(fakes.SMALL, "nres_pathwise", 1, marks=pytest.mark.slow),
        pytest.param(AdafactorMlpConfig(step_mult=0.1), "bptt", 1, marks=pytest.mark.slow),
        (AdafactorMlpConfig(step_mult=0.1), "nres_pathwise", 2),
    ],
)
def test_a_pathwise_run_on_workers_resumes_bit_for_bit(tmp_path, optimizer, kind, order):
    estimator = dataclasses.replace(BOWLS.phases[0].estimator, kind=kind, order=order)
    config = dataclasses.replace(with_phase(BOWLS, estimator=estimator), optimizer=optimizer)
    rundir.prepare(tmp_path / "whole", config)
    assert inprocess.run(config, tmp_path / "whole", threading.Event(), print)
    half = dataclasses.replace(config, updates=2)
    assert inprocess.run(half, tmp_path / "parts", threading.Event(), print)
    assert inprocess.run(config, tmp_path / "parts", threading.Event(), print)
    first, *others = (
        checkpoint.load(tmp_path / name / "checkpoints" / "4") for name in ("whole", "parts")
    )
    for name, array in first.arrays.items():
        if name.startswith(("theta/", "adam/")):
            np.testing.assert_array_equal(array, others[0].arrays[name])
    start = weights.load(tmp_path / "whole" / "checkpoints" / "0")
    assert start.fingerprint != weights.load(tmp_path / "whole" / "checkpoints" / "4").fingerprint


@pytest.mark.parametrize(
    "name",
    ["physics-flagship", "physics-flagship-scratch", "physics-paper", "adafactor-mlp-physics"],
)
def test_motion_configurations_are_for_the_distributed_program(name):
    config = configs.find(name)
    assert config.name == name and runners.actors_cannot(config) is None and config.evaluator
    assert config.task.split == "train" and config.evaluation.split == "validation"
    assert builders.sample_limit(config) >= 2048


def test_the_baseline_is_trained_on_equal_terms():
    one, other = configs.find("physics-flagship"), configs.find("adafactor-mlp-physics")
    for field in ("task", "evaluation", "meta_loss", "seed"):
        assert getattr(one, field) == getattr(other, field), field
    for ours, theirs in zip(one.phases, other.phases):
        assert dataclasses.replace(theirs, updates=ours.updates) == ours
