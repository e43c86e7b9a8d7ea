"""Small stand-ins for what services talk to, and configurations that run in a moment."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimus.config import (
    AnalyticTask,
    Estimator,
    Layout,
    MetaOptimizer,
    PhysicsTask,
    TrainConfig,
    config_hash,
)
from optimus.model.config import OptimizerConfig
from optimus.wire import LossReply, LossRequest, Session, Version, decode, encode, pack
from tests.one_phase import one_phase

SMALL = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)


def analytic(**changes: Any) -> TrainConfig:
    """Two groups of two lanes on quadratics; episodes of 3 windows of 2 steps."""
    values: dict[str, Any] = {
        "name": "test",
        "task": AnalyticTask(dim=4),
        "updates": 10,
        "optimizer": SMALL,
        "estimator": Estimator(truncation=2, horizon=6),
        "meta": MetaOptimizer(batch=4),
        "layout": Layout(groups=2, lanes=2, workers=0),
    }
    return one_phase(**{**values, **changes})


def served(**changes: Any) -> TrainConfig:
    """As `analytic`, but the losses come from a pool."""
    return analytic(
        **{"task": PhysicsTask(), "layout": Layout(groups=2, lanes=2, workers=1), **changes}
    )


@dataclass(frozen=True)
class Shift:
    """The window of a `Source` request."""

    shift: float


class Source:
    """`WindowSource`: the shifted quadratic sum (x - c)^2, c from the episode id, start at 0."""

    loss = "shifted"
    options_hash = "-"
    dim = 4

    def draw(self, episode: int) -> tuple[Shift, np.ndarray]:
        return Shift(float(1 + episode % 5)), np.zeros(self.dim, np.float32)


class Pool:
    """`LossPool` that evaluates `Source`'s loss at once and remembers the requests.

    fail: called with the request; "nonfinite" or an exception to answer with instead.
    """

    def __init__(self, fail: Any = lambda request: None) -> None:
        self.requests: list[LossRequest] = []
        self._fail = fail

    def submit(self, request: LossRequest) -> Future[LossReply]:
        self.requests.append(request)
        future: Future[LossReply] = Future()
        outcome = self._fail(request)
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        elif outcome:
            future.set_result(LossReply(request.request_id, outcome))
        else:
            residual = request.x - decode(Shift, request.window).shift
            value = float(residual @ residual)
            reply = LossReply(request.request_id, "ok", value, 2 * residual, 0.25)
            future.set_result(reply)
        return future

    def close(self) -> None:
        pass


class Parameters:
    """`ParameterSource` with fixed weights whose version a test raises by hand."""

    def __init__(self, config: TrainConfig, theta: np.ndarray, first_episode: int = 100) -> None:
        self._config, self.theta, self._first = config, theta, first_episode
        self.version = Version(1, 0)
        self.reserved = 0

    def session(self, actor: int, incarnation: str) -> bytes:
        return encode(Session("run", config_hash(self._config), list(self.version), self._first))

    def parameters(self, have: Version | None) -> tuple[Version, bytes] | None:
        return None if have == self.version else (self.version, pack(self.theta))

    def reserve_episodes(self, count: int) -> int:
        first, self.reserved = self.reserved, self.reserved + count
        return first


class Stream:
    """`SampleWriter` into a list."""

    def __init__(self) -> None:
        self.samples: list[bytes] = []

    def put(self, sample: bytes, timeout: float) -> bool:
        if sample:
            self.samples.append(sample)
        return True

    def close(self) -> None:
        pass
