"""`optimus sweep`: arms, one budget for all, cells that resume and are passed over, the tables."""

import csv
import dataclasses
import json
import os
import signal

import jax
import numpy as np
import pytest

from launch import configs
from launch.cli.sweep import Sweep as Command
from launch.runners import fused, train
from launch.sweeps import BASE, Arm, Axis, Sweep, grid, inner_steps_at, one_at_a_time, phases_of
from launch.sweeps import run as sweep_run
from launch.sweeps import state as sweep_state
from launch.sweeps import table as sweep_table
from optimus.config import (
    AnalyticTask,
    ConfigError,
    Estimator,
    Evaluation,
    Layout,
    MetaOptimizer,
    Phase,
)
from optimus.meta.fused.trainer import Trainer
from optimus.model.config import OptimizerConfig
from optimus.rundir import RunDirError, checkpoint, metrics
from tests.one_phase import one_phase

TINY = one_phase(
    name="tiny",
    task=AnalyticTask(family="quadratic", dim=3),
    updates=1,
    optimizer=OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9, rank_one="none"),
    estimator=Estimator(kind="bptt", truncation=2, horizon=4),
    meta=MetaOptimizer(batch=4, learning_rate=3e-3),
    layout=Layout(1, 1, 4, 0),
    evaluation=Evaluation(tasks=4, steps=5),
)
FASTER = Arm("rate=0.01", {"meta.learning_rate": 0.01}, "rates")


def sweep(*arms, **changes):
    values = dict(inner_steps=48, seeds=(0, 1), validations=3)
    return Sweep("tiny", TINY, arms or (Arm(BASE), FASTER), **{**values, **changes})


# ------------------------------------------------------------------------------------------- arms


def test_defaults_have_a_hash_which_cpython_3_11_wants_of_them() -> None:
    for kind in (Arm, Axis, Sweep):
        for field in dataclasses.fields(kind):
            hash(field.default)


def test_a_grid_has_every_combination():
    arms = grid(
        Axis("meta.learning_rate", (1e-3, 1e-4)),
        Axis("batch", (4, 8), ("meta.batch", "layout.lanes")),
    )
    assert [arm.name for arm in arms] == [
        "learning_rate=0.001,batch=4",
        "learning_rate=0.001,batch=8",
        "learning_rate=0.0001,batch=4",
        "learning_rate=0.0001,batch=8",
    ]
    assert arms[3].changes == {"meta.learning_rate": 1e-4, "meta.batch": 8, "layout.lanes": 8}


def test_one_at_a_time_leaves_out_what_the_base_has():
    rates, decays = Axis("meta.learning_rate", (3e-3, 0.1)), Axis("optimizer.b_decay", (1, 0.9))
    arms = one_at_a_time(TINY, rates, decays)
    assert [(arm.name, arm.study) for arm in arms] == [
        (BASE, ""),
        ("learning_rate=0.1", "learning_rate"),
        ("b_decay=1", "b_decay"),
    ]


def test_every_cell_has_the_same_budget():
    batch = Arm("batch", {"meta.batch": 8, "layout.lanes": 8})
    phases = (
        Phase(
            2,
            TINY.phases[0].estimator,
            dataclasses.replace(TINY.phases[0].meta, cosine=9),
            TINY.phases[0].layout,
        ),
        Phase(
            1,
            Estimator(kind="nres", truncation=2, horizon=4),
            TINY.phases[0].meta,
            TINY.phases[0].layout,
        ),
    )
    made = sweep(Arm(BASE), batch, Arm("phases", phases_of(*phases)), inner_steps=960)
    alone, wide, phased = (made.config(arm, 0) for arm in made.arms)
    assert [c.updates for c in (alone, wide, phased)] == [120, 60, 90]
    assert phased.lengths == (60, 30)
    assert [phase.meta.cosine for phase in phased.phases] == [60, 0]
    assert (alone.checkpoint_every, wide.checkpoint_every) == (40, 20)
    for config in (alone, wide, phased):
        assert inner_steps_at(config, config.updates) == 960
    assert [inner_steps_at(phased, step) for step in (0, 1, 60, 61)] == [0, 8, 480, 496]
    counted = sweep(batch, inner_steps=0, updates=7)
    assert counted.config(batch, 0).updates == 7


