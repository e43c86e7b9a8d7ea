"""Sizes that only a typo can mean are refused by name, before memory is taken for them."""

import dataclasses
import json
import time

import jax
import pytest

from launch import configs
from optimus import rundir, weights
from optimus.config import (
    AnalyticTask,
    ClassicalTask,
    ConfigError,
    Evaluation,
    Layout,
    MetaOptimizer,
    PhysicsTask,
    ServedTask,
    TrainConfig,
    from_dict,
    override,
    to_dict,
)
from optimus.config.training import Estimator, Phase
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.model.optimizer import OptimizerConfig, init_params

SMOKE = configs.find("smoke")
HUGE = 10**6 * 10**6 * 10
SIZES = {
    OptimizerConfig: (
        *("dim", "encoders", "heads", "ffn_multiplier", "rank", "secant", "inducing_points"),
    ),
    AdafactorMlpConfig: ("hidden", "layers"),
    Estimator: ("truncation", "horizon", "shortest", "order"),
    MetaOptimizer: ("batch", "warmup", "cosine"),
    Layout: ("actors", "groups", "lanes", "workers", "per_process", "restarts"),
    Evaluation: ("tasks", "steps"),
    AnalyticTask: ("dim",),
    ServedTask: ("dim", "poison", "nonfinite", "slow"),
    ClassicalTask: ("least_dim",),
}
PARTS = [(part, field) for part, fields in SIZES.items() for field in fields]
REQUIRED = {TrainConfig: {"name": "t", "task": AnalyticTask(), "updates": 1}}
WHOLE = (
    *("updates", "seed", "checkpoint_every", "keep_checkpoints", "keep_checkpoints_every"),
    "max_staleness",
)
PARTS += [(TrainConfig, field) for field in WHOLE]
NO_SIZES = [HUGE, 2**64, -1, True, 8.0, float("nan"), float("inf"), "8", [8]]


@pytest.mark.parametrize("value", NO_SIZES, ids=repr)
@pytest.mark.parametrize(("part", "field"), PARTS, ids=lambda each: getattr(each, "__name__", each))
def test_no_size_is_refused_by_name(part, field, value):
    if value == HUGE and field == "seed":
        return
    with pytest.raises(ConfigError) as error:
        part(**REQUIRED.get(part, {}) | {field: value})
    text = str(error.value)
    assert f"{field}: got {value!r}" in text and text.isprintable()


