"""`optimus.weights`: what is saved comes back, what is wrong is one clear line."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest

import optimus
from optimus import rundir, weights
from optimus.config import AnalyticTask, Layout, MetaOptimizer
from optimus.model import adafactor_mlp
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.model.optimizer import OptimizerConfig, init_params
from optimus.model.parameters import layout_of
from optimus.rundir import checkpoint
from optimus.weights import WeightsError
from tests.one_phase import one_phase

ROOT = pathlib.Path(__file__).resolve().parents[3]
CONFIG = OptimizerConfig(dim=8, encoders=1, heads=2, rank_one="asym", b_decay=0.5)


@functools.cache
def params(config=CONFIG, seed=0):
    return init_params(config, jax.random.PRNGKey(seed))


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(tree)]


def assert_same(found, expected):
    assert jax.tree_util.tree_structure(found) == jax.tree_util.tree_structure(expected)
    for a, b in zip(leaves(found), leaves(expected)):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def named_arrays(tree):
    layout = layout_of(tree)
    return layout.to_arrays(layout.flatten(tree))


def save_checkpoint(run_dir, step, tree, config=CONFIG):
    """A run directory as the learner writes it."""
    train = one_phase(
        name="t",
        task=AnalyticTask(),
        updates=10,
        optimizer=config,
        meta=MetaOptimizer(batch=2),
        layout=Layout(groups=1, lanes=2),
    )
    rundir.prepare(run_dir, train)
    arrays = {**named_arrays(tree), "adam/mu": np.zeros(3, np.float32)}
    return checkpoint.save(run_dir / "checkpoints", step, arrays, {})


# ------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", ["model.safetensors", "folder", "deep/folder"])
def test_saved_weights_come_back(tmp_path, name):
    written = weights.save(tmp_path / name, CONFIG, params(), {"what": "a test", "minutes": 1.5})
    assert written.is_file()
    for path in (tmp_path / name, str(tmp_path / name), written):
        model = weights.load(path)
        assert model.config == CONFIG
        assert_same(model.params, params())
        assert model.card["what"] == "a test" and model.card["minutes"] == 1.5
        assert model.card["architecture"]["rank_one"] == "asym"
        assert {"jax", "python", "numpy"} <= set(model.card["libraries"])
    files = {path.suffix for path in written.parent.iterdir()}
    assert files == {".safetensors", ".json"}  # no temporary file, no pickle
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(written.read_bytes())


def test_saving_again_replaces(tmp_path):
    weights.save(tmp_path, CONFIG, params())
    weights.save(tmp_path, CONFIG, params(seed=1))
    assert_same(weights.load(tmp_path).params, params(seed=1))


def test_a_checkpoint_and_a_run_directory_are_read(tmp_path):
    first = save_checkpoint(tmp_path / "run", 5, params())
    save_checkpoint(tmp_path / "run", 10, params(seed=1))
    model = weights.load(first)
    assert model.config == CONFIG and model.card["step"] == 5
    assert_same(model.params, params())
    newest = weights.load(tmp_path / "run")
    assert newest.card["step"] == 10
    assert_same(newest.params, params(seed=1))


def test_a_damaged_newest_checkpoint_is_passed_over_aloud(tmp_path):
    save_checkpoint(tmp_path, 5, params())
    newest = save_checkpoint(tmp_path, 10, params(seed=1))
    (newest / checkpoint.STATE).write_bytes(b"")
    with pytest.warns(UserWarning, match=r"10 is damaged.*older one is used"):
        assert weights.load(tmp_path).card["step"] == 5
    with pytest.raises(WeightsError, match="10 is damaged"):
        weights.load(newest)


@pytest.mark.parametrize("name", weights.available())
def test_shipped_weights_load_and_say_what_they_are(name, monkeypatch, tmp_path):
    (tmp_path / name).mkdir()  # a folder of that name does not get in the way
    monkeypatch.chdir(tmp_path)
    model = optimus.load(name)
    assert model is weights.load(name)  # once a process
    for key in ("what", "trained_on", "training", "command"):
        assert model.card[key]
    with pytest.raises(WeightsError, match="holds no weights"):
        weights.load(f"./{name}")


def test_shipped_weights_are_few_and_small():
    sizes = [path.stat().st_size for path in weights.SHIPPED.iterdir()]
    assert len(weights.shipped()) == 5 and sum(sizes) <= 1_000_000


def test_the_index_of_the_other_weights_is_that_of_the_checkout():
    files = (ROOT / weights.BESIDE).glob("*.safetensors")
    found = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    index = json.loads((ROOT / "optimus" / "weights" / "elsewhere.json").read_text())
    assert index == found and set(weights.available()) == {*weights.shipped(), *found}
    assert not set(weights.shipped()) & set(found)


def test_weights_outside_the_package_are_named_by_file_and_sha256(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "_CHECKOUT", tmp_path)
    assert weights.available() == weights.shipped()
    with pytest.raises(WeightsError) as error:
        weights.load("optimus-paper")
    digest = hashlib.sha256((ROOT / weights.BESIDE / "optimus-paper.safetensors").read_bytes())
    assert (
        f"benchmarks/weights/optimus-paper.safetensors (sha256 {digest.hexdigest()})"
        in one_line(error)
    )


# -------------------------------------------------------------------------------------------- kinds

MLP = AdafactorMlpConfig(hidden=3, step_mult=0.1)


def mlp_params(seed=0):
    return adafactor_mlp.init_params(MLP, jax.random.PRNGKey(seed))


def test_weights_of_an_adafactor_mlp_come_back(tmp_path):
    path = weights.save(tmp_path, MLP, mlp_params(), {"what": "a test"})
    model = weights.load(path)
    assert model.config == MLP and model.kind == model.card["kind"] == "adafactor_mlp"
    assert_same(model.params, mlp_params())
    assert weights.load(weights.save(tmp_path / "o", CONFIG, params())).card["kind"] == "optimus"


def test_a_card_from_before_there_were_kinds_is_of_optimus(tmp_path):
    path = weights.save(tmp_path / "a.safetensors", CONFIG, params())
    card = json.loads(path.with_suffix(".json").read_text())
    del card["kind"]
    path.with_suffix(".json").write_text(json.dumps(card))
    model = weights.load(path)
    assert model.kind == "optimus" and model.config == CONFIG


def test_removed_options_at_their_defaults_are_dropped(tmp_path):
    path = weights.save(tmp_path / "a.safetensors", CONFIG, params())
    old = {"branch": "encoder", "coord_pos": "none", "axes": 0}
    edit_card(path, architecture=dataclasses.asdict(CONFIG) | old)
    assert weights.load(path).config == CONFIG


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": "optimus"}, "has exp_mult, hidden, layers, step_mult, unknown to this version"),
        ({"kind": "velo"}, "is of kind 'velo', this reads optimus, adafactor_mlp"),
        ({"kind": ["optimus"]}, r"is of kind \['optimus'\], this reads"),
        ({"architecture": {"hidden": 4}}, "another architecture: theta/network/"),
        ({"architecture": {"hidden": 0}}, "optimizer.hidden: got 0"),
    ],
)
def test_a_wrong_kind_is_refused(tmp_path, changes, message):
    path = weights.save(tmp_path / "a.safetensors", MLP, mlp_params())
    edit_card(path, **changes)
    with pytest.raises(WeightsError, match=message) as error:
        weights.load(path)
    one_line(error)


def test_weights_of_one_kind_are_not_saved_as_another(tmp_path):
    with pytest.raises(WeightsError, match="another architecture"):
        weights.save(tmp_path, MLP, params())
    with pytest.raises(WeightsError, match="keys kind, which save fills in"):
        weights.save(tmp_path, MLP, mlp_params(), {"kind": "optimus"})
    assert not any(tmp_path.iterdir())


def test_a_fingerprint_tells_weights_and_architectures_apart(tmp_path):
    model = weights.load(weights.save(tmp_path, MLP, mlp_params(), {"what": "a"}))
    again = weights.load(weights.save(tmp_path, MLP, mlp_params(), {"what": "b"}))
    assert model.fingerprint == again.fingerprint and len(model.fingerprint) == 16
    others = (
        weights.LearnedOptimizer(MLP, mlp_params(1), {}),
        weights.LearnedOptimizer(dataclasses.replace(MLP, step_mult=0.2), mlp_params(), {}),
    )
    assert model.fingerprint not in {other.fingerprint for other in others}


# ----------------------------------------------------------------------------------------- refusals


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def edit_card(path, **changes):
    card = json.loads(path.with_suffix(".json").read_text())
    card.update(changes)
    path.with_suffix(".json").write_text(json.dumps(card))


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(WeightsError) as error:
        weights.load("optimus-classicle")
    assert "optimus-classicle" in one_line(error) and "optimus-classical" in str(error.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="holds no weights"):
        weights.load(tmp_path / "empty")


def test_a_truncated_file_is_refused(tmp_path):
    path = weights.save(tmp_path / "a.safetensors", CONFIG, params())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="sha256 does not match") as error:
        weights.load(path)
    one_line(error)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    path = weights.save(tmp_path / "a.safetensors", CONFIG, params())
    data = pickle.dumps({"theta": 1})
    path.write_bytes(data)
    edit_card(path, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(WeightsError, match="no safetensors file") as error:
        weights.load(path)
    one_line(error)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sha256": "0" * 64}, "sha256 does not match"),
        ({"sha256": None}, "sha256 does not match"),
        ({"architecture": None}, "names no architecture"),
        ({"format": 2}, "format 2, this reads 1"),
        ({"architecture": {"dim": 16, "heads": 2, "encoders": 1}}, "another architecture: theta/"),
        ({"architecture": {"dim": 7, "heads": 2}}, "dim: got 7, want a multiple of heads"),
        ({"architecture": {"dim": 8, "lambda_a": "big"}}, "lambda_a: got 'big', want float"),
        ({"architecture": {"dim": 8, "wings": 2}}, "wings, unknown to this version"),
        (
            {"architecture": {"dim": 8, "axes": 2}},
            "axes: got 2, which .* commit 7acff6f is the last",
        ),
        (
            {"architecture": {"dim": 8, "time_features": "paper"}},
            "time_features: got 'paper', which",
        ),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path, changes, message):
    path = weights.save(tmp_path / "a.safetensors", CONFIG, params())
    edit_card(path, **changes)
    with pytest.raises(WeightsError, match=message) as error:
        weights.load(path)
    assert "a." in one_line(error)


def test_a_missing_or_broken_card_is_refused(tmp_path):
    path = weights.save(tmp_path / "a.safetensors", CONFIG, params())
    path.with_suffix(".json").write_text("{")
    with pytest.raises(WeightsError, match=r"a\.json is not JSON"):
        weights.load(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"cannot read .*a\.json: No such file"):
        weights.load(path)


@pytest.mark.parametrize("change", [{"encoders": 2}, {"rank_one": "sym"}, {"dim": 16}])
def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, change):
    other = dataclasses.replace(CONFIG, **change)
    path = save_checkpoint(tmp_path, 5, params(), config=other)
    with pytest.raises(WeightsError, match="another architecture") as error:
        weights.load(path)
    one_line(error)


def test_more_weights_than_the_architecture_has_are_refused(tmp_path):
    path = save_checkpoint(
        tmp_path, 5, params(dataclasses.replace(CONFIG, encoders=2)), config=CONFIG
    )
    with pytest.raises(WeightsError, match="another architecture: unexpected theta/"):
        weights.load(path)


def test_a_checkpoint_without_its_run_and_a_run_without_checkpoints(tmp_path):
    path = save_checkpoint(tmp_path, 5, params())
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"cannot read .*config\.json"):
        weights.load(path)
    (tmp_path / "new" / "checkpoints").mkdir(parents=True)
    with pytest.raises(WeightsError, match="no checkpoint yet"):
        weights.load(tmp_path / "new")


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(WeightsError, match="another architecture"):
        weights.save(tmp_path, OptimizerConfig(), params())
    broken = jax.tree_util.tree_map(lambda leaf: leaf * np.nan, params())
    with pytest.raises(WeightsError, match="not finite"):
        weights.save(tmp_path, CONFIG, broken)
    with pytest.raises(WeightsError, match="keys sha256, which save fills in"):
        weights.save(tmp_path, CONFIG, params(), {"sha256": "1"})
    with pytest.raises(WeightsError, match="no JSON"):
        weights.save(tmp_path, CONFIG, params(), {"score": float("nan")})
    with pytest.raises(WeightsError, match="no JSON"):
        weights.save(tmp_path, CONFIG, params(), {"score": np.float32(1.0)})
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot write"):
        weights.save(tmp_path / "file" / "a.safetensors", CONFIG, params())


# ----------------------------------------------------------------------------------------- facade


def test_importing_the_package_costs_nothing_and_the_names_are_there():
    script = (
        "import sys, optimus, optimus.rundir.metrics\n"
        "print(sorted({'jax', 'numpy', 'scipy', 'optax'} & sys.modules.keys()))\n"
        "import optimus.weights, optimus.minimization\n"  # in any order of imports
        "for name in optimus.__all__:\n"
        "    assert getattr(optimus, name) is not None and name in dir(optimus), name\n"
        "from optimus import *\n"
        "print(minimize.__name__, OptimizerConfig().dim)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[]\nminimize 128\n"
    with pytest.raises(AttributeError, match="no attribute 'minimise'"):
        optimus.minimise  # noqa: B018
