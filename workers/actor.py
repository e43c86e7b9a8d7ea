"""The actor: unrolls Optimus on its lanes and emits one sample per lane and window.

A plain class: weights, losses and the sample stream arrive through the constructor as Protocols of
`optimus.wire`, so the same object runs in process, in threads and in a process of its own.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import Any

import jax
import numpy as np

from optimus.config import ConfigError, Phase, TrainConfig, config_hash
from optimus.meta import estimators, noise
from optimus.rundir.histogram import Histogram
from optimus.rundir.metrics import MetricsWriter, TimeIn
from optimus.wire import (
    ParameterSource,
    Sample,
    SampleWriter,
    Session,
    Stopped,
    Version,
    decode,
    encode,
)
from optimus.wire import unpack as unpack_array
from workers import lanes as lane_rules
from workers import unroll as unrolls

_LOG = logging.getLogger(__name__)
_POLL = 0.005  # s between looks for new weights; a look costs about 0.3 ms over Courier
_RESEND = 10.0  # s without new weights after which a synchronous actor sends its samples again


_perturb = jax.jit(estimators.GradientEstimator.perturb, static_argnums=0)


class _Group:
    """G lanes that share one vmapped program."""

    def __init__(self, lanes: list[lane_rules.Lane]) -> None:
        self.lanes = lanes
        self.arrays: unrolls.LaneArrays | None = None


class Actor:
    """Holds lanes; see the module docstring.

    Args:
      config: the run's configuration.
      index: which actor this is; it owns lanes index * groups * lanes onwards.
      unroll_of: phase -> how a window is computed in it.
      parameters: source of weights, session and episode ids.
      stream: where samples go.
      metrics: where counters go, or None.
      pool_counts: what the loss pool has counted, for the metrics.
      latency: of the pool's calls, for the metrics, or None.

    Raises:
      ConfigError: the learner runs another configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        index: int,
        unroll_of: Callable[[Phase], unrolls.Unroll],
        parameters: ParameterSource,
        stream: SampleWriter,
        metrics: MetricsWriter | None = None,
        pool_counts: Callable[[], dict[str, int]] = dict,
        latency: Histogram | None = None,
    ) -> None:
        self._config, self._index = config, index
        self._unroll_of, self._parameters, self._stream = unroll_of, parameters, stream
        self._phase: Phase | None = None
        self._metrics, self._pool_counts, self._latency = metrics, pool_counts, latency
        self._time_in = TimeIn("weights")  # of the thread that calls refresh, collect or run
        self._incarnation = uuid.uuid4().hex[:12]
        self._size = unrolls.parameter_layout(config).size
        self._version: Version | None = None
        self._theta: np.ndarray | None = None
        self._sent: list[bytes] = []  # of the newest window of every lane, for sending again
        self.evaluations = self.abandoned = self.given_up = self.resent = 0
        self._loss_seconds = 0.0
        self._groups: list[_Group] = []
        self._join(None)

    def _join(self, epoch: int | None) -> bool:
        """Begins a session: fresh lanes, ids that no earlier life used. False when the learner is
        not in `epoch` (any more)."""
        config = self._config
        session = decode(Session, self._parameters.session(self._index, self._incarnation))
        if session.config_hash != config_hash(config):
            raise ConfigError(
                f"actor {self._index}: its configuration is {config_hash(config)}, the learner's "
                f"is {session.config_hash}; start both from the same config.json"
            )
        if epoch is not None and session.version[0] != epoch:
            return False
        self._run_id, self._epoch = session.run_id, session.version[0]
        phase = config.phase_at(session.version[1])
        if phase is not self._phase:
            self._phase, self._unroll = phase, self._unroll_of(phase)
        layout = phase.layout
        if config.synchronous:
            self._next_episode = lane_rules.scheduled_episodes(
                session.first_episode, layout.total_lanes
            )
        else:
            self._next_episode = lane_rules.reserved_episodes(self._parameters.reserve_episodes)
        self.abandoned += sum(not lane.over for group in self._groups for lane in group.lanes)
        first = self._index * layout.groups * layout.lanes
        self._groups = [
            _Group([lane_rules.Lane(first + g * layout.lanes + k) for k in range(layout.lanes)])
            for g in range(layout.groups)
        ]
        self._sent = []
        return True

    # -- weights -------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Fetches weights if there are newer ones; True when the version changed.

        With a new learner epoch all lanes begin anew: the learner refuses what began before it.
        """
        fetched = self._parameters.parameters(self._version)
        if fetched is None:
            return False
        epoch = fetched[0].epoch
        if epoch != self._epoch and not self._join(epoch):
            return False  # and yet another epoch has begun: the next look fetches its weights
        version, data = fetched
        theta = unpack_array(data)
        if not isinstance(theta, np.ndarray) or theta.shape != (self._size,):
            raise ValueError(
                f"actor {self._index}: weights of shape {np.shape(theta)}, want ({self._size},)"
            )
        self._version, self._theta = version, theta
        return True

    def wait_for_weights(self, stop: threading.Event) -> None:
        """Blocks until the version changes; raises `Stopped`. A synchronous update needs the sample
        of every lane, so they are sent again once in a while: the stream may have lost some, and
        the learner ignores duplicates."""
        sent, pause = time.monotonic(), _RESEND
        while not self.refresh():
            if stop.wait(_POLL):
                raise Stopped
            if self._sent and time.monotonic() - sent > pause:
                self.resent += len(self._sent)
                for sample in list(self._sent):
                    self._put(sample, stop)
                self._time_in.enter("weights")
                sent, pause = time.monotonic(), 2 * pause

    # -- windows -------------------------------------------------------------------------------

    def _start_window(self, group: _Group) -> tuple[unrolls.Waiting, list[np.ndarray]]:
        assert self._phase is not None
        estimator = self._phase.estimator
        assert self._version is not None and self._theta is not None
        fresh: list[int | None] = []
        for lane in group.lanes:
            begins = lane.over
            if begins:
                episode = self._next_episode(lane)
                lane_rules.begin_episode(lane, episode, estimator.windows)
            lane.versions.append(list(self._version))
            fresh.append(lane.episode if begins else None)
        steps = estimator.truncation
        chosen = estimators.of(estimator)
        draws = [
            chosen.draw(
                self._config.seed,
                lane.episode,
                lane.window,
                self._size,
                estimator.sigma,
                estimator.noise,
            )
            for lane in group.lanes
        ]
        weights = _perturb(chosen, self._theta, np.stack(draws))
        return self._unroll.window(weights, group.arrays, fresh, steps), draws

    def _finish_window(
        self, group: _Group, window: unrolls.Window, draws: Sequence[np.ndarray]
    ) -> list[bytes]:
        group.arrays = window.arrays
        for k, why in window.given_up.items():
            lane = group.lanes[k]
            where = f"episode {lane.episode}, window {lane.window}, seed {self._config.seed}"
            _LOG.warning("actor %d: %s given up: %s", self._index, where, why)
            if self._metrics is not None:
                self._metrics.write("given_up", episode=lane.episode, window=lane.window, cause=why)
        self.given_up += len(window.given_up)
        samples = []
        for k, lane in enumerate(group.lanes):
            index, versions = lane.window, [list(v) for v in lane.versions]
            last = lane_rules.end_window(lane, bool(window.failed[k]))
            self.evaluations += int(window.evaluations[k])
            self._loss_seconds += float(window.seconds[k])
            samples.append(
                encode(
                    Sample(
                        run_id=self._run_id,
                        actor=self._index,
                        incarnation=self._incarnation,
                        episode=lane.episode,
                        window=index,
                        versions=versions,
                        losses=window.losses[k],
                        mask=window.mask[k],
                        last=last,
                        failed=bool(window.failed[k]),
                        evaluations=int(window.evaluations[k]),
                        seconds=float(window.seconds[k]),
                        noise_checksum=noise.checksum(draws[k]),
                        **self._derivative(window, k),
                    )
                )
            )
        return samples

    @staticmethod
    def _derivative(window: unrolls.Window, lane: int) -> dict[str, Any]:
        if window.gradients is None:
            return {}
        return {"schema": "pathwise/1", "gradient": window.gradients[lane]}

    def collect(self, stop: threading.Event) -> None:
        """One window on every group, overlapped, with the current weights; samples in lane order.

        While one group waits for its losses the next group takes its optimizer step.
        """
        self._time_in.enter("optimizer")
        started = [self._start_window(group) for group in self._groups]
        windows = drive([generator for generator, _ in started], stop, self._time_in)
        self._sent = [
            sample
            for group, window, (_, draws) in zip(self._groups, windows, started)
            for sample in self._finish_window(group, window, draws)
        ]
        for sample in self._sent:
            self._put(sample, stop)
        self._time_in.enter("weights")

    def _put(self, sample: bytes, stop: threading.Event) -> None:
        self._time_in.enter("stream")
        while not self._stream.put(sample, timeout=0.5):
            if stop.is_set():
                raise Stopped
            sample = b""  # already handed over: wait on

    def _collect_asynchronously(self, stop: threading.Event) -> None:
        """For ever: each group starts its next window at once, with the newest weights. Whichever
        group has its losses goes on; what ran when a learner epoch ended is dropped."""
        ready: queue.SimpleQueue[_Stepper] = queue.SimpleQueue()

        def begin(group: _Group) -> None:
            self._time_in.enter("optimizer")
            generator, draws = self._start_window(group)
            _Stepper(generator, ready, (group, draws))

        groups: list[_Group] = []
        while not stop.is_set():
            if groups is not self._groups:  # at the start, and after each `_join`
                groups = self._groups
                for group in groups:
                    begin(group)
            stepper = _next_ready(ready, stop, self._time_in)
            group, draws = stepper.of
            if not any(group is mine for mine in groups):
                continue
            window = stepper.advance()
            if window is None:
                continue
            for sample in self._finish_window(group, window, draws):
                self._put(sample, stop)
            self._time_in.enter("weights")
            self.refresh()
            if groups is self._groups:
                begin(group)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`: in synchronous mode one window per version, else without waiting."""
        try:
            self.wait_for_weights(stop)
            if not self._config.synchronous:
                self._collect_asynchronously(stop)
            while not stop.is_set():
                self.collect(stop)
                self.wait_for_weights(stop)
        except Stopped:
            pass
        finally:
            self.report()

    def report(self) -> None:
        """Writes one metrics record."""
        if self._metrics is not None:
            version = list(self._version) if self._version else None
            calls = {} if self._latency is None else {"latency": self._latency.record()}
            self._metrics.write(
                "alive",
                version=version,
                evaluations=self.evaluations,
                abandoned=self.abandoned,
                given_up=self.given_up,
                resent=self.resent,
                pool=self._pool_counts(),
                time_in=self._time_in.record(),
                loss_seconds=round(self._loss_seconds, 4),
                **calls,
            )

    # -- state, for exact resume in process ------------------------------------------------------

    def save_state(self) -> dict[str, np.ndarray]:
        """All lanes as named arrays."""
        saved: dict[str, np.ndarray] = {"evaluations": np.asarray(self.evaluations)}
        assert self._phase is not None
        for g, group in enumerate(self._groups):
            lanes, windows = group.lanes, self._phase.estimator.windows
            versions = np.full((len(lanes), windows, 2), -1, np.int64)
            for k, lane in enumerate(lanes):
                if lane.versions:
                    versions[k, : len(lane.versions)] = lane.versions
            saved[f"{g}/episode"] = np.asarray([lane.episode for lane in lanes]).astype(np.int64)
            rows = [[ln.index, ln.begun, ln.window, ln.length, ln.over] for ln in lanes]
            saved[f"{g}/lanes"] = np.asarray(rows, np.int64)
            saved[f"{g}/versions"] = versions
            assert group.arrays is not None
            for name, leaf in unrolls.arrays_to_names(group.arrays).items():
                saved[f"{g}/arrays/{name}"] = leaf
        return saved

    def load_state(self, saved: dict[str, np.ndarray], epoch: int) -> None:
        """Inverse of `save_state`; the episodes go on in learner epoch `epoch`."""
        self.evaluations, self._epoch = int(saved["evaluations"]), epoch
        for g, group in enumerate(self._groups):
            rows, versions = saved[f"{g}/lanes"], saved[f"{g}/versions"]
            for k, (index, begun, window, length, over) in enumerate(rows.tolist()):
                kept = [[epoch, step] for old, step in versions[k].tolist() if old >= 0]
                episode = int(saved[f"{g}/episode"][k])
                group.lanes[k] = lane_rules.Lane(
                    index, begun, episode, window, length, kept, bool(over)
                )
            prefix = f"{g}/arrays/"
            group.arrays = unrolls.arrays_from_names(
                {k[len(prefix) :]: v for k, v in saved.items() if k.startswith(prefix)},
                unrolls.state_type(self._config),
            )