@pytest.mark.parametrize(
    ("part", "values"),
    [
        (OptimizerConfig, {"dim": 8192, "encoders": 128}),
        (OptimizerConfig, {"dim": 1024, "ffn_multiplier": 8192}),
        (AdafactorMlpConfig, {"hidden": 8192, "layers": 128}),
        (Layout, {"actors": 1000, "groups": 1000, "lanes": 1000}),
        (ClassicalTask, {"sizes": (10, 10**9)}),
        (ClassicalTask, {"sizes": (10.0,)}),
        (PhysicsTask, {"seconds": 1e9}),
        (PhysicsTask, {"dt": 1e-300}),
        (PhysicsTask, {"control_rate": 1e300}),
        (TrainConfig, {"call_timeout": 1e300}),
    ],
)
def test_sizes_that_are_too_large_together(part, values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        part(**REQUIRED.get(part, {}) | values)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        *((OptimizerConfig, field) for field in ("lambda_a", "lambda_b", "b_decay")),
        (OptimizerConfig, "normalizer_eps"),
        *((Estimator, field) for field in ("sigma", "task_clip", "guide_radius")),
        *((MetaOptimizer, field) for field in ("learning_rate", "clip_norm")),
        *((PhysicsTask, field) for field in ("seconds", "control_rate", "dt")),
        (ServedTask, "sleep"),
        *((ClassicalTask, field) for field in ("shift", "x_scale", "generated")),
        (TrainConfig, "call_timeout"),
        (TrainConfig, "weight_average"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_no_number_is_refused_by_name(part, field, value):
    with pytest.raises(ConfigError, match=rf"{field}: got {value}"):
        part(**REQUIRED.get(part, {}) | {field: value})


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/tmp/x", "a\nb", "\x1b[2J", "x" * 256, "a\0"]
)
def test_a_name_is_one_of_a_directory(name):
    with pytest.raises(ConfigError, match="name"):
        dataclasses.replace(SMOKE, name=name)
    assert dataclasses.replace(SMOKE, name="größe 2").name == "größe 2"


def test_what_large_configurations_need_is_allowed():
    dataclasses.replace(SMOKE, updates=10**12, seed=2**63 - 1)
    Layout(actors=64, groups=4, lanes=1024, workers=10_000)
    OptimizerConfig(dim=1024, encoders=64)
    ClassicalTask(sizes=(10, 10_000))
    for name in configs.names():
        assert from_dict(json.loads(json.dumps(to_dict(configs.find(name))))).name == name


def deep(value):
    return "[" * 300 + value + "]" * 300


@pytest.mark.parametrize(
    "assignment",
    ["updates=[[", 'task={"kind": "analytic"', f"updates={deep('1')}", 'task={"dim": 1, "dim": 2}'],
)
def test_set_says_that_it_is_no_json(assignment):
    with pytest.raises(ConfigError, match=r"^--set .*not JSON: ") as error:
        override(SMOKE, [assignment])
    assert str(error.value).isprintable()


def test_set_takes_no_number_of_thousands_of_digits():
    with pytest.raises(ConfigError, match=r"^updates: got '9+"):
        override(SMOKE, [f"updates={'9' * 5000}"])


@pytest.fixture
def shipped(tmp_path):
    config = OptimizerConfig(dim=8, encoders=1, heads=2)
    path = weights.save(tmp_path / "a", config, init_params(config, jax.random.PRNGKey(0)))
    return path, path.with_suffix(".json")


@pytest.mark.parametrize(
    ("field", "value"),
    [*(("encoders", n) for n in (10**6, 2**70, -1, True, 1.0)), ("dim", 10**9), ("heads", 10**6)],
)
def test_a_card_with_such_sizes_is_refused_at_once(shipped, field, value):
    path, card = shipped
    values = json.loads(card.read_text())
    values["architecture"][field] = value
    card.write_text(json.dumps(values))
    began = time.process_time()
    with pytest.raises(weights.WeightsError, match=rf"weights\.json: optimizer\.{field}: got "):
        weights.load(path)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1, "a": 2}', "\0", "9" * 5000])
def test_a_damaged_card_or_configuration_is_one_line(shipped, tmp_path, text):
    path, card = shipped
    card.write_text(text)
    with pytest.raises(weights.WeightsError, match=r"weights\.json is not JSON: ") as error:
        weights.load(path)
    assert str(error.value).isprintable()
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json is not JSON: "):
        rundir.load_config(tmp_path / "config.json")


@pytest.mark.parametrize("name", ["", "x" * 300, f"{'x' * 300}/a.safetensors", "a\0b", "\ud800"])
def test_weights_of_a_name_that_no_file_can_have(name):
    with pytest.raises(weights.WeightsError) as error:
        weights.load(name)
    assert str(error.value).isprintable() and error.value.exit_code == 2


def test_a_folder_of_that_name_does_not_hide_the_names(tmp_path, monkeypatch):
    (tmp_path / "optimus").mkdir()
    monkeypatch.chdir(tmp_path)
    for wrong in ("optimus", "optimus-classicle"):
        with pytest.raises(weights.WeightsError) as error:
            weights.load(wrong)
        for name in weights.shipped():
            assert name in str(error.value)
    assert "did you mean 'optimus-classical'?" in str(error.value)


def test_a_phase_counts_whole_updates():
    for value in (0, 1.5, True, HUGE):
        with pytest.raises(ConfigError, match=r"phases\.updates: got"):
            Phase(updates=value)
