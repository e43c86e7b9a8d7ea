"""The optimisers of the motion benchmark. Same window, same x0, same number of evaluations.

Each is a `Method` and is timed without compilation. What may be missing (weights, a library) raises
`Unavailable` with the reason.
"""

import functools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from workers.physics.loss.reconstruction import Reconstruction

RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # Adam's, one of which `tune` chooses


class BudgetSpent(Exception):
    """An evaluation beyond the budget was asked for: how a budget leaves foreign code."""


# Why a method ended; "baseline" is of rows that optimise nothing.
Ended = Literal["converged", "evaluations", "stalled", "non_finite", "baseline"]


@dataclass(frozen=True, eq=False)
class Run:
    """One method on one window.

    Attributes:
      losses: float64 `[E]`, at each evaluation, in order.
      elapsed: `[E]`, s since the start when it was done. evaluating: `[E]`, s in evaluations.
      improved: int `[K]`, evaluations (from 0) at which the best changed. points: `[K, N]`, there.
      status: why it ended. lr: NaN where there is none.
    """

    losses: np.ndarray
    elapsed: np.ndarray
    evaluating: np.ndarray
    improved: np.ndarray
    points: np.ndarray
    status: Ended
    lr: float = float("nan")

    @property
    def best(self) -> np.ndarray:
        """Best-so-far `[E]`; infinite before the first finite value, NaN for a baseline without."""
        if self.status == "baseline":
            return self.losses
        return np.minimum.accumulate(np.where(np.isfinite(self.losses), self.losses, np.inf))


