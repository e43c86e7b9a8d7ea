"""What a method asks of a loss: counted, timed, and the best point kept."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from workers.physics.loss.reconstruction import Reconstruction


class BudgetSpent(Exception):
    """An evaluation beyond the budget was asked for: how a budget leaves foreign code."""


@dataclass(frozen=True, eq=False)
class Run:
    """One method on one window.

    losses [E]: at each evaluation, in order. elapsed [E]: s since the start when it was done.
    evaluating [E]: s spent in evaluations until then. improved [K]: evaluations (from 0) at which
    the best changed. points [K, N]: the bests. status: why it ended. lr: NaN where there is none.
    """

    losses: np.ndarray
    elapsed: np.ndarray
    evaluating: np.ndarray
    improved: np.ndarray
    points: np.ndarray
    status: str
    lr: float = float("nan")

    @property
    def best(self) -> np.ndarray:
        """Best-so-far [E]; infinite before the first finite value."""
        return np.minimum.accumulate(np.where(np.isfinite(self.losses), self.losses, np.inf))


class Recorder:
    """The loss of a window as a function that keeps count.

    budget: evaluations of loss and gradient; one more raises `BudgetSpent`.
    """

    def __init__(self, task: Reconstruction, budget: int) -> None:
        self._task, self._budget = task, budget
        self._losses: list[float] = []
        self._elapsed: list[float] = []
        self._evaluating: list[float] = []
        self._improved: list[int] = []
        self._points: list[np.ndarray] = []
        self.least = np.inf  # best loss so far
        self._started = time.perf_counter()

    @property
    def count(self) -> int:
        """Evaluations made."""
        return len(self._losses)

    @property
    def best(self) -> np.ndarray | None:
        """The best point so far [N]."""
        return self._points[-1] if self._points else None

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient at x [N]; of an x that is not finite, +inf and nan."""
        if self.count >= self._budget:
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
            self._improved.append(self.count)
            self._points.append(x)
        spent = self._evaluating[-1] if self._evaluating else 0.0
        self._losses.append(loss)
        self._elapsed.append(after - self._started)
        self._evaluating.append(spent + after - before)
        return loss, gradient

    def run(self, status: str, lr: float = float("nan")) -> Run:
        """What was recorded."""
        points = np.array(self._points) if self._points else np.zeros((0, self._task.dim))
        return Run(
            np.array(self._losses),
            np.array(self._elapsed),
            np.array(self._evaluating),
            np.array(self._improved, int),
            points,
            status,
            lr,
        )
