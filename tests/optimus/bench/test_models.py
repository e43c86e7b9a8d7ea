"""Learned methods by model in the benchmark: labels, folds of arm C, refusals, the log of reads."""

import io
import json

import jax
import numpy as np
import pytest
from rich.console import Console

from launch.cli.bench import Reads
from optimus import weights
from optimus.bench import plan, reads
from optimus.bench.classical import run as classical
from optimus.bench.methods import LEARNED, labels, models, sources
from optimus.bench.methods.sources import Source
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.model.config import OptimizerConfig
from optimus.model.registry import rule_of
from optimus.problems import presets
from optimus.problems.groups import GROUPS, tag_of
from optimus.weights import WeightsError

MLP = AdafactorMlpConfig(hidden=4, step_mult=0.1)  # its programs compile in no time


def save(path, seed, config=MLP, **card):
    params = rule_of(config).init_params(config, jax.random.PRNGKey(seed))
    weights.save(path, config, params, card)
    return str(path)


@pytest.fixture
def folds(tmp_path):
    for seed, group in enumerate(GROUPS):
        save(tmp_path / f"mlp-{group}-s1", seed, arm=f"C:{group}")
    return str(tmp_path / "mlp-s1")


@pytest.fixture(autouse=True)
def methods(monkeypatch):
    """Registrations are undone at the end."""
    monkeypatch.setattr(plan, "METHODS", dict(plan.METHODS))
    monkeypatch.setattr(classical, "METHODS", plan.METHODS)


def run(out, methods, functions=("sphere",), **changes):
    arguments = dict(preset="paper", functions=functions, dims=(2,), methods=methods, starts=2)
    arguments |= dict(steps=4, seed=0, out=out, console=Console(file=io.StringIO())) | changes
    return classical.run(**arguments)


def log(out):
    return [json.loads(line) for line in (out / reads.LOG).read_text().splitlines()]


def test_labels_say_what_they_are():
    assert labels.base_and_seed("optimus:x-s12") == ("optimus:x", 12)
    assert labels.base_and_seed("optimus:x-small") == ("optimus:x-small", None)
    assert labels.fold_name("a/b", "well") == "a/b-well"
    assert labels.fold_name("b-s0", "well") == "b-well-s0"
    assert labels.kind_in("heldout:x") == "optimus" and labels.kind_in("adam") == "adam"
    assert labels.printed_as("optimus_safeguarded:x") == "optimus"
    assert not labels.learned("bfgs") and labels.learned("adafactor_mlp:heldout:x")
    assert set(labels.PRINTED_AS) == set(LEARNED)
    names = {"a/w.safetensors": "w", "a/n/weights.safetensors": "n", "a/run": "run"}
    assert {path: sources.short_name(path) for path in names} == names


def test_several_weights_of_a_kind_stand_side_by_side(tmp_path):
    for seed in (0, 1):
        save(tmp_path / f"m-s{seed}", seed, arm="B")
    entry = f"adafactor_mlp:{tmp_path}/m-s*"
    result = run(tmp_path / "out", plan.method_names(f"return_zero, {entry}"))
    hashes = {row["method"]: row["weights_hash"] for row in result.rows}
    assert list(hashes) == ["return_zero", "adafactor_mlp:m-s0", "adafactor_mlp:m-s1"]
    assert hashes["adafactor_mlp:m-s0"] == weights.load(tmp_path / "m-s0").fingerprint
    assert hashes["adafactor_mlp:m-s0"] != hashes["adafactor_mlp:m-s1"]
    again = run(tmp_path / "out", plan.method_names(entry))
    assert (again.computed, again.cached) == (0, 2) and len(again.rows) == len(result.rows)


def test_held_out_weights_score_their_own_group_only(tmp_path, folds):
    functions = ("sphere", "levy")
    (label,) = plan.method_names(f"adafactor_mlp:heldout:{folds}")
    assert label == "adafactor_mlp:heldout:mlp-s1"
    result = run(tmp_path / "out", (label,), functions)
    for function in functions:
        model = weights.load(labels.fold_name(folds, tag_of(function)))
        problems = [presets.problem("paper", function, 2, 0, start) for start in range(2)]
        alone = LEARNED["adafactor_mlp"](problems, 4, model=model)
        found = [row["f_best"] for row in result.rows if row["function"] == function]
        np.testing.assert_array_equal(found, [trace.best[-1] for trace in alone])
    assert {row["weights_hash"] for row in result.rows} == {plan.METHODS[label].weights_hash}
    (line,) = log(tmp_path / "out")
    assert {used["fold"]: used["arm"] for used in line["weights"]} == {g: f"C:{g}" for g in GROUPS}
    assert reads.said(result.rows, tmp_path / "out")[label].startswith("arm C:power, C:quadratic")


