"""Configurations: what they refuse, and that nothing is lost on the way to JSON and back."""

import copy
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch import configs
from optimus.config import (
    AnalyticTask,
    ConfigError,
    Estimator,
    Layout,
    MetaOptimizer,
    PhysicsTask,
    TrainConfig,
    config_hash,
    from_dict,
    override,
    to_dict,
)
from optimus.model.optimizer import OptimizerConfig

SMOKE = configs.find("smoke")
SHIPPED = configs.names()


def changed(assignments, base=SMOKE):
    """The configuration as a dict with some dotted keys set, unchecked."""
    tree = copy.deepcopy(to_dict(base))
    for path, value in assignments.items():
        *groups, key = path.split(".")
        node = tree
        for group in groups:
            node = node[group]
        node[key] = value
    return tree


def leaves(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def refusal(call, *arguments):
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configurations_survive_json(name):
    config = configs.find(name)
    assert config.name == name
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


positive = st.floats(min_value=1e-300, max_value=1e300)


@settings(max_examples=30, deadline=None)
@given(sigma=positive, rate=positive, seed=st.integers(0, 2**63 - 1), bound=st.none() | st.just(3))
def test_numbers_survive_json_exactly(sigma, rate, seed, bound):
    config = dataclasses.replace(
        SMOKE,
        seed=seed,
        max_staleness=bound,
        estimator=Estimator(sigma=sigma),
        meta=MetaOptimizer(batch=8, learning_rate=rate),
    )
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert config_hash(again) == config_hash(config)


def test_missing_keys_take_their_defaults():
    task = {"kind": "physics"}
    config = from_dict({"name": "short", "updates": 1, "task": task, "meta": {}})
    assert config == TrainConfig(name="short", updates=1, task=PhysicsTask())


def test_integers_are_read_as_floats_where_a_float_is_meant():
    config = from_dict(changed({"call_timeout": 30}))
    assert config.call_timeout == 30.0
    assert isinstance(config.call_timeout, float)


# ----------------------------------------------------------------------------------------- refusals

MISTAKES = {
    "unknown key, close": ({"meta.btach": 8}, "unknown key 'meta.btach'; did you mean 'batch'?"),
    "unknown key, far": (
        {"layout.zzz": 1},
        "unknown key 'layout.zzz'; known: actors, groups, lanes, workers, per_process, restarts",
    ),
    "unknown key at the top": ({"update": 3}, "unknown key 'update'; did you mean 'updates'?"),
    "string for int": ({"updates": "30"}, "updates: got '30', want int"),
    "float for int": ({"meta.batch": 8.0}, "meta.batch: got 8.0, want int"),
    "bool for int": ({"updates": True}, "updates: got True, want int"),
    "bool for float": ({"estimator.sigma": True}, "estimator.sigma: got True, want float"),
    "bool for optional int": ({"max_staleness": False}, "max_staleness: got False, want int"),
    "int for bool": ({"synchronous": 1}, "synchronous: got 1, want bool"),
    "null for int": ({"seed": None}, "seed: got None, want int"),
    "int for string": ({"name": 7}, "name: got 7, want str"),
    "list for object": ({"meta": [20]}, "meta: got [20], want an object"),
    "a number float cannot hold": (
        {"call_timeout": 10**400},
        "call_timeout: the number is too large",
    ),
    "no such kind of task": (
        {"task.kind": "physic"},
        "task.kind: got 'physic', want one of ['analytic', 'classical', 'physics', 'served']",
    ),
    "task without kind": (
        {"task": {"dim": 3}},
        "task.kind: got None, want one of ['analytic', 'classical', 'physics', 'served']",
    ),
    "task that is no object": (
        {"task": "analytic"},
        "task.kind: got None, want one of ['analytic', 'classical', 'physics', 'served']",
    ),
    "key of the other kind": (
        {"task": {"kind": "physics", "dim": 3}},
        "unknown key 'task.dim'; known: kind, split, seconds, control, control_rate, dt",
    ),
    "unknown family": (
        {"task.family": "sphere"},
        "task.family: got 'sphere', want one of quadratic, rosenbrock",
    ),
    "bad value of the optimizer": (
        {"optimizer.heads": 3},
        "optimizer.dim: got 16, want a multiple of heads (3)",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_key(case):
    assignments, message = MISTAKES[case]
    assert refusal(from_dict, changed(assignments)) == message


@pytest.mark.parametrize(
    ("assignments", "named"),
    [
        ({"updates": 0}, "updates: got 0"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": 2**63}, "seed: got 9223372036854775808"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"keep_checkpoints": 0}, "keep_checkpoints"),
        ({"keep_checkpoints_every": -1}, "keep_checkpoints_every: got -1"),
        ({"max_staleness": -1}, "max_staleness: got -1"),
        ({"call_timeout": 0}, "call_timeout: got 0"),
        ({"call_timeout": float("inf")}, "call_timeout: got inf"),
        ({"task.dim": 0}, "task.dim: got 0"),
        ({"estimator.kind": "es"}, "estimator.kind: got 'es'"),
        ({"estimator.sigma": 0}, "estimator.sigma: got 0"),
        ({"estimator.sigma": float("nan")}, "estimator.sigma: got nan"),
        ({"estimator.sigma": float("inf")}, "estimator.sigma: got inf"),
        ({"estimator.noise": "uniform"}, "estimator.noise: got 'uniform'"),
        ({"estimator.truncation": 0}, "estimator.truncation: got 0"),
        ({"estimator.horizon": 22}, "estimator.horizon: got 22, want a multiple of truncation"),
        ({"estimator.horizon": 0}, "estimator.horizon: got 0"),
        ({"meta.learning_rate": -1e-3}, "meta.learning_rate: got -0.001"),
        ({"meta.clip_norm": float("nan")}, "meta.clip_norm: got nan"),
        ({"meta.batch": 0}, "meta.batch: got 0"),
        ({"layout.actors": 0}, "layout.actors: got 0"),
        ({"layout.workers": -1}, "layout.workers: got -1"),
        ({"evaluation.tasks": 1}, "evaluation.tasks: got 1"),
        ({"evaluation.steps": 0}, "evaluation.steps: got 0"),
        ({"task": {"kind": "physics", "control": "muscle"}}, "task.control: got 'muscle'"),
        ({"task": {"kind": "physics", "seconds": 0}}, "task.seconds: got 0"),
        ({"task": {"kind": "physics", "dt": 0.1}}, "task.dt: got 0.1 s"),
        ({"task": {"kind": "physics"}}, "layout.workers: got 0 for 1 actors"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(assignments, named):
    assert refusal(from_dict, changed(assignments)).startswith(named)


@pytest.mark.parametrize("kind", [PhysicsTask, AnalyticTask])
def test_a_task_refuses_the_kind_of_another(kind):
    assert "task.kind: got 'other'" in refusal(lambda: kind(kind="other"))


def test_missing_values_are_listed():
    assert refusal(from_dict, {"name": "x"}) == "config: missing task, updates"


def test_a_synchronous_batch_that_would_wait_for_ever_is_explained():
    message = refusal(from_dict, changed({"meta.batch": 9}))
    assert "meta.batch: got 9, want 8 (actors x groups x lanes)" in message
    assert "wait for ever" in message
    assert from_dict(changed({"meta.batch": 9, "synchronous": False})).meta.batch == 9


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({}, 0),  # synchronous
        ({"max_staleness": 7}, 0),
        ({"synchronous": False, "max_staleness": 7}, 7),
        ({"synchronous": False, "max_staleness": 0}, 0),
        ({"synchronous": False}, 2),  # 4 x 8 lanes / (2 x 8)
        ({"synchronous": False, "meta.batch": 3}, 5),
        ({"synchronous": False, "meta.batch": 400}, 1),
    ],
)
def test_staleness_bound(changes, bound):
    assert from_dict(changed(changes)).staleness_bound == bound


# ------------------------------------------------------------------------------------------ --set


def test_override_reads_json_and_bare_words():
    config = override(
        SMOKE,
        [
            "meta.batch=4",
            "layout.groups=1",
            "estimator.noise=rademacher",
            'task.family="rosenbrock"',
            "max_staleness=null",
            "synchronous=true",
            "estimator.sigma=1e-3",
            'evaluation={"tasks": 5}',
        ],
    )
    assert (config.meta.batch, config.layout, config.max_staleness) == (4, Layout(1, 1, 4, 0), None)
    assert (config.estimator.noise, config.estimator.sigma) == ("rademacher", 1e-3)
    assert (config.task.family, config.evaluation.tasks) == ("rosenbrock", 5)
    assert override(SMOKE, []) == SMOKE


def test_override_can_exchange_the_task():
    config = override(SMOKE, ['task={"kind": "physics", "control": "torque"}', "layout.workers=1"])
    assert config.task == PhysicsTask(control="torque")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("updates", "--set updates: want key=JSON, for example updates=50"),
        ("update=5", "--set update=5: unknown key 'update'; did you mean 'updates'?"),
        (
            "meta.rate=5",
            "--set meta.rate=5: unknown key 'meta.rate'; known: learning_rate, "
            "clip_norm, batch, clip, warmup, cosine",
        ),
        ("updates.x=5", "--set updates.x=5: 'updates' is no group"),
        ("mta.batch=5", "--set mta.batch=5: 'mta' is no group"),
        ("updates=many", "updates: got 'many', want int"),
        ("updates=", "updates: got '', want int"),
    ],
)
def test_override_says_what_is_wrong(assignment, message):
    assert refusal(override, SMOKE, [assignment]) == message


def test_override_leaves_the_original_alone():
    before = to_dict(SMOKE)
    override(SMOKE, ["updates=2", "task.dim=3"])
    assert to_dict(SMOKE) == before


# ------------------------------------------------------------------------------------------- hash

OTHERS = {  # where twice the value, or true for false, would not do
    "name": "other",
    "initial": "optimus-rosenbrock",
    "updates": 7,
    "task.family": "rosenbrock",
    "task.split": "validation",
    "task.control": "torque",
    "task.functions": ["sphere", "levy"],
    "task.hold_out": ["network"],  # a tag that no configuration holds out
    "task.sizes": [12, 60],
    "task.networks": 0.05,
    "optimizer.rank_one": "asym",
    "optimizer.time_features": "none",
    "optimizer.position": "none",
    "optimizer.gradient_scale": {"raw": "first", "first": "raw"},
    "optimizer.step_scale": {"fixed": "relative", "relative": "fixed"},
    "optimizer.attention": "inducing",
    "optimizer.attention_precision": "bfloat16",
    "optimizer.b_decay": 0.25,
    "estimator.kind": "nres",
    "estimator.noise": "rademacher",
    "estimator.order": {1: 2, 2: 1},
    "estimator.shortest": 20,
    "meta.clip": "value",
    "meta_loss.kind": "ratio",
    "phases": [{"updates": 10**6}],
    "evaluation.split": "test",
    "weight_average": 0.5,
}


def other_value(path, value):
    if path in OTHERS:
        other = OTHERS[path]
        return other[value] if isinstance(other, dict) else other
    if isinstance(value, bool):
        return not value
    return 3 if value is None else (value * 2 or 1)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_hash_changes_with_any_value(name):
    config = dataclasses.replace(configs.find(name), synchronous=False)  # so that batch is free
    seen = {config_hash(config): "unchanged"}
    for path, value in leaves(to_dict(config)):
        if path in ("task.kind", "optimizer.kind"):  # another class
            continue
        if path == "estimator.guide":  # refused but with back-propagation on known minima
            continue
        change = {path: other_value(path, value)}
        if path == "optimizer.b_decay_learned" and not value:
            change["optimizer.b_decay"] = 0.75  # must be inside (0, 1) then
        if path == "synchronous":
            change["meta.batch"] = config.layout.total_lanes
        if path == "layout.actors":  # each needs a worker
            change["layout.workers"] = max(config.layout.workers, change[path])
        if path == "estimator.truncation" and config.estimator.horizon % change[path]:
            change[path] = config.estimator.horizon
        digest = config_hash(from_dict(changed(change, config)))
        assert digest not in seen, f"{path} and {seen[digest]}"
        seen[digest] = path
    assert len(seen) > 30


def test_the_hash_does_not_depend_on_how_a_float_was_written():
    """Head and nodes read the same file, or one of them the Python object: they must agree."""
    config = dataclasses.replace(SMOKE, call_timeout=30, optimizer=OptimizerConfig(lambda_a=1))
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert config_hash(config) == config_hash(again)


# ---------------------------------------------------------------------------------------- by name


def test_an_unknown_name_gets_a_suggestion():
    message = refusal(configs.find, "physics-smal")
    assert message.startswith("unknown config 'physics-smal'; did you mean 'physics-small'? known:")


def test_a_configuration_is_found_by_path(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_dict(SMOKE)))
    assert configs.find(str(path)) == SMOKE