class Recorder:
    """The loss of a window as a function that keeps count.

    budget: evaluations of loss and gradient; one more raises `BudgetSpent`.
    """

    def __init__(self, task: Reconstruction, budget: int) -> None:
        self._task = task
        self._budget = budget
        self._rows: list[tuple[float, float, float]] = []  # loss, s since the start, s evaluating
        self._evaluating = 0.0
        self._improved: list[int] = []
        self._points: list[np.ndarray] = []
        self.least = np.inf  # best loss so far
        self._started = time.perf_counter()

    @property
    def best(self) -> np.ndarray | None:
        """The best point so far `[N]`."""
        return self._points[-1] if self._points else None

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient at x `[N]`; of an x that is not finite, +inf and nan."""
        made = len(self._rows)
        if made >= self._budget:
            raise BudgetSpent
        x = np.array(x, np.float64)
        before = time.perf_counter()
        if np.isfinite(x).all():
            loss, gradient = self._task.value_and_grad(x)
        else:
            loss, gradient = np.inf, np.full(x.shape, np.nan)
        after = time.perf_counter()
        if loss < self.least:
            self.least = loss
            self._improved.append(made)
            self._points.append(x)
        self._evaluating += after - before
        self._rows.append((loss, after - self._started, self._evaluating))
        return loss, gradient

    def run(self, status: Ended, lr: float = float("nan")) -> Run:
        """What was recorded."""
        losses, elapsed, evaluating = np.reshape(self._rows, (-1, 3)).T
        improved = np.array(self._improved, int)
        points = np.reshape(self._points, (-1, self._task.dim))
        return Run(losses, elapsed, evaluating, improved, points, status, lr)


class Unavailable(Exception):
    """A method cannot run here; the message is the reason."""


@dataclass(frozen=True)
class Models:
    """What the learned methods use, by name or path, and Adam's rate once it is chosen.

    start: weights of the row `optimus_start`, which have seen no motion.
    """

    optimus: str
    adafactor_mlp: str
    start: str = "optimus-classical"
    adam_rate: float = 0.03

    def used_by(self, method: str) -> str | None:
        """The weights that a row of the tables runs on; None if it has none."""
        known = {"optimus_start": self.start, "adafactor_mlp": self.adafactor_mlp}
        known |= dict.fromkeys(("optimus", "optimus_safeguarded"), self.optimus)
        return known.get(method)


# (task, x0 [N], evaluations it may make, models) -> what it did.
Method = Callable[[Reconstruction, np.ndarray, int, Models], Run]


def by_scipy(name: str, task: Reconstruction, x0: np.ndarray, budget: int, models: Models) -> Run:
    """SciPy's BFGS or L-BFGS-B (memory 20) until the budget is spent.

    Where it stops before, at a line search that fails say, it begins again at the best point with
    an empty memory, as long as that still brings the loss down.

    Args:
      name: "BFGS" or "L-BFGS-B".
      task: the window. x0: float64 `[N]`. budget: evaluations of loss and gradient.
      models: not used.
    """
    import scipy.optimize

    options: dict[str, Any] = {"maxiter": budget, "gtol": 1e-9}
    if name == "L-BFGS-B":
        options |= {"maxfun": budget + 1, "maxcor": 20, "ftol": 0.0}
    recorder, x, least = Recorder(task, budget), x0, np.inf
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a failed line search shows in the result
            while True:
                scipy.optimize.minimize(recorder, x, jac=True, method=name, options=options)
                if recorder.best is None or not recorder.least < least:
                    return recorder.run("converged")
                x, least = recorder.best, recorder.least
    except BudgetSpent:
        return recorder.run("evaluations")
    except (ValueError, FloatingPointError, np.linalg.LinAlgError):
        return recorder.run("stalled")  # SciPy refuses numbers that are not finite


def adam(task: Reconstruction, x0: np.ndarray, budget: int, models: Models) -> Run:
    """optax's Adam at a constant rate, moments in float32, x in float64.

    Args:
      task: the window. x0: float64 `[N]`. budget: evaluations of loss and gradient.
      models: its rate.
    """
    import jax
    import optax

    transform = optax.adam(models.adam_rate)
    update = jax.jit(transform.update)
    state = transform.init(x0.astype(np.float32))
    update(np.zeros(x0.shape, np.float32), state)  # compiles outside the clock
    recorder, x = Recorder(task, budget), x0
    for _ in range(budget):
        loss, gradient = recorder(x)
        if not np.isfinite(loss):
            return recorder.run("non_finite", models.adam_rate)
        step, state = update(gradient.astype(np.float32), state)
        x = x + np.asarray(step, np.float64)
    return recorder.run("evaluations", models.adam_rate)


def learned(
    which: str, safeguard: str, task: Reconstruction, x0: np.ndarray, budget: int, models: Models
) -> Run:
    """`optimus.minimize`, bare (its paper's method) or safeguarded, with no early stop.

    Args:
      which: field of `models`. safeguard: as of `optimus.minimize`.
      task: the window. x0: float64 `[N]`. budget: evaluations of loss and gradient.
      models: names of weights.
    """
    import optimus

    model = _ready(getattr(models, which), len(x0))
    recorder = Recorder(task, budget)
    how: dict[str, Any] = {"model": model, "safeguard": safeguard, "stop_history": None}
    result = optimus.minimize(recorder, x0, jac=True, maxiter=budget, maxfev=budget, **how)
    names: dict[int, Ended] = {0: "converged", 1: "evaluations", 2: "stalled", 3: "non_finite"}
    return recorder.run(names.get(result.status, "stalled"))


@functools.cache
def _ready(name: str, dim: int) -> Any:
    """The model of this name, its step for this N compiled; `Unavailable` where that fails."""
    import optimus

    try:
        model = optimus.load(name)
        of: dict[str, Any] = {"jac": True, "model": model, "maxiter": 2, "safeguard": "none"}
        optimus.minimize(lambda x: (float(x @ x), 2.0 * x), np.ones(dim), **of)
    except (optimus.WeightsError, ImportError, TypeError, ValueError) as error:
        raise Unavailable(str(error).splitlines()[0]) from None
    return model


METHODS: dict[str, Method] = {
    "optimus": functools.partial(learned, "optimus", "none"),
    "optimus_safeguarded": functools.partial(learned, "optimus", "lbfgs"),
    "optimus_start": functools.partial(learned, "start", "none"),
    "adafactor_mlp": functools.partial(learned, "adafactor_mlp", "none"),
    "bfgs": functools.partial(by_scipy, "BFGS"),
    "l_bfgs_b": functools.partial(by_scipy, "L-BFGS-B"),
    "adam": adam,
}
# Rows that optimise nothing: the data themselves, PD tracking of them, a policy given by the user.
BASELINES = ("kinematic", "pd_tracking", "policy")


def tune_adam(tasks: list[Reconstruction], budget: int, progress: Callable[[str], None]) -> float:
    """The rate of RATES with the least geometric mean of best losses; of equals the smallest."""
    scores = []
    for rate in RATES:
        progress(f"choosing Adam's rate: {rate:g}")
        models = Models("", "", adam_rate=rate)
        bests = [adam(task, np.zeros(task.dim), budget, models).best[-1] for task in tasks]
        scores.append(float(np.mean(np.log(np.maximum(bests, 1e-12)))))
    return RATES[int(np.argmin(scores))]
