"""Losses from a pool of workers: one compiled optimizer step, and a round of requests after each.

A window is a generator in three parts over one `_Progress`: start the episodes that begin, step W
times, and differentiate if the estimator asks for it. Each part yields the futures it waits for.
"""

import dataclasses
import functools
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from optimus.config import TrainConfig
from optimus.meta import loss as meta_loss
from optimus.wire import LossPool, LossReply, LossRequest, encode
from workers.unroll import base, derivatives
from workers.unroll.base import LaneArrays, Waiting, Window
from workers.unroll.derivatives import Replies, Step

_MAP_FROM = 150  # coordinates

_Requests = Generator[Sequence["Future[LossReply]"], None, None]


class WindowSource(Protocol):
    """Where the served loss of an episode comes from.

    Attributes:
      loss: its name. options_hash: of its options. dim: N.
    """

    loss: str
    options_hash: str
    dim: int

    def draw(self, episode: int) -> tuple[Any, np.ndarray]:
        """(window, x0 float32 `[N]`) of an episode; the window is a dataclass that `optimus.wire`
        encodes and that the loss's workers know."""


def _over_lanes(function: Callable[..., Any], dim: int) -> Callable[..., Any]:
    """`function` over leading axes `[G, S]`. From about 200 coordinates on, one trajectory after
    the other is 1.4 times faster on a CPU than batched, since its arrays then stay in cache."""
    if dim < _MAP_FROM or jax.default_backend() != "cpu":
        return jax.vmap(jax.vmap(function))
    return lambda *arguments: jax.lax.map(
        lambda lane: jax.lax.map(lambda one: function(*one), lane), arguments
    )


@dataclass
class _Progress:
    """A window under way; its arrays are changed in place.

    Attributes:
      windows: per lane, what its worker evaluates, encoded.
      arrays: state of the lanes; `task["episode"]`: uint64 `[G]`.
      replies: what the pool has said of the lanes.
      losses: float32 `[G, S, W]`, the cap until a loss arrives. mask: bool `[G, W]`.
      gradients: float32 `[G, S, W, N]`, after each step.
      factors: float32 `[G, S, W]`, derivative of the window's mean meta-loss by each loss.
      path: what the steps started from; the first alone unless derivatives are exact.
    """

    windows: list[bytes]
    arrays: LaneArrays
    replies: Replies
    losses: np.ndarray
    mask: np.ndarray
    gradients: np.ndarray
    factors: np.ndarray
    path: list[Step]


