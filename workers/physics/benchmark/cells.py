"""One cell: a method on a window, kept in a file whose name holds a hash of what decides it."""

import dataclasses
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimus import weights
from optimus.bench.storage import write_arrays
from workers.physics.benchmark import policy as policies
from workers.physics.benchmark.methods import METHODS, Models, Run, Unavailable
from workers.physics.benchmark.plan import Case, Settings
from workers.physics.loss import PhysicsOptions, metrics, options_hash
from workers.physics.loss.reconstruction import Reconstruction
from workers.physics.loss.windows import START_RULES

SCHEMA = 1  # raise when methods, metrics or counting change what they compute
LIBRARIES = ("jax", "numpy", "optax", "scipy")
ARRAYS = ("best", "elapsed", "evaluating", "at", "metrics", "x", "states", "reference", "seconds")


@dataclass(frozen=True, eq=False)
class Cell:
    """A finished cell.

    Rows that optimise nothing have one entry each, and no x.

    Attributes:
      best, elapsed, evaluating: `[E]`, best loss so far, seconds since the start, seconds within
        evaluations.
      at: `[K]`, evaluations (from 0) at which the best changed.
      metrics: `[K, len(metrics.COLUMNS)]`, how those motions look.
      x: `[N]`, the best controls. states: `[S + 1, nq]`, their motion.
      reference: `[F, n_sites, 3]`, what it should be, frames evenly spread, the last at the end.
      seconds: length of the window.
    """

    method: str
    window: str
    status: str
    lr: float
    best: np.ndarray
    elapsed: np.ndarray
    evaluating: np.ndarray
    at: np.ndarray
    metrics: np.ndarray
    x: np.ndarray
    states: np.ndarray
    reference: np.ndarray
    seconds: np.ndarray


def extended(values: np.ndarray, count: int) -> np.ndarray:
    """Values `[E]` at each of `count` evaluations: a run that ended early keeps its last one."""
    return np.pad(values[:count], (0, max(0, count - len(values))), mode="edge")


def name(settings: Settings, case: Case, method: str, models: Models) -> str:
    """File name without suffix; it holds a hash of what decides the numbers.

    Args:
      settings: of the benchmark. case: the window. method: a row. models: whose weights it uses.
    """
    decides: dict[str, Any] = {
        "schema": SCHEMA,
        "window": [case.name, case.start, case.seconds, case.digest],
        "options": options_hash(settings.options),
        "budget": settings.budget,
        "method": method,
        "start": [settings.start, settings.seed],
        "libraries": {lib: importlib.metadata.version(lib) for lib in LIBRARIES},
    }
    chosen = models.used_by(method)
    if chosen is not None:
        decides["weights"] = _weights(chosen)
    elif method == "adam":
        decides["rate"] = models.adam_rate
    elif method == "policy":
        assert settings.policy is not None
        program = hashlib.sha256(settings.policy.read_bytes()).hexdigest()
        decides["policy"] = [program, case.index]
    text = json.dumps(decides, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    window = "".join(c if c.isalnum() or c in "-_.@" else "_" for c in case.name)
    return f"{method}-{window}-{digest}"


def _weights(model: str) -> str:
    """Hash of the numbers."""
    card = weights.load(model).card
    text = repr(sorted(card.items()))
    return str(card.get("sha256") or hashlib.sha256(text.encode()).hexdigest())


def compute(settings: Settings, case: Case, method: str, models: Models) -> Cell:
    """Runs a method on a window.

    Args:
      settings: of the benchmark. case: the window. method: a row. models: what it runs with.

    Raises:
      Unavailable, ValueError: it cannot be run; the message says why.
    """
    task = case.build(settings.options)
    if method in METHODS:
        x0 = START_RULES[settings.start](task.dim, settings.seed + case.index)
        run = METHODS[method](task, x0, settings.budget, models)
        x = run.points[-1] if len(run.points) else x0
        states, looks = task.states(x), [*map(task.metrics, run.points)]
    else:
        loss, x, states, look = _baseline(settings, case, method, task)
        at, looks = np.zeros(1), [look]
        run = Run(np.array([loss]), at, at, at.astype(int), np.zeros((0, 0)), "baseline")
    seen = np.array([list(look.values()) for look in looks]).reshape(-1, len(metrics.COLUMNS))
    states = np.zeros((0, 0)) if states is None else states
    head = (method, case.name, run.status, run.lr)
    curves = (run.best, run.elapsed, run.evaluating, run.improved)
    return Cell(*head, *curves, seen, x, states, task.reference, np.array(case.seconds))


def _baseline(
    settings: Settings, case: Case, method: str, task: Reconstruction
) -> tuple[float, np.ndarray, np.ndarray | None, dict[str, float]]:
    """Of a row that optimises nothing: loss (NaN without one), controls, states and metrics."""
    options, none = settings.options, np.zeros(0)
    if method == "kinematic":
        if case.clip is not None:
            return np.nan, none, None, task.reference_metrics(case.clip, case.start)
        assert task.optimum is not None
        return np.nan, none, None, task.metrics(task.optimum)
    if method == "pd_tracking":
        if case.clip is None:
            raise Unavailable("synthetic windows have no clip to follow")
        task = case.build(dataclasses.replace(options, control="pd", target_base="reference"))
        x = np.zeros(task.dim)
        return task.value_and_grad(x)[0], x, task.states(x), task.metrics(x)
    assert settings.policy is not None
    given = policies.read(settings.policy)
    if isinstance(given, np.ndarray):
        x = policies.controls_for(given, case.index, case.count, task.dim)
        return task.value_and_grad(x)[0], x, task.states(x), task.metrics(x)
    states = policies.follow(given, task, options)
    loss = np.inf if states is None else _position_loss(task, states, options)
    return loss, none, states, task.metrics_of(states)


def _position_loss(task: Reconstruction, states: np.ndarray, options: PhysicsOptions) -> float:
    """The loss without what it says of controls, of states [S + 1, nq]."""
    square = np.sum((task.sites_of(states) - task.reference) ** 2, axis=-1)
    return float(options.weight_position * np.mean(square))


def store(folder: Path, cell_name: str, cell: Cell) -> None:
    """Writes `folder/<name>.npz` in one move: a cell that exists is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    head = json.dumps([cell.method, cell.window, cell.status, str(cell.lr)])
    arrays = {key: getattr(cell, key) for key in ARRAYS}
    write_arrays(folder / f"{cell_name}.npz", {"head": np.array(head), **arrays})


def load(folder: Path, cell_name: str) -> Cell | None:
    """A stored cell; None if it is missing or damaged, and then computed anew."""
    try:
        with np.load(folder / f"{cell_name}.npz", allow_pickle=False) as stored:
            method, window, status, lr = json.loads(str(stored["head"]))
            return Cell(method, window, status, float(lr), *(stored[key] for key in ARRAYS))
    except Exception:  # zip, NumPy and JSON each have their own
        return None
