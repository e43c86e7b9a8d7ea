"""Learned methods by model in the benchmark: names, folds of held-out weights, refusals."""

import io

import jax
import numpy as np
import pytest
from rich.console import Console

from optimus import weights
from optimus.bench import plan
from optimus.bench.cells import Method
from optimus.bench.classical import run as classical
from optimus.bench.methods import LEARNED, models
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.model.config import OptimizerConfig
from optimus.model.registry import rule_of
from optimus.problems import presets
from optimus.problems.groups import GROUPS, tag_of

MLP = AdafactorMlpConfig(hidden=4, step_mult=0.1)  # its programs compile in no time


def save(path, seed, config=MLP, **card):
    params = rule_of(config).init_params(config, jax.random.PRNGKey(seed))
    weights.save(path, config, params, card)
    return str(path)


@pytest.fixture
def folds(tmp_path):
    for seed, group in enumerate(GROUPS):
        save(tmp_path / f"mlp-{group}-s1", seed, trained_on={"hold_out": [group]})
    return str(tmp_path / "mlp-s1")


def run(out, methods, functions=("sphere",), **changes):
    arguments = dict(preset="paper", functions=functions, dims=(2,), methods=methods, starts=2)
    arguments |= dict(steps=4, seed=0, out=out, console=Console(file=io.StringIO())) | changes
    return classical.run(**arguments)


def test_labels_say_what_they_are():
    assert models.fold_name("a/b", "well") == "a/b-well"
    assert models.fold_name("b-s0", "well") == "b-well-s0"
    assert models.fold_name("b-small", "well") == "b-small-well"
    assert models.kind_in("heldout:x") == "optimus" and models.kind_in("adam") == "adam"
    assert models.column_of("optimus_safeguarded:x") == "optimus"
    assert models.column_of("adafactor_mlp:x") == "adafactor_mlp"
    assert models.column_of("adam") == "adam"
    assert not models.learned("bfgs") and models.learned("adafactor_mlp:heldout:x")
    names = {"a/w.safetensors": "w", "a/n/weights.safetensors": "n", "a/run": "run"}
    assert {path: models.short_name(path) for path in names} == names


def test_several_weights_of_a_kind_stand_side_by_side(tmp_path):
    for seed in (0, 1):
        save(tmp_path / f"m-s{seed}", seed)
    entry = f"adafactor_mlp:{tmp_path}/m-s*"
    result = run(tmp_path / "out", plan.methods_of(f"return_zero, {entry}"))
    hashes = {row["method"]: row["weights_hash"] for row in result.rows}
    assert list(hashes) == ["return_zero", "adafactor_mlp:m-s0", "adafactor_mlp:m-s1"]
    assert hashes["adafactor_mlp:m-s0"] == weights.load(tmp_path / "m-s0").fingerprint
    assert hashes["adafactor_mlp:m-s0"] != hashes["adafactor_mlp:m-s1"]
    again = run(tmp_path / "out", plan.methods_of(entry))
    assert (again.computed, again.cached) == (0, 2) and len(again.rows) == len(result.rows)


def test_held_out_weights_score_their_own_group_only(tmp_path, folds):
    functions = ("sphere", "levy")
    (method,) = plan.methods_of(f"adafactor_mlp:heldout:{folds}")
    assert method.name == "adafactor_mlp:heldout:mlp-s1"
    result = run(tmp_path / "out", [method], functions)
    for function in functions:
        model = weights.load(models.fold_name(folds, tag_of(function)))
        problems = [presets.problem("paper", function, 2, 0, start) for start in range(2)]
        alone = LEARNED["adafactor_mlp"](problems, 4, model=model)
        found = [row["f_best"] for row in result.rows if row["function"] == function]
        np.testing.assert_array_equal(found, [trace.best[-1] for trace in alone])
    assert {row["weights_hash"] for row in result.rows} == {method.weights_hash}


def test_weights_are_not_scored_on_what_they_have_seen(tmp_path, folds):
    well = plan.methods_of(f"adafactor_mlp:{tmp_path}/mlp-well-s1")
    words = "mlp-well-s1: its weights do not hold out the group quadratic of sphere, only well"
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "out", well, ("levy", "sphere"))
    assert not (tmp_path / "out").exists()
    assert run(tmp_path / "out", well, ("levy",)).computed == 1
    assert run(tmp_path / "out", well, split="any").computed == 1
    # Folds that hold out another group than their name says, or none.
    for card in ({"trained_on": {"hold_out": ["well"]}}, {"trained_on": {"hold_out": []}}, {}):
        save(tmp_path / "mlp-quadratic-s1", 0, **card)
        with pytest.raises(ValueError, match="do not hold out the group quadratic of sphere"):
            run(tmp_path / "out", plan.methods_of(f"adafactor_mlp:heldout:{folds}"))


def test_cards_of_shipped_weights_say_what_was_held_out():
    model = weights.load("optimus-classical")
    assert models.held_out(model, "optimus-classical") == ()
    models.require_unseen(Method("m", None), ("sphere",))
    (method,) = plan.methods_of("adafactor_mlp:heldout:adafactor-mlp-heldout")
    assert method.unseen == tuple(GROUPS)


def test_mistakes_are_one_line(tmp_path):
    save(tmp_path / "a" / "m", 0)
    save(tmp_path / "b" / "m", 1)
    for text, words in (
        ("adam:x", "'adam:x': want KIND:MODEL with KIND one of optimus, adafactor_mlp"),
        ("optimus:", "want KIND:MODEL"),
        ("heldout:", "want KIND:MODEL"),
        ("optimus:nothing", "no weights named 'nothing'"),
        ("optimus:nothing*", "no weights match 'nothing\\*'"),
        ("heldout:nothing", "no weights named 'nothing-quadratic'"),
        (f"optimus:{tmp_path}/a/m", "holds weights of adafactor_mlp, need optimus"),
        (f"adafactor_mlp:{tmp_path}/*/m", "two different weights would both be called"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            plan.methods_of(text)
        assert "\n" not in str(caught.value)


def test_untrained_weights_say_so():
    (method,) = models.methods_of("adafactor_mlp:untrained")
    assert method.unseen is None and method.weights_hash.startswith("untrained:")


def test_safeguarded_runs_count_every_point():
    config = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)
    params = rule_of(config).init_params(config, jax.random.PRNGKey(0))
    model = weights.LearnedOptimizer(config, params, {})
    problems = [presets.problem("fair-shift", "sphere", 3, 0, start) for start in range(2)]
    capped = LEARNED["optimus_safeguarded"](problems, 50, model=model, max_evaluations=5)
    assert [(trace.n_f, trace.status) for trace in capped] == [(5, "evaluations")] * 2
    for trace in LEARNED["optimus_safeguarded"](problems, 200, model=model):
        assert trace.best[-1] < 1e-12 and trace.status in ("converged", "stalled")
        assert trace.n_f == trace.n_g == len(trace.points) >= trace.evaluations[-1]
        assert (np.diff(trace.evaluations) >= 1).all()
