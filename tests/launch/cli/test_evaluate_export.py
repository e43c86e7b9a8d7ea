"""`optimus eval` and `optimus export` on a real, tiny checkpoint."""

from __future__ import annotations

import dataclasses
import errno
import json
import pathlib
import shutil
import threading

import jax
import numpy as np
import pytest

import optimus
from launch import configs
from launch.cli import evaluate as cli
from launch.cli.evaluate import Eval, evaluate_target, resolve
from launch.cli.export import Export
from launch.evaluation import records
from launch.evaluation.suites import Plan, classical, evaluate
from optimus import weights
from optimus.config import ConfigError, from_dict, override
from optimus.errors import UserError
from optimus.rundir import checkpoint
from optimus.wire import Stopped
from tests.launch.run_dirs import add_checkpoint, config, make

QUICK = dict(functions="sphere", dims="2", starts=2, steps=4)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make(tmp_path_factory.mktemp("run") / "r", steps=(0, 10))


@pytest.fixture
def run_dir(template: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(template, tmp_path / "run"))


def test_eval_judges_records_and_moves_best(
    run_dir: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    assert Eval(str(run_dir / "checkpoints" / "10"), **QUICK).run(said.append) == 0
    text = "\n".join(said)
    assert "held-out tasks of the run: meta-loss" in text and "best checkpoint so far: 10" in text
    (record,) = records.evaluations(run_dir)
    own, functions = record["suites"]["tasks"], record["suites"]["classical"]
    assert record["step"] == 10 and record["score"] == own["score"] and own["tasks"] == 3
    assert -8 <= functions["functions"]["sphere"]["2"] <= 0
    assert checkpoint.best_step(run_dir / "checkpoints") == 10

    again = evaluate_target(Eval(str(run_dir), record=False, **QUICK), lambda _: None)
    assert again["score"] == record["score"], "the same problems every time"
    assert len(records.evaluations(run_dir)) == 1


def test_weights_without_a_run_are_judged_by_functions(run_dir: pathlib.Path) -> None:
    out = run_dir.parent / "w.safetensors"
    assert Export(str(run_dir), out).run(lambda _: None) == 0
    said: list[str] = []
    assert Eval(str(out), json=True, **QUICK).run(said.append) == 0
    found = json.loads(said[0])
    assert found["score_of"] == "classical" and list(found["suites"]) == ["classical"]
    assert found["step"] is None
    with pytest.raises(ConfigError, match="nothing to evaluate"):
        evaluate_target(Eval(str(out), functions="none"), lambda _: None)


def test_scores_tell_better_from_worse_and_survive_divergence(run_dir: pathlib.Path) -> None:
    model = weights.load(run_dir)
    plan = Plan(("sphere",), (2,), starts=2, steps=6)
    good = classical(model, plan, threading.Event(), lambda _: None)
    assert good["score"] <= 0
    params = jax.tree_util.tree_map(lambda leaf: leaf * np.float32(1e30), model.params)
    wild = dataclasses.replace(model, params=params)
    bad = classical(wild, plan, threading.Event(), lambda _: None)
    assert -8 <= bad["score"] <= 0 and np.isfinite(bad["score"])


def test_stop_ends_an_evaluation(run_dir: pathlib.Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        evaluate(weights.load(run_dir), config(), Plan(), stop)


def test_only_equal_protocols_compare() -> None:
    base = Plan()
    assert base.protocol(None) == Plan().protocol(None)
    assert base.protocol(None) != dataclasses.replace(base, starts=9).protocol(None)
    assert base.protocol(None) != base.protocol(config())
    ranked = [
        {"step": 1, "score": -9.0, "protocol": "old"},
        {"step": 2, "score": -1.0, "protocol": "new"},
        {"step": 3, "score": -2.0, "protocol": "new"},
        {"step": 3, "score": -0.5, "protocol": "new"},
    ]
    assert records.best(ranked) == ranked[1], "the newest record of a step counts"
    assert records.best([]) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"functions": "sphre"}, "sphre"),
        ({"dims": "0"}, "at least 1"),
        ({"starts": 0}, "starts"),
        ({"steps": 1}, "steps"),
        ({"dims": "x"}, "whole numbers"),
    ],
)
def test_mistakes_are_one_line(run_dir: pathlib.Path, changed: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ConfigError, match=message) as caught:
        evaluate_target(Eval(str(run_dir), **(QUICK | changed)), lambda _: None)
    assert "\n" not in str(caught.value)


