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
    Phase,
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
        if groups and groups[0] in ("estimator", "meta", "layout"):
            node = node["phases"][0]
        for group in groups:
            node = node[int(group) if group.isdigit() else group]
        node[key] = value
    return tree


def leaves(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif value and isinstance(value, tuple) and isinstance(value[0], dict):
            yield from leaves({str(k): each for k, each in enumerate(value)}, f"{prefix}{key}.")
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


positive = st.floats(min_value=1e-6, max_value=1e3)


@settings(max_examples=30, deadline=None)
@given(sigma=positive, rate=positive, seed=st.integers(0, 2**63 - 1), bound=st.none() | st.just(3))
def test_numbers_survive_json_exactly(sigma, rate, seed, bound):
    config = dataclasses.replace(
        SMOKE,
        seed=seed,
        max_staleness=bound,
        phases=(
            Phase(
                estimator=Estimator(sigma=sigma),
                meta=MetaOptimizer(batch=8, learning_rate=rate),
                layout=SMOKE.phases[0].layout,
            ),
        ),
    )
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert config_hash(again) == config_hash(config)


def test_missing_keys_take_their_defaults():
    task = {"kind": "physics"}
    values = {"name": "short", "updates": 1, "task": task}
    config = from_dict({**values, "format": 2, "phases": [{"meta": {}}]})
    assert config == from_dict({**values, "format": 2}) == from_dict(values)
    assert config == TrainConfig(name="short", updates=1, task=PhysicsTask())


def test_integers_are_read_as_floats_where_a_float_is_meant():
    config = from_dict(changed({"call_timeout": 30}))
    assert config.call_timeout == 30.0
    assert isinstance(config.call_timeout, float)


# ----------------------------------------------------------------------------------------- refusals

MISTAKES = {
    "unknown key, close": (
        {"meta.btach": 8},
        "unknown key 'phases.0.meta.btach'; did you mean 'batch'?",
    ),
    "unknown key, far": (
        {"layout.zzz": 1},
        "unknown key 'phases.0.layout.zzz'; known: actors, groups, lanes, workers, per_process, "
        "restarts",
    ),
    "unknown key at the top": ({"update": 3}, "unknown key 'update'; did you mean 'updates'?"),
    "string for int": ({"updates": "30"}, "updates: got '30', want int"),
    "float for int": ({"meta.batch": 8.0}, "phases.0.meta.batch: got 8.0, want int"),
    "bool for int": ({"updates": True}, "updates: got True, want int"),
    "bool for float": ({"estimator.sigma": True}, "phases.0.estimator.sigma: got True, want float"),
    "bool for optional int": ({"max_staleness": False}, "max_staleness: got False, want int"),
    "int for bool": ({"synchronous": 1}, "synchronous: got 1, want bool"),
    "null for int": ({"seed": None}, "seed: got None, want int"),
    "int for string": ({"name": 7}, "name: got 7, want str"),
    "list for object": ({"phases.0.meta": [20]}, "phases.0.meta: got [20], want an object"),
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
    "a list for the kind of task": (
        {"task.kind": [1]},
        "task.kind: got [1], want one of ['analytic', 'classical', 'physics', 'served']",
    ),
    "an object for the kind of task": (
        {"task.kind": {}},
        "task.kind: got {}, want one of ['analytic', 'classical', 'physics', 'served']",
    ),
    "a list for the kind of optimizer": (
        {"optimizer.kind": ["adafactor_mlp"]},
        "optimizer.kind: got ['adafactor_mlp'], want one of ['adafactor_mlp']",
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
        ({"estimator.kind": "es"}, "phases.0.estimator.kind: got 'es'"),
        ({"estimator.sigma": 0}, "estimator.sigma: got 0"),
        ({"estimator.sigma": float("nan")}, "estimator.sigma: got nan"),
        ({"estimator.sigma": float("inf")}, "estimator.sigma: got inf"),
        ({"estimator.sigma": 1e-20}, "estimator.sigma: got 1e-20, want within [1e-06, 1000]"),
        ({"estimator.sigma": 1e308}, "estimator.sigma: got 1e+308"),
        ({"estimator.task_clip": 1e30}, "estimator.task_clip: got 1e+30"),
        ({"estimator.guide_radius": 1e-30}, "estimator.guide_radius: got 1e-30"),
        ({"meta.learning_rate": 5e-324}, "meta.learning_rate: got 5e-324, want within [1e-12,"),
        ({"meta.learning_rate": 1e30}, "meta.learning_rate: got 1e+30"),
        ({"meta.clip_norm": 1e300}, "meta.clip_norm: got 1e+300, want within [1e-15, 1e+15]"),
        ({"meta_loss": {"floor": 1e-50}}, "meta_loss.floor: got 1e-50"),
        ({"meta_loss": {"cap": 1e200}}, "meta_loss.cap: got 1e+200"),
        (
            {"optimizer.lambda_a": 1e-40},
            "optimizer.lambda_a: got 1e-40, want within [1e-30, 1e+30]",
        ),
        ({"optimizer.lambda_b": 1e39}, "optimizer.lambda_b: got 1e+39"),
        ({"task": {"kind": "classical", "f_scale": 1e38}}, "task.f_scale: got 1e+38"),
        ({"estimator.noise": "uniform"}, "phases.0.estimator.noise: got 'uniform'"),
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
    assert from_dict(changed({"meta.batch": 9, "synchronous": False})).phases[0].meta.batch == 9


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
    assert (config := from_dict(changed(changes))).staleness_bound(config.phases[0]) == bound


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
    (phase,) = config.phases
    assert (phase.meta.batch, phase.layout, config.max_staleness) == (4, Layout(1, 1, 4, 0), None)
    assert (phase.estimator.noise, phase.estimator.sigma) == ("rademacher", 1e-3)
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
        ("phases.1.meta.batch=5", "--set phases.1.meta.batch=5: 'phases.1' is no group"),
        ("phases.x=5", "--set phases.x=5: unknown key 'phases.x'; known: 0"),
        ("format=1", "--set format=1: unknown key 'format'; known: name, task, updates, phases"),
        ("updates=many", "updates: got 'many', want int"),
        ("updates=", "updates: got '', want int"),
    ],
)
def test_override_says_what_is_wrong(assignment, message):
    assert refusal(override, SMOKE, [assignment]).startswith(message)


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
    "estimator.shortest": {0: 20, 20: 40},
    "meta.clip": "value",
    "meta_loss.kind": {"log_gap": "log_ratio", "log_ratio": "log_gap"},
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
        if path in ("format", "task.kind", "optimizer.kind"):  # another class
            continue
        short = path
        if path.startswith("phases."):
            _, index, short = path.split(".", 2)
            phase = config.phases[int(index)]
        if short in ("estimator.guide", "task"):  # refused but with known minima, or functions
            continue
        if short == "updates" and value is None:
            continue  # the last phase's
        change = {path: other_value(short, value)}
        if path == "optimizer.b_decay_learned" and not value:
            change["optimizer.b_decay"] = 0.75  # must be inside (0, 1) then
        if path == "synchronous":
            for k, each in enumerate(config.phases):
                change[f"phases.{k}.meta.batch"] = each.layout.total_lanes
        if short == "layout.actors":  # each needs a worker
            workers = max(phase.layout.workers, change[path])
            change[f"phases.{index}.layout.workers"] = workers
        if short == "estimator.truncation" and phase.estimator.horizon % change[path]:
            change[path] = phase.estimator.horizon
        if short == "estimator.kind":  # only back-propagation knows where the minimiser is
            change[f"phases.{index}.estimator.guide"] = 0.0
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


# ----------------------------------------------------------------------------------------- phases


def two_phases(**changes):
    """`smoke` in two phases: 4 updates, then the rest, with another learning rate."""
    first = dataclasses.replace(SMOKE.phases[0], updates=4)
    meta = dataclasses.replace(first.meta, learning_rate=1e-4)
    return dataclasses.replace(
        SMOKE, phases=(first, dataclasses.replace(SMOKE.phases[0], meta=meta)), **changes
    )


def test_every_update_has_its_phase():
    config = two_phases(updates=10)
    assert (config.starts, config.lengths) == ((0, 4), (4, 6))
    assert [config.phase_index(step) for step in (0, 3, 4, 9, 10)] == [0, 0, 1, 1, 1]
    assert config.phase_at(4) is config.phases[1]
    assert two_phases(updates=3).lengths == (3, 0)
    assert SMOKE.starts == (0,) and SMOKE.lengths == (SMOKE.updates,)


def test_only_the_last_phase_may_be_as_long_as_the_run():
    first, last = two_phases().phases
    for phases, message in (
        ((last, last), "phases.0.updates: got null, want a number"),
        ((first, first), "phases.1.updates: got 4, want null: the last phase lasts until"),
        ((), "phases: got none, want at least one"),
    ):
        assert refusal(lambda p=phases: dataclasses.replace(SMOKE, phases=p)).startswith(message)


def test_a_short_key_is_for_all_phases_that_agree_in_it():
    config = override(two_phases(), ["layout.lanes=2", "meta.batch=4", "phases.1.meta.warmup=3"])
    assert [phase.layout.lanes for phase in config.phases] == [2, 2]
    assert [phase.meta.warmup for phase in config.phases] == [0, 3]
    free = dataclasses.replace(config, synchronous=False)
    assert override(free, ['phases.0={"updates": 4}']).phases[0] == Phase(4)
    assert refusal(override, config, ["meta.learning_rate=1"]) == (
        "--set meta.learning_rate=1: the phases differ in it; want one of "
        "phases.0.meta.learning_rate, phases.1.meta.learning_rate"
    )