@pytest.mark.parametrize(
    ("arms", "changes", "message"),
    [
        ((), dict(updates=5), "want one of inner_steps and updates"),
        ((), dict(inner_steps=0), "want one of inner_steps and updates"),
        ((), dict(seeds=()), "want at least one arm and one seed"),
        ((), dict(seeds=(1, 1)), "a seed twice"),
        ((), dict(validations=0), "validations: got 0, want >= 1"),
        ((Arm("a/b"),), {}, "arm 'a/b': want a name of letters"),
        ((Arm("a"), Arm("a")), {}, "arm 'a': want a name of letters, .* that no other arm has"),
        ((Arm("a"), Arm("b", {"updates": 9})), {}, "arms a and b are the same"),
        ((Arm("a", {"meta.rate": 1}),), {}, "arm a: --set meta.rate=1: unknown key"),
        ((Arm("a", {"layout.lanes": 9}),), {}, "arm a: meta.batch: got 4, want 9"),
        ((Arm("a", {"task.dim": 4}),), {}, "arm a: changes task, which decides the validation"),
        ((Arm("a", {"evaluation.tasks": 5}),), {}, "arm a: changes evaluation, which"),
    ],
)
def test_what_is_no_sweep_is_refused_in_one_line(arms, changes, message):
    with pytest.raises(ConfigError, match=message) as raised:
        sweep(*arms, **changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", configs.sweep_names())
def test_the_shipped_sweeps(name, tmp_path):
    made = configs.find_sweep(name)
    assert made.arms[0] == Arm(BASE) and len(made.seeds) == 3
    for cell in made.cells(tmp_path):
        assert train.problem(cell.config, "fused", cell.run_dir) is None
        total = inner_steps_at(cell.config, cell.config.updates)
        assert total == pytest.approx(made.inner_steps, rel=0.01)
    assert {f"sweep-{name}" for name in configs.sweep_names()}.isdisjoint(configs.names())


# ---------------------------------------------------------------------------------------- running


@pytest.mark.slow
def test_a_sweep_stopped_and_resumed_is_the_runs_it_is_made_of(tmp_path):
    cells, said = sweep().cells(tmp_path), []
    assert [cell.label for cell in cells[:3]] == [
        "base, seed 0",
        "rate=0.01, seed 0",
        "base, seed 1",
    ]

    def stopping(line):
        said.append(line)
        said_so = "validation after 2 updates"
        if said_so in line and sum(said_so in each for each in said) == 2:
            os.kill(os.getpid(), signal.SIGINT)  # in the second cell

    assert not sweep_run.run(cells, tmp_path, stopping, cells)
    assert said[-1] == "stopped; the same command resumes"
    assert [sweep_state.finished(cell) for cell in cells] == [True, False, False, False]
    text = (tmp_path / "table.md").read_text()
    assert "Unfinished, not in the tables: rate=0.01 (seed 0)." in text

    kept = (cells[0].run_dir / "checkpoints" / "6" / checkpoint.MANIFEST).stat().st_mtime_ns
    said.clear()
    assert sweep_run.run(cells, tmp_path, said.append, cells)
    assert "4 cells in" in said[0] and "1 of them finished" in said[0]
    assert all(sweep_state.finished(cell) for cell in cells)
    assert "resuming from update" in "\n".join(said)
    again = (cells[0].run_dir / "checkpoints" / "6" / checkpoint.MANIFEST).stat().st_mtime_ns
    assert again == kept

    trainer = Trainer(cells[1].config, devices=1)
    while trainer.step < 6:
        trainer.update()
    found = checkpoint.load(cells[1].run_dir / "checkpoints" / "6").arrays
    for name, array in trainer.arrays().items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)

    check_tables(cells, tmp_path)
    more = sweep(inner_steps=64)  # a larger budget goes on, a smaller one would mean another run
    assert not sweep_state.finished(more.cells(tmp_path)[0])
    with pytest.raises(RunDirError, match=r"has 6 updates, the sweep's budget is 4; use another"):
        sweep_run.run(sweep(inner_steps=32).cells(tmp_path), tmp_path, print, [])


def check_tables(cells, out):
    with open(out / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["seed"]) for row in rows] == [
        (cell.arm.name, str(cell.seed)) for cell in cells
    ]
    for cell, row in zip(cells, rows):
        records = metrics.read(cell.run_dir / "metrics" / "learner-0.jsonl")
        gaps = {r["step"]: r["gap"] for r in records if r["event"] == "validation"}
        assert float(row["best"]) == min(gaps.values()) and float(row["last"]) == gaps[6]
        assert gaps[int(row["best_update"])] == float(row["best"])
        assert float(row["best"]) == fused.best_validation(cell.run_dir)[1]
        assert (row["state"], row["updates"], row["inner_steps"]) == ("finished", "6", "48")
        last = checkpoint.load(cell.run_dir / "checkpoints" / "6")
        assert last.manifest["evaluations"] == 48  # as the trainer counts inner steps
        assert int(row["weights"]) == last.arrays["adam/mu"].size
        assert 0 < float(row["core_seconds"]) < 1000
        assert abs(float(row["quadratic"]) - float(row["best"])) < 1e-3
    with open(out / "curves.csv", newline="") as file:
        points = [row for row in csv.DictReader(file) if row["arm"] == BASE and row["seed"] == "1"]
    # The run that was stopped has one more point; these were not.
    assert [int(point["inner_steps"]) for point in points] == [0, 16, 32, 48]
    text = (out / "table.md").read_text()
    base = [float(row["best"]) for row in rows if row["arm"] == BASE]
    assert f"{np.mean(base):.2f} ({min(base):.2f}..{max(base):.2f})" in text
    assert text.count("| base | 2 |") == 1 and "## rates" in text and "Unfinished" not in text
    assert (out / "curves.png").stat().st_size > 5000