def test_weights_are_not_scored_on_what_they_have_seen(tmp_path, folds):
    well = f"adafactor_mlp:{tmp_path}/mlp-well-s1"
    with pytest.raises(ValueError, match="mlp-well-s1 is of arm C:well, and sphere is of group"):
        run(tmp_path / "out", plan.method_names(well), ("levy", "sphere"))
    assert not (tmp_path / "out").exists()  # nothing was read
    assert run(tmp_path / "out", plan.method_names(well), ("levy",)).computed == 1
    assert run(tmp_path / "out", plan.method_names(well), arm="any").computed == 1
    # A fold that holds out another group than its name says.
    save(tmp_path / "mlp-quadratic-s1", 0, arm="C:well")
    with pytest.raises(ValueError, match="mlp-quadratic-s1 is of arm C:well, and sphere"):
        run(tmp_path / "out", plan.method_names(f"adafactor_mlp:heldout:{folds}"))
    for arm in ("B", "unknown"):
        save(tmp_path / "mlp-quadratic-s1", 0, **({"arm": arm} if arm == "B" else {}))
        with pytest.raises(ValueError, match=f"of arm {arm}"):
            run(tmp_path / "out", plan.method_names(f"adafactor_mlp:heldout:{folds}"))


def test_an_arm_can_be_asked_for(tmp_path):
    some = {"": Source("x", "0", "A")}
    sources.check("m", some, ("sphere",))
    sources.check("m", some, ("sphere",), "A")
    sources.check("adam", {}, ("sphere",), "A")
    with pytest.raises(ValueError, match="m: x is of arm A, not B"):
        sources.check("m", some, ("sphere",), "B")
    with pytest.raises(ValueError, match="unknown arm 'D'; known: any, A, B, C"):
        sources.check("m", some, ("sphere",), "D")


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
            plan.method_names(text)
        assert "\n" not in str(caught.value)


def test_untrained_weights_say_so():
    (method,) = models.methods_of("adafactor_mlp:untrained")
    assert method.sources[""].arm == "untrained" and method.weights_hash.startswith("untrained:")


# ------------------------------------------------------------------------------------ log of reads


def test_each_read_is_logged_once_before_it_happens(tmp_path, monkeypatch):
    path, out = save(tmp_path / "m", 0, arm="B", config_hash="cafe"), tmp_path / "out"
    chosen = plan.method_names(f"return_zero,adafactor_mlp:{path}")
    with monkeypatch.context() as patched:
        patched.setattr(classical.cells, "compute_or_load", lambda *_: 1 / 0)
        assert len(run(out, chosen).failed) == 2
    assert len(log(out)) == 1  # what was about to be read counts as read
    run(out, chosen)
    run(out, chosen)
    run(out, chosen, ("sphere", "levy"))
    lines = log(out)
    assert [line["functions"] for line in lines] == [["sphere"], ["sphere"], ["levy"]]
    assert lines[0]["set"] == "classical paper" and lines[0]["weights"][0]["frozen"]
    assert str(tmp_path) not in (out / reads.LOG).read_text()


def test_a_maintainer_copies_the_log_into_the_card(tmp_path, capsys):
    path, out = save(tmp_path / "m", 0, arm="B", config_hash="cafe"), tmp_path / "out"
    earlier = save(tmp_path / "earlier", 1, arm="B", config_hash="cafe")
    stranger = save(tmp_path / "stranger", 2, arm="B", config_hash="f00d")
    text = ",".join(f"adafactor_mlp:{each}" for each in (path, earlier, stranger))
    run(out, plan.method_names(text))
    before = weights.load(path)
    for _ in range(2):  # a second time changes nothing
        assert Reads(tmp_path / "m", str(out / reads.LOG)).run() == 0
        assert "1 reads logged; 1 of other weights of the same run" in capsys.readouterr().out
    after = weights.load(path)
    assert after.fingerprint == before.fingerprint
    (read,) = after.card["test_reads"]
    assert (read["functions"], read["starts"], read["cells"]) == (["sphere"], 2, 1)
    (other,) = after.card["test_reads_of_others"]
    assert other["fingerprint"] == weights.load(earlier).fingerprint
    with pytest.raises(WeightsError, match="no log of reads at"):
        reads.add_to_card(path, [tmp_path / "none"])


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
