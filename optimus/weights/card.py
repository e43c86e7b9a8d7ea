"""The card of trained weights: what they are, and how they are made again.

    card = card_of_run("runs/classical")      # of the checkpoint `load` takes
    weights.save("NAME.safetensors", model.config, model.params, card)

Keys beside those that `weights.save` fills in:

    what          a sentence
    trained_on    the task's fields, with `functions` and `families` that were really drawn
    n, horizon    [least, most] of the training tasks
    seed          of meta-training
    training      updates and inner steps, until this checkpoint and of the whole run; phases
    compute       seconds, core_seconds (null where the run did not record them), machine
    command, config, config_hash   with what it is made again
    evaluation    validation of this checkpoint

Cards of earlier versions hold others too; these are not read.
"""

import dataclasses
import json
import math
import os
import platform
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from optimus import rundir, weights
from optimus.config import ClassicalTask, TrainConfig, config_hash, to_dict
from optimus.problems.groups import allowed, allowed_generated
from optimus.rundir import metrics
from optimus.weights import AnyPath

_READ = ("step", "evaluations", "uptime", "cpu_seconds")  # of the learner's records


def _drawn(task: ClassicalTask) -> tuple[str, ...]:
    others = task.generated + task.networks
    return allowed(task.functions, task.hold_out) if others < 1.0 else ()


def card_of_run(
    run_dir: AnyPath, what: str = "", command: str = "", machine: str = "", step: int | None = None
) -> dict[str, Any]:
    """The card of a run's weights, for `weights.save`.

    Args:
      run_dir: of a finished or stopped run.
      what: a sentence; default: name and seed.
      command: by which it was made; default: one that takes the `config` in the card.
      machine: class of the machine it ran on; default: that of this one.
      step: of the checkpoint; default the one that `weights.load` takes.

    Raises:
      WeightsError, ConfigError: no checkpoint, or no readable configuration; one line.
    """
    run_dir = Path(run_dir)
    where = run_dir if step is None else run_dir / "checkpoints" / str(step)
    manifest = dict(weights.load(where).card)
    config = rundir.load_config(run_dir / rundir.CONFIG)
    path = run_dir / "metrics" / "learner-0.jsonl"
    records = list(metrics.read(path, good=_whole)) if path.is_file() else []
    last = max((each for each in records if "step" in each), key=_step, default={})
    usual = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores visible"
    card = {
        "what": what or f"{config.name}, seed {config.seed}",
        **_distribution(config),
        "seed": config.seed,
        "training": {
            "updates": manifest["step"],
            "inner_steps": manifest.get("evaluations"),
            "updates_of_run": last.get("step"),
            "inner_steps_of_run": last.get("evaluations"),
            "phases": [_phase(*each, config.task) for each in zip(config.phases, config.lengths)],
            "meta_loss": dataclasses.asdict(config.meta_loss),
        },
        "compute": _compute(records, manifest["step"]) | {"machine": machine or usual},
        "command": command or _command(config, manifest),
        "config": to_dict(config),
        "config_hash": config_hash(config),
        "trained_with": manifest.get("libraries", {}),
        "evaluation": manifest.get("validation") or {},
    }
    return json.loads(json.dumps(card))  # type: ignore[no-any-return]


def _distribution(config: TrainConfig) -> dict[str, Any]:
    task = config.task
    lengths = [(each.estimator.shortest, each.estimator.horizon) for each in config.phases]
    found: dict[str, Any] = {
        "trained_on": dataclasses.asdict(task),
        "horizon": [min(low or high for low, high in lengths), max(high for _, high in lengths)],
    }
    if isinstance(task, ClassicalTask):
        families = allowed_generated(task.hold_out) if task.generated else ()
        found["trained_on"] |= {"functions": _drawn(task), "families": families}
        most = [max((each.task or task).sizes) for each in config.phases]
        found["n"] = [task.least_dim, max(most)]
    return found


def _phase(phase: Any, updates: int, task: Any) -> dict[str, Any]:
    """The fields of a phase that are not at their defaults or as in the run's task, and the kind of
    estimator."""
    changed = _changed(phase.estimator, type(phase.estimator)())
    meta = dataclasses.asdict(phase.meta)
    tasks = {"task": _changed(phase.task, task)} if phase.task else {}
    return {"updates": updates, "kind": phase.estimator.kind} | changed | meta | tasks


def _changed(found: Any, usual: Any) -> dict[str, Any]:
    before = dataclasses.asdict(usual)
    return {k: value for k, value in dataclasses.asdict(found).items() if value != before[k]}


def _whole(record: Mapping[str, Any]) -> bool:
    """Whether those of its values that the card reads are finite numbers."""
    numbers = [record[key] for key in _READ if key in record]
    return all(isinstance(n, (int, float)) and abs(n) < 1e300 for n in numbers)


def _step(record: Mapping[str, Any]) -> tuple[int, bool]:
    return int(record["step"]), "evaluations" in record


def _compute(records: Iterable[Mapping[str, Any]], step: int) -> dict[str, Any]:
    """Seconds, and core seconds where every session recorded `cpu_seconds`: summed over the
    sessions of the run, until the checkpoint and altogether."""
    sessions: list[list[Mapping[str, Any]]] = []
    for record in records:
        if record.get("event") == "learner_started" or not sessions:
            sessions.append([])
        sessions[-1].append(record)
    found: dict[str, Any] = {}
    for name, key in (("seconds", "uptime"), ("core_seconds", "cpu_seconds")):
        for suffix, until in (("", step), ("_of_run", math.inf)):
            clocks = [
                [float(r[key]) for r in session if key in r and r.get("step", 0) <= until]
                for session in sessions
            ]
            known = [max(each) for each in clocks if each]
            found[name + suffix] = round(sum(known), 1) if known else None
    return found


def _command(config: TrainConfig, manifest: Mapping[str, Any]) -> str:
    launch = manifest.get("launch", "inprocess")
    words = shlex.join(["optimus", "train", f"{config.name}.json", "--launch", str(launch)])
    return f"{words}, that file being `config` below"
