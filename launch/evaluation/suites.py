"""What a checkpoint is judged by: held-out classical functions, and the run's own held-out tasks.

Both are fixed: the same problems for every checkpoint and every run with the same settings. No
training task can be one of them: the functions come from the benchmark's `fair-shift` preset at a
seed of their own (shifts and starts that no sampler draws), motion windows from the split
`evaluation.split`, analytic tasks from `evaluation.seed`.
"""

import dataclasses
import functools
import hashlib
import json
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np

from launch import Say
from launch.runners import actors_cannot
from optimus.bench.methods.counting import stacked
from optimus.bench.methods.learned import compiled, lanes_together
from optimus.bench.plan import names, require_counts
from optimus.config import Phase, TrainConfig
from optimus.errors import require
from optimus.problems import presets
from optimus.problems.functions import FUNCTIONS
from optimus.weights import LearnedOptimizer
from optimus.wire import Stopped

SEED = 20221201  # of the functions' shifts and starts
KEPT = 8  # compiled programs, some 20 MiB each: more than the usual plan has


@dataclass(frozen=True)
class Plan:
    """How much is evaluated. `tasks`: also the run's own held-out tasks."""

    functions: tuple[str, ...] = ("rosenbrock", "rastrigin", "ackley", "levy", "dixon_price")
    dims: tuple[int, ...] = (10,)
    starts: int = 8
    steps: int = 100
    tasks: bool = True

    def __post_init__(self) -> None:
        names(self.functions, FUNCTIONS, "function")
        require_counts(self.starts, self.steps, least_steps=2)
        require(min(self.dims, default=2) >= 2, f"dims: got {self.dims}, want each >= 2")

    def protocol(self, config: TrainConfig | None) -> str:
        """12 hexadecimal digits over all that decides the problems: equal ones compare."""
        own: dict[str, Any] = {}
        if config is not None and self.tasks:
            own = {"task": asdict(config.task), "evaluation": asdict(config.evaluation)}
        text = json.dumps([asdict(self), own, SEED, "fair-shift"], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def classical(model: LearnedOptimizer, plan: Plan, stop: threading.Event, say: Say) -> Any:
    """The functions of the plan, from `starts` starts each.

    Args:
      model: the weights.
      plan: which functions, dimensions, starts, steps.
      stop: ends it, between functions.
      say: takes a line about what is under way.

    Returns:
      "functions": name -> dim -> mean over the starts of log10 (best gap / gap at the start), in
      -8 ... 0; "score": the mean over all of them; and the settings.

    Raises:
      Stopped: `stop` was set; it is looked at between functions.
    """
    found: dict[str, dict[str, float]] = {}
    for function in names(plan.functions, FUNCTIONS, "function"):
        found[function] = {}
        for dim in plan.dims:
            if stop.is_set():
                raise Stopped
            say(f"{function}, N = {dim}")
            found[function][str(dim)] = round(_log_gap(model, function, dim, plan), 5)
    values = [value for each in found.values() for value in each.values()]
    settings = {"preset": "fair-shift", "starts": plan.starts, "steps": plan.steps}
    return {**settings, "functions": found, "score": round(float(np.mean(values)), 5)}


# Compiled once: the weights are an argument, so that later checkpoints reuse it.
_compiled = functools.lru_cache(maxsize=KEPT)(compiled.__wrapped__)


def _log_gap(model: LearnedOptimizer, function: str, dim: int, plan: Plan) -> float:
    drawn = functools.partial(presets.problem, "fair-shift", function, dim, SEED)
    problems = [drawn(start) for start in range(plan.starts)]
    data, x0 = stacked(problems)
    first = problems[0]
    with presets.arithmetic(presets.preset("fair-shift").dtype):
        together = lanes_together(model.config, x0.shape[1], len(x0))
        run = _compiled(first.objective, model.config, plan.steps, together)
        values = np.asarray(run(model.params, data, jax.numpy.asarray(x0))[0], np.float64)
    gaps = np.where(np.isfinite(values), values - first.minimum, np.inf)
    floor = 1e-8 * gaps[:, 0]
    best = np.maximum(gaps.min(axis=1), floor)
    return float(np.mean(np.minimum(np.log10(best / gaps[:, 0]), 0.0)))


def own_tasks(config: TrainConfig, theta: np.ndarray, stop: threading.Event) -> Any:
    """The run's held-out tasks: motion windows of the validation split, or analytic tasks.

    Args:
      config: the run's configuration.
      theta: weights, float32 `[P]`.
      stop: ends it by `Stopped`.

    Returns:
      "score": mean meta-loss over tasks and steps; "error": its standard error over tasks;
      "best": median over tasks of the smallest f as a share of the first; "tasks", "steps".
    """
    from launch.builders import local_pool
    from launch.evaluation.comparison import held_out, losses

    # One lane group and worker: it must not take cores from those who train.
    layout = config.processes
    layout = dataclasses.replace(layout, actors=1, workers=min(1, layout.workers))
    alone = dataclasses.replace(config, phases=(Phase(layout=layout),), synchronous=False)
    chosen = held_out(alone)
    with local_pool(chosen) as pool:
        values = losses(chosen, theta, pool, stop)
    means, best = values.mean(axis=1), np.median(np.exp(values.min(axis=1)))
    found = {"score": means.mean(), "error": means.std(ddof=1) / np.sqrt(len(means)), "best": best}
    rounded = {name: round(float(value), 5) for name, value in found.items()}
    return {**rounded, "tasks": len(values), "steps": values.shape[1]}


def evaluate(
    model: LearnedOptimizer,
    config: TrainConfig | None,
    plan: Plan,
    stop: threading.Event,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Everything in the plan; a record for `eval.jsonl` without step.

    Args:
      model: the weights.
      config: the run they are of, or None for weights without a run: then the functions only, as
        for runs that only `--launch fused` understands.
      plan: what.
      stop: ends it by `Stopped`.
      say: takes a line about what is under way.
    """
    from optimus.model.parameters import layout_of

    began = time.monotonic()
    suites: dict[str, Any] = {}
    if config is not None and plan.tasks and not actors_cannot(config):
        say("held-out tasks of the run")
        theta = layout_of(model.params).flatten(model.params)
        suites["tasks"] = own_tasks(config, theta, stop)
    if plan.functions:
        suites["classical"] = classical(model, plan, stop, say)
    main = next(iter(suites))
    about = {"time": round(time.time(), 3), "seconds": round(time.monotonic() - began, 2)}
    score = {"protocol": plan.protocol(config), "score": suites[main]["score"], "score_of": main}
    return {**about, **score, "suites": suites}