class _Stepper:
    """Drives one window generator; puts itself into `ready` when it can go on.

    Counts its losses down by callbacks, so an actor with thousands in flight does not look through
    them at each arrival.
    """

    def __init__(
        self, generator: unrolls.Waiting, ready: queue.SimpleQueue[_Stepper], of: Any
    ) -> None:
        self.of, self._generator, self._ready = of, generator, ready
        self._left, self._lock = 0, threading.Lock()
        ready.put(self)

    def advance(self) -> unrolls.Window | None:
        """Runs to the next wait; the `Window` at the end."""
        try:
            futures = next(self._generator)
        except StopIteration as done:
            window: unrolls.Window = done.value
            return window
        self._left = len(futures) + 1
        for future in futures:
            future.add_done_callback(self._arrived)
        self._arrived(None)
        return None

    def _arrived(self, _: Future[Any] | None) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._ready.put(self)


def _next_ready(
    ready: queue.SimpleQueue[_Stepper], stop: threading.Event, time_in: TimeIn | None = None
) -> _Stepper:
    """Waits, which is time in "losses"; what the stepper does next is time in "optimizer"."""
    if time_in is not None:
        time_in.enter("losses")
    while not stop.is_set():
        try:
            found = ready.get(timeout=0.2)
        except queue.Empty:
            continue
        if time_in is not None:
            time_in.enter("optimizer")
        return found
    raise Stopped


def drive(
    generators: Sequence[Generator[Any, None, unrolls.Window]],
    stop: threading.Event,
    time_in: TimeIn | None = None,
) -> list[unrolls.Window]:
    """Runs window generators, whichever has its losses, so that they overlap others' steps."""
    ready: queue.SimpleQueue[_Stepper] = queue.SimpleQueue()
    for k, generator in enumerate(generators):
        _Stepper(generator, ready, k)
    results: dict[int, unrolls.Window] = {}
    while len(results) < len(generators):
        stepper = _next_ready(ready, stop, time_in)
        window = stepper.advance()
        if window is not None:
            results[stepper.of] = window
    return [results[k] for k in range(len(generators))]
