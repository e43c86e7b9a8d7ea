"""Cards of trained weights: what a run says of itself, and what its weights may be scored on."""

import json

import jax
import pytest

from optimus import rundir, weights
from optimus.config import (
    ClassicalTask,
    Estimator,
    Layout,
    MetaOptimizer,
    Phase,
    TrainConfig,
    from_dict,
)
from optimus.model.optimizer import OptimizerConfig, init_params
from optimus.model.parameters import layout_of
from optimus.rundir import checkpoint
from optimus.rundir.metrics import MetricsWriter
from optimus.weights import WeightsError
from optimus.weights import card as weights_card

CONFIG = OptimizerConfig(dim=8, encoders=1, heads=2)


def test_what_weights_never_saw_is_on_their_cards():
    held_out = {
        name: weights.load(name).card["trained_on"].get("hold_out") for name in weights.available()
    }
    assert held_out["optimus-classical"] == held_out["optimus-noposition"] == []
    assert held_out["optimus-heldout-well"] == held_out["adafactor-mlp-heldout-well"] == ["well"]


def make_run(run_dir, task, cpu=True):
    """A fused run's directory: two sessions, checkpoints 4 (the best) and 8."""
    phase = Phase(
        estimator=Estimator(kind="bptt", truncation=10, horizon=40, shortest=20),
        meta=MetaOptimizer(batch=2),
        layout=Layout(1, 1, 2, 0),
    )
    config = TrainConfig(name="t", task=task, updates=8, seed=3, optimizer=CONFIG, phases=(phase,))
    rundir.prepare(run_dir, config)
    tree = init_params(CONFIG, jax.random.PRNGKey(0))
    layout = layout_of(tree)
    arrays = layout.to_arrays(layout.flatten(tree))
    for step, gap in ((4, -2.0), (8, -1.0)):
        manifest = {"evaluations": 40 * step, "launch": "fused", "validation": {"gap": gap}}
        checkpoint.save(run_dir / "checkpoints", step, arrays, manifest)
    checkpoint.mark_best(run_dir / "checkpoints", 4)
    writer = MetricsWriter(run_dir, "learner")
    writer.close()
    lines = [
        {"event": "learner_started", "uptime": 0.0},
        {"event": "update", "step": 2, "uptime": 10.0, "evaluations": 80, "cpu_seconds": 19.0},
        {"event": "learner_started", "uptime": 0.0},
        {"event": "update", "step": 4, "uptime": 5.0, "evaluations": 160, "cpu_seconds": 9.0},
        {"event": "update", "step": 8, "uptime": 20.0, "evaluations": 320, "cpu_seconds": 38.0},
        {"event": "checkpoint", "step": 8, "uptime": 20.5},
    ]
    if not cpu:
        lines = [{k: v for k, v in line.items() if k != "cpu_seconds"} for line in lines]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run_dir / "metrics" / "learner-0.jsonl").write_text(text)
    return config


def test_a_run_makes_a_card_that_can_be_saved_and_trained_again(tmp_path):
    task = ClassicalTask(hold_out=("valley",), generated=0.25, sizes=(10, 50), shift=0.5)
    config = make_run(tmp_path / "run", task)
    card = weights_card.card_of_run(tmp_path / "run", machine="2 cores of x86_64")
    assert card["trained_on"]["hold_out"] == ["valley"] and card["seed"] == 3
    assert (card["n"], card["horizon"]) == ([2, 50], [20, 40])
    assert "rosenbrock" not in card["trained_on"]["functions"]
    assert "valley" not in card["trained_on"]["families"] and card["trained_on"]["shift"] == 0.5
    training = card["training"]
    assert (training["updates"], training["inner_steps"]) == (4, 160)
    assert (training["updates_of_run"], training["inner_steps_of_run"]) == (8, 320)
    assert card["compute"] == {
        "seconds": 15.0,
        "seconds_of_run": 30.5,
        "core_seconds": 28.0,
        "core_seconds_of_run": 57.0,
        "machine": "2 cores of x86_64",
    }
    assert card["evaluation"] == {"gap": -2.0}
    assert from_dict(card["config"]) == config
    model = weights.load(tmp_path / "run")
    weights.save(tmp_path / "out", model.config, model.params, card)
    assert weights.load(tmp_path / "out").card["trained_on"] == card["trained_on"]


def test_what_a_run_did_not_record_is_not_made_up(tmp_path):
    make_run(tmp_path, ClassicalTask(), cpu=False)
    card = weights_card.card_of_run(tmp_path, step=8, command="optimus train x")
    assert card["compute"]["core_seconds"] is None and card["compute"]["seconds_of_run"] == 30.5
    assert (card["training"]["updates"], card["command"]) == (8, "optimus train x")
    with pytest.raises(WeightsError) as caught:
        weights_card.card_of_run(tmp_path, step=5)
    assert "\n" not in str(caught.value)