def test_a_run_stands_for_its_best_else_latest_checkpoint(run_dir: pathlib.Path) -> None:
    assert resolve(str(run_dir)).step == 10
    checkpoint.mark_best(run_dir / "checkpoints", 0)
    assert resolve(str(run_dir)).step == 0
    assert resolve("optimus-noposition").run_dir is None


# ------------------------------------------------------------------------------------------ export


def test_export_is_complete_and_loads_without_the_run(run_dir: pathlib.Path) -> None:
    Eval(str(run_dir), **QUICK).run(lambda _: None)
    model = weights.load(run_dir / "checkpoints" / "10")
    said: list[str] = []
    out = run_dir.parent / "out"
    assert Export(str(run_dir / "checkpoints" / "10"), out, what="tiny").run(said.append) == 0
    shutil.rmtree(run_dir)
    back = optimus.load(out)
    assert back.fingerprint == model.fingerprint and back.card["what"] == "tiny"
    assert back.card["checkpoint"]["step"] == 10 and len(back.card["checkpoint"]["sha256"]) == 64
    assert back.card["judged"]["score_of"] == "tasks"
    assert str(out / "weights.safetensors") in said[0]


def test_export_refuses_what_would_be_lost_or_is_no_checkpoint(run_dir: pathlib.Path) -> None:
    out = run_dir.parent / "w.safetensors"
    Export(str(run_dir), out).run(lambda _: None)
    before = out.read_bytes()
    add_checkpoint(run_dir, 20, 0.5)
    with pytest.raises(weights.WeightsError, match="exists; --force replaces it"):
        Export(str(run_dir), out).run(lambda _: None)
    assert out.read_bytes() == before
    Export(str(run_dir), out, force=True).run(lambda _: None)
    assert out.read_bytes() != before
    with pytest.raises(weights.WeightsError, match="is no checkpoint of a run"):
        Export(str(out), run_dir.parent / "x").run(lambda _: None)
    (run_dir / "checkpoints" / "20" / checkpoint.STATE).write_bytes(b"")
    with pytest.raises(weights.WeightsError, match="damaged"):
        Export(str(run_dir), run_dir.parent / "y").run(lambda _: None)
    assert not (run_dir.parent / "y").exists()


SHIPPED = [name for name in weights.available() if "config" in weights.load(name).card]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_command_on_a_card_runs_the_configuration_that_made_the_weights(name: str) -> None:
    card = weights.load(name).card
    *_, last = card["command"].split("optimus train ")
    config, *options = last.split()
    changes = [options[k + 1] for k, word in enumerate(options) if word == "--set"]
    found = override(configs.find(config), changes)
    made = from_dict(card["config"])
    # How often to write a checkpoint is nobody's business, and names have changed since. What are
    # phases of one run now were runs of their own, each from the weights of the one before.
    of_run = ("name", "checkpoint_every", "updates", "initial", "phases")
    assert dataclasses.replace(made, **{key: getattr(found, key) for key in of_run}) == found
    if not changes and "runs/" not in made.initial:
        assert (made.updates, made.initial, made.phases) == (
            found.updates,
            found.initial,
            found.phases,
        )
    for phase in made.phases:
        assert phase in [dataclasses.replace(each, updates=phase.updates) for each in found.phases]


def test_a_checkpoint_that_is_pruned_before_it_is_read_gives_way_to_the_next(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`export RUN` beside the program that trains it."""
    newest = checkpoint.latest_step(run_dir / "checkpoints")
    found = [cli.Target(str(run_dir / "checkpoints/999"), run_dir, 999)]
    monkeypatch.setattr(cli, "resolve", lambda name: found.pop() if found else resolve(name))
    target, _ = cli.load(str(run_dir))
    assert target.step == newest and not found


def test_what_an_evaluation_found_is_shown_where_it_cannot_be_written(
    run_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise checkpoint.CheckpointError("cannot write BEST: No space left on device")

    monkeypatch.setattr(records, "move_best", full)
    said: list[str] = []
    with pytest.raises(UserError, match="No space left on device; --no-record") as caught:
        Eval(str(run_dir), **QUICK).run(said.append)
    assert caught.value.exit_code == 1 and "classical functions" in "\n".join(said)


def test_a_full_disk_is_no_wrong_value(
    run_dir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(weights.WeightsError, match="No space left") as caught:
        Export(str(run_dir), tmp_path / "w.safetensors").run(print)
    assert caught.value.exit_code == 1