class PooledUnroll:
    """Windows of lanes whose losses a pool of workers evaluates.

    Args:
      config: the run's configuration.
      source: which loss each episode minimises, and from where.
      pool: evaluates it.
      signs: trajectories of a lane, S.
      order: 1 or 2: each window also differentiates its meta-loss by the weights, with the inner
        gradients held constant, or exactly; 0: it does not.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: WindowSource,
        pool: LossPool,
        signs: int = 2,
        order: int = 0,
    ) -> None:
        self._source = source
        self._pool = pool
        self._signs = signs
        self._budget = config.call_timeout
        self._requests = 0  # ids: unique within this pool
        propose = functools.partial(base.propose, config, base.parameter_layout(config))
        self._propose = jax.jit(_over_lanes(propose, source.dim))
        self._fresh_state = jax.jit(functools.partial(base.batched_state, config))
        self._replace = jax.jit(base.replace_lanes)
        self._order = order
        if order == 2:
            derivative = derivatives.pull_back(propose)  # of one step
        else:
            derivative = jax.grad(functools.partial(derivatives.window_total, propose))
        self._differentiate = jax.jit(_over_lanes(derivative, source.dim))

    def window(
        self, weights: jax.Array, arrays: LaneArrays | None, fresh: Sequence[int | None], steps: int
    ) -> Waiting:
        """As `Unroll.window`. `arrays.task["episode"]` remembers each lane's episode id.

        Args:
          weights: float32 `[G, S, P]`. arrays, fresh, steps: see there.
        """
        if arrays is None:
            x = np.zeros((len(fresh), self._signs, self._source.dim), np.float32)
            task = {"episode": np.zeros(len(fresh), np.uint64)}
            arrays = LaneArrays(x, x, np.zeros(len(fresh), np.float32), self._fresh_state(x), task)
        progress = self._progress(arrays, fresh, steps)
        starts = np.asarray([episode is not None for episode in fresh])
        if starts.any():
            yield from self._start_episodes(progress, starts)
        for step in range(steps):
            yield from self._step(progress, weights, step)
        gradients = yield from self._derivative(progress, weights)
        replies, failed = progress.replies, ~progress.replies.alive
        counts = (replies.evaluations, replies.seconds, replies.unavailable)
        return Window(progress.arrays, progress.losses, progress.mask, failed, *counts, gradients)

    def _progress(self, arrays: LaneArrays, fresh: Sequence[int | None], steps: int) -> _Progress:
        """A window of `steps` before its first request; lanes with a `fresh` id are at its x0."""
        episode, x, windows = np.array(arrays.task["episode"]), np.array(arrays.x), []
        for lane, new in enumerate(fresh):
            episode[lane] = episode[lane] if new is None else new
            window, start = self._source.draw(int(episode[lane]))
            windows.append(encode(window))
            if new is not None:
                x[lane] = start
        gradient, initial = np.array(arrays.gradient), np.array(arrays.initial)
        lanes, signs, dim = x.shape
        return _Progress(
            windows=windows,
            arrays=LaneArrays(x, gradient, initial, arrays.state, {"episode": episode}),
            replies=Replies(np.ones(lanes, bool), np.zeros(lanes, np.int64), np.zeros(lanes), {}),
            losses=np.full((lanes, signs, steps), meta_loss.CAP, np.float32),
            mask=np.zeros((lanes, steps), bool),
            gradients=np.zeros((lanes, signs, steps, dim), np.float32),
            factors=np.zeros((lanes, signs, steps), np.float32),
            path=[],
        )

    def _submit(self, progress: _Progress, lane: int, x: np.ndarray) -> Future[LossReply]:
        """Asks for the loss of a lane at x `[N]`."""
        self._requests += 1
        source, episode = self._source, int(progress.arrays.task["episode"][lane])
        which = (source.loss, source.options_hash, episode, progress.windows[lane])
        request = LossRequest(self._requests, self._budget, *which, np.asarray(x, np.float64))
        return self._pool.submit(request)

    def _start_episodes(self, progress: _Progress, starts: np.ndarray) -> _Requests:
        """The value and gradient at x0, one request for both signs, and fresh optimizer states."""
        lanes, arrays = [int(lane) for lane in np.flatnonzero(starts)], progress.arrays
        futures = [self._submit(progress, lane, arrays.x[lane, 0]) for lane in lanes]
        yield futures
        for lane, future in zip(lanes, futures):
            reply = progress.replies.take(lane, future)
            arrays.initial[lane] = 1.0 if reply is None else reply.loss
            arrays.gradient[lane] = 0.0 if reply is None else reply.gradient
        state = self._replace(starts, self._fresh_state(arrays.x), arrays.state)
        progress.arrays = arrays._replace(state=state)

    def _step(self, progress: _Progress, weights: jax.Array, step: int) -> _Requests:
        """One update of every lane, then the losses after it of those that are alive."""
        x, gradient, initials, state, _ = progress.arrays
        replies = progress.replies
        if step == 0 or self._order == 2:
            progress.path.append(Step(x.copy(), gradient.copy(), state))
        moved, state = self._propose(weights, x, gradient, state)
        progress.arrays, moved = progress.arrays._replace(state=state), np.asarray(moved)
        finite = np.isfinite(moved).all(axis=2)
        live = np.flatnonzero(replies.alive)
        asked = [(int(lane), sign) for lane in live for sign in np.flatnonzero(finite[lane])]
        futures = [self._submit(progress, lane, moved[lane, sign]) for lane, sign in asked]
        progress.mask[live, step] = True
        replies.alive &= finite.all(axis=1)  # the step itself diverged: scored at the cap
        yield futures
        for (lane, sign), future in zip(asked, futures):
            reply = replies.take(lane, future)
            if reply is None:
                continue
            initial = float(initials[lane])
            slope = meta_loss.log_gap_slope(reply.loss, initial)
            progress.losses[lane, sign, step] = meta_loss.log_gap(reply.loss, initial)
            progress.factors[lane, sign, step] = slope / progress.losses.shape[2]
            x[lane, sign], gradient[lane, sign] = moved[lane, sign], reply.gradient
            progress.gradients[lane, sign, step] = gradient[lane, sign]
            replies.alive[lane] &= bool(np.isfinite(gradient[lane, sign]).all())  # float32 overflow
        progress.mask[list(replies.unavailable), step] = False

    def _derivative(
        self, progress: _Progress, weights: jax.Array
    ) -> Generator[Sequence[Future[LossReply]], None, np.ndarray | None]:
        """`Window.gradients`, or None if nobody asks for them."""
        if self._order == 0:
            return None
        replies, path, factors = progress.replies, progress.path, progress.factors
        if self._order == 2:
            # Failures on the way back are not failures of the window; they count all the same.
            replies = dataclasses.replace(replies, alive=replies.alive.copy(), unavailable={})
            submit, last = functools.partial(self._submit, progress), progress.arrays.gradient
            each = yield from derivatives.backwards(
                self._differentiate, submit, weights, path, last, factors, replies
            )
        else:
            each = self._differentiate(weights, *path[0], progress.gradients, factors)
        mean = np.asarray(each).mean(axis=1)
        usable = replies.alive & np.isfinite(mean).all(axis=1)
        return np.where(usable[:, None], mean, 0.0).astype(np.float32)
