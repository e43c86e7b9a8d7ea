"""`optimus eval`: judges one set of weights, shows it, writes it down where it belongs to a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from launch import Say
from optimus.errors import UserError, require
from optimus.files import path_of

if TYPE_CHECKING:
    from optimus.weights import LearnedOptimizer


@dataclass(frozen=True)
class Eval:
    """Judge a checkpoint: held-out classical functions, and the held-out tasks of its run.

    In a run directory the result is added to eval.jsonl, and BEST moves if it is the best of those
    that were judged in the same way. Lower scores are better. Examples:

      optimus eval runs/physics-small/checkpoints/300
      optimus eval runs/physics-small            (its best checkpoint, else its newest)
      optimus eval optimus-classical --functions all --dims 2,10,50 --starts 64
    """

    checkpoint: tyro.conf.Positional[str]
    """A checkpoint folder, a run directory, a weights file or folder, or the name of weights."""
    functions: str = "rosenbrock,rastrigin,ackley,levy,dixon_price"
    """Classical functions with commas between, "all", or "none"."""
    dims: str = "10"
    """Their dimensions, with commas between."""
    starts: int = 8
    """Starts per function and dimension."""
    steps: int = 100
    """Evaluations per start."""
    tasks: bool = True
    """Also the run's own held-out tasks: motion windows, or analytic tasks."""
    record: bool = True
    """Add the result to the run's eval.jsonl and move BEST."""
    json: bool = False
    """Print one JSON object."""

    def run(self, say: Say) -> int:
        """Exit code; clear errors are raised as for the other commands."""
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        with console.status("loading") as status:
            found = evaluate_target(self, status.update)
        from optimus.rundir.metrics import finite

        for line in [json.dumps(finite(found))] if self.json else lines(found):
            say(line)
        if "unwritten" in found:  # what took minutes is shown all the same
            raise UserError(f"{found['unwritten']}; --no-record leaves the run as it is")
        return 0


@dataclass(frozen=True)
class Target:
    """What to judge: `name` for `weights.load`, and the run and step it belongs to, if any."""

    name: str
    run_dir: Path | None = None
    step: int | None = None


def resolve(name: str) -> Target:
    """Finds the run around a checkpoint; a run directory stands for its best, else its newest."""
    from optimus import rundir, weights
    from optimus.rundir import checkpoint

    if name in weights.available():
        return Target(name)
    path = path_of(name, "weights")
    if (path / "checkpoints").is_dir():
        folder = path / "checkpoints"
        best = checkpoint.best_step(folder)
        step = checkpoint.latest_step(folder) if best is None else best
        if step is None:
            raise weights.WeightsError(f"{path} has no checkpoint yet")
        return Target(str(folder / str(step)), path, step)
    whole = path.resolve()
    folder, run_dir = whole.parent, whole.parent.parent
    of_run = folder.name == "checkpoints" and (run_dir / rundir.CONFIG).is_file()
    if of_run and whole.name.isdigit():
        return Target(name, run_dir, int(whole.name))
    return Target(name)


def load(name: str) -> tuple[Target, LearnedOptimizer]:
    """What `resolve` finds, and its weights. A run's newest checkpoint may be pruned before it is
    read, since the run goes on: then the next one is taken."""
    from optimus import weights

    for tries in (2, 1, 0):
        target = resolve(name)
        try:
            return target, weights.load(target.name)
        except weights.WeightsError:
            if not tries or target.name == name or Path(target.name).is_dir():
                raise
    raise AssertionError


def evaluate_target(arguments: Eval, say: Say) -> dict[str, Any]:
    """The record, added to `eval.jsonl` where `arguments` and the target say so."""
    import threading

    from launch.evaluation import records
    from launch.evaluation.suites import Plan, evaluate
    from launch.runners import actors_cannot
    from optimus import rundir
    from optimus.bench.plan import dimensions, names
    from optimus.problems.functions import FUNCTIONS
    from optimus.rundir import checkpoint

    given = arguments.functions
    chosen = () if given == "none" else names(given, FUNCTIONS, "function")
    dims = dimensions(arguments.dims)
    plan = Plan(chosen, dims, arguments.starts, arguments.steps, arguments.tasks)
    target, model = load(arguments.checkpoint)
    config = rundir.load_config(target.run_dir / rundir.CONFIG) if target.run_dir else None
    own_tasks = config is not None and plan.tasks and not actors_cannot(config)
    nothing = "nothing to evaluate: no functions, and no held-out tasks of a run"
    require(bool(chosen) or own_tasks, nothing)
    of = {"step": target.step, "sha256": model.card.get("sha256")}
    found = {**of, **evaluate(model, config, plan, threading.Event(), say)}
    if arguments.record and target.run_dir is not None:
        try:
            records.append(target.run_dir, found)
            found["best_step"] = records.move_best(target.run_dir, found["protocol"])
        except OSError as error:
            found["unwritten"] = f"cannot write {target.run_dir / records.FILE}: {error.strerror}"
        except checkpoint.CheckpointError as error:
            found["unwritten"] = str(error)
    return {"checkpoint": target.name, **found}


_TASKS = (
    "held-out tasks of the run: meta-loss {score:+.3f} ± {error:.3f} ({tasks} tasks, {steps} "
    "steps), best loss as a share of the start: median {best:.3f}"
)
_FUNCTIONS = (
    "classical functions, mean log10 (best gap / first gap): {score:+.3f} ({starts} starts, "
    "{steps} evaluations)"
)


def lines(found: dict[str, Any]) -> list[str]:
    """A record for people."""
    made = [f"{found['checkpoint']}  ({found['seconds']:.0f} s, protocol {found['protocol']})"]
    own, functions = found["suites"].get("tasks"), found["suites"].get("classical")
    if own:
        made.append(_TASKS.format(**own))
    if functions:
        made.append(_FUNCTIONS.format(**functions))
        for name, of_dim in functions["functions"].items():
            cells = "  ".join(f"N={dim} {value:+.3f}" for dim, value in of_dim.items())
            made.append(f"  {name:<28}{cells}")
    if found.get("best_step") is not None:
        made.append(f"best checkpoint so far: {found['best_step']}")
    return made