def test_a_cell_that_jax_cannot_run_does_not_end_the_sweep(tmp_path, monkeypatch):
    cells, ran, said = sweep(seeds=(0,)).cells(tmp_path), [], []

    def train(config, run_dir, launch, say):
        if not ran:
            ran.append(config.name)
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nmore lines")
        ran.append(config.name)
        checkpoint.write_atomically(run_dir / "done", "")

    monkeypatch.setattr(sweep_run.train, "train", train)
    monkeypatch.setattr(sweep_run, "finished", lambda cell: (cell.run_dir / "done").exists())
    assert not sweep_run.run(cells, tmp_path, said.append, cells)
    assert ran == ["tiny-base-0", "tiny-rate=0.01-0"]
    assert "  failed: RESOURCE_EXHAUSTED: out of memory" in said
    assert said[-1] == "failed: base, seed 0; the same command tries them again"


# ---------------------------------------------------------------------------------------- details


def test_processor_time_adds_up_over_lives(tmp_path):
    lines = [(1, 2.0), (1, 3.5), (2, 1.0), (2, 1.25)]
    text = "".join(json.dumps(dict(life=a, core_seconds=b)) + "\n" for a, b in lines)
    (tmp_path / sweep_state.COMPUTE).write_text(text + '{"life": 2, "core_s')  # killed there
    assert sweep_state.core_seconds(tmp_path) == 4.75
    assert sweep_state.core_seconds(tmp_path / "none") == 0.0
    with sweep_state.timed(tmp_path / "new"):
        sum(k for k in range(200_000))
    assert 0.0 < sweep_state.core_seconds(tmp_path / "new") < 60.0


def test_a_table_keeps_divergence_and_missing_seeds_apart():
    def row(arm, seed, best, state="finished", study="s"):
        values = dict(study=study, arm=arm, seed=seed, state=state, weights=5, updates=6)
        return values | dict(inner_steps=48, core_seconds=1.0, start=0.0, last=best, best=best)

    rows = [
        row(BASE, 0, -1.0, study=""),
        row(BASE, 1, -2.0, study=""),
        row("a", 0, -1.5),
        row("a", 1, -3.5),
        row("b", 1, np.inf),
        row("c", 0, -9.0, "unfinished"),
    ]
    text = sweep_table.markdown(rows, ()).splitlines()
    assert "| base | 2 | 5 | 6 | 48 | 1 | -1.50 (-2.00..-1.00) |  | -1.50 |" in text
    a = "| a | 2 | 5 | 6 | 48 | 1 | -2.50 (-3.50..-1.50) | -1.00 (-1.50..-0.50) | -2.50 |"
    assert a in text
    assert "| b | 1 | 5 | 6 | 48 | 1 | inf | +inf | inf |" in text
    assert text[-1] == "Unfinished, not in the tables: c (seed 0)."


def test_the_command_lists_selects_and_refuses(tmp_path):
    said = []
    chosen = Command("table3", tmp_path, (5,), ("dim=*", BASE), 400, list=True)
    assert chosen.run(said.append) == 0
    arms = (BASE, "dim=64", "dim=256", "dim=512")
    assert said == [f"{arm}, seed 5: 2 updates, 400 inner steps" for arm in arms]
    (tmp_path / "own.py").write_text(
        "from launch.sweeps import Arm, Sweep\nfrom launch.configs import find\n"
        "def get_sweep():\n    return Sweep('own', find('smoke'), (Arm('base'),), updates=3)\n"
    )
    said.clear()
    assert Command(str(tmp_path / "own.py"), seeds=(7,), list=True).run(said.append) == 0
    assert said == ["base, seed 7: 3 updates, 240 inner steps"]
    (tmp_path / "none.py").write_text("")
    for arguments, message in (
        (dict(name="tabel3"), "unknown sweep 'tabel3'; did you mean 'table3'?"),
        (dict(name="table3", arms=("dim=7",)), "--arms dim=7: no such arm; known: base, "),
        (dict(name="table3", table=True), "--table: no cell of this sweep has begun in"),
        (dict(name=str(tmp_path / "none.py")), "want a function get_sweep"),
        (dict(name=str(tmp_path / "absent.py")), "is no Python file"),
    ):
        with pytest.raises(ConfigError, match=message):
            Command(**{"out": tmp_path, **arguments}).run(said.append)
