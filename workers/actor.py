"""The actor: unrolls Optimus on its lanes and emits one sample per lane and window.

A plain class: weights, losses and the sample stream arrive through the constructor as Protocols of
`optimus.wire`, so the same object runs in process, in threads and in a process of its own.
"""

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from optimus import wire
from optimus.config import ConfigError, Phase, TrainConfig, config_hash
from optimus.meta import estimators, noise
from optimus.rundir.histogram import Histogram
from optimus.rundir.metrics import MetricsWriter, TimeIn
from optimus.wire import Sample, Session, Stopped, Version, decode, encode
from workers import lanes as lane_rules
from workers.lanes import Lane, LaneGroup, subtree
from workers.scheduling import Stepper, drive, next_ready
from workers.unroll.base import Unroll, Waiting, Window, parameter_layout, state_type

_LOG = logging.getLogger(__name__)
_POLL = 0.005  # s between looks for new weights; a look costs about 0.3 ms over Courier
Draws = Sequence[np.ndarray]  # the noise of each lane of a group
_RESEND = 10.0  # s without new weights after which a synchronous actor sends its samples again


_perturb = jax.jit(estimators.GradientEstimator.perturb, static_argnums=0)


class Actor:
    """Holds lanes of episodes, steps them, writes one sample for each lane and window.

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
        unroll_of: Callable[[Phase], Unroll],
        parameters: wire.ParameterSource,
        stream: wire.SampleWriter,
        metrics: MetricsWriter | None = None,
        pool_counts: Callable[[], dict[str, int]] = dict,
        latency: Histogram | None = None,
    ) -> None:
        self._config = config
        self._index = index
        self._who = f"actor {index}"
        self._unroll_of = unroll_of
        self._phase: Phase | None = None
        self._parameters = parameters
        self._stream = stream
        self._metrics = metrics
        self._pool_counts = pool_counts
        self._latency = latency
        self._time_in = TimeIn("weights")  # of the thread that calls refresh, collect or run
        self._incarnation = uuid.uuid4().hex[:12]
        self._run_id = ""
        self._size = parameter_layout(config).size
        self._version: Version | None = None
        self._theta: np.ndarray | None = None
        self._sent: list[bytes] = []  # of the newest window of every lane, for sending again
        self.evaluations = self.abandoned = self.given_up = self.resent = 0
        self._loss_seconds = 0.0
        self._groups: list[LaneGroup] = []
        self._join(None)

    def _join(self, epoch: int | None) -> bool:
        """Begins a session: fresh lanes, ids that no earlier life used. False when the learner is
        not in `epoch` (any more)."""
        config = self._config
        session = decode(Session, self._parameters.session(self._index, self._incarnation))
        own, learners = config_hash(config), session.config_hash
        if learners != own:
            which = f"its configuration is {own}, the learner's is {learners}"
            raise ConfigError(f"{self._who}: {which}; start both from the same config.json")
        if self._run_id not in ("", session.run_id):
            which = f"it belongs to run {self._run_id}, the learner to {session.run_id!r:.40}"
            raise wire.Refused(f"{self._who}: {which}")
        if epoch is not None and session.version[0] != epoch:
            return False
        self._run_id = session.run_id
        self._epoch = session.version[0]
        phase = config.phase_at(session.version[1])
        if phase is not self._phase:
            self._phase = phase
            self._unroll = self._unroll_of(phase)
        layout, first = phase.layout, session.first_episode
        if config.synchronous:
            self._next_episode = lane_rules.scheduled_episodes(first, layout.total_lanes)
        else:
            self._next_episode = lane_rules.reserved_episodes(self._parameters.reserve_episodes)
        self.abandoned += sum(not lane.over for group in self._groups for lane in group.lanes)
        first = self._index * layout.groups * layout.lanes
        self._groups = [
            LaneGroup([Lane(first + g * layout.lanes + k) for k in range(layout.lanes)])
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
        version, data = fetched
        if version.epoch != self._epoch and not self._join(version.epoch):
            return False  # and yet another epoch has begun: the next look fetches its weights
        theta = wire.unpack(data)
        arrived = np.asarray(theta)
        if arrived.shape != (self._size,) or arrived.dtype != np.float32:
            shapes = f"weights of shape {arrived.shape}, {arrived.dtype}, want ({self._size},)"
            raise ValueError(f"{self._who}: {shapes}, float32")
        self._version = version
        self._theta = theta
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

    def _start_window(self, group: LaneGroup) -> tuple[Waiting, Draws]:
        assert self._phase is not None and self._version is not None and self._theta is not None
        estimator, seed = self._phase.estimator, self._config.seed
        chosen, how = estimators.of(estimator), (self._size, estimator.sigma, estimator.noise)
        fresh: list[int | None] = []
        for lane in group.lanes:
            episode = self._next_episode(lane) if lane.over else None
            if episode is not None:
                lane_rules.begin_episode(lane, episode, estimator.windows)
            lane.versions.append(list(self._version))
            fresh.append(episode)
        draws = [chosen.draw(seed, lane.episode, lane.window, *how) for lane in group.lanes]
        weights = _perturb(chosen, self._theta, np.stack(draws))
        return self._unroll.window(weights, group.arrays, fresh, estimator.truncation), draws

    def _finish_window(self, group: LaneGroup, window: Window, draws: Draws) -> list[bytes]:
        group.arrays = window.arrays
        for k, why in window.unavailable.items():
            lane = group.lanes[k]
            where = f"episode {lane.episode}, window {lane.window}, seed {self._config.seed}"
            _LOG.warning("actor %d: %s abandoned: %s", self._index, where, why)
            if self._metrics is not None:
                self._metrics.write("given_up", episode=lane.episode, window=lane.window, cause=why)
        self.given_up += len(window.unavailable)
        lanes = enumerate(group.lanes)
        return [encode(self._sample(lane, window, k, draws[k])) for k, lane in lanes]

    def _sample(self, lane: Lane, window: Window, k: int, draw: np.ndarray) -> Sample:
        """Of the k-th lane, which moves on; `draw` is its noise."""
        index, versions = lane.window, [list(version) for version in lane.versions]
        failed = bool(window.failed[k])
        evaluations, seconds = int(window.evaluations[k]), float(window.seconds[k])
        self.evaluations += evaluations
        self._loss_seconds += seconds
        derivative: dict[str, Any] = {}
        if window.gradients is not None:
            derivative = {"schema": "pathwise/1", "gradient": window.gradients[k]}
        return Sample(
            run_id=self._run_id,
            actor=self._index,
            incarnation=self._incarnation,
            episode=lane.episode,
            window=index,
            versions=versions,
            losses=window.losses[k],
            mask=window.mask[k],
            last=lane_rules.end_window(lane, failed),
            failed=failed,
            evaluations=evaluations,
            seconds=seconds,
            noise_checksum=noise.checksum(draw),
            **derivative,
        )

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
        ready: queue.SimpleQueue[Stepper] = queue.SimpleQueue()

        def begin(group: LaneGroup) -> None:
            self._time_in.enter("optimizer")
            generator, draws = self._start_window(group)
            Stepper(generator, ready, (group, draws))

        groups: list[LaneGroup] = []
        while not stop.is_set():
            if groups is not self._groups:  # at the start, and after each `_join`
                groups = self._groups
                for group in groups:
                    begin(group)
            stepper = next_ready(ready, stop, self._time_in)
            group, draws = stepper.of
            window = stepper.advance() if any(group is mine for mine in groups) else None
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
        """All lanes as named arrays `[G, ...]`, those of group g under `g/`."""
        assert self._phase is not None
        saved: dict[str, np.ndarray] = {"evaluations": np.asarray(self.evaluations)}
        for g, group in enumerate(self._groups):
            named = group.save(self._phase.estimator.windows)
            saved |= {f"{g}/{name}": leaf for name, leaf in named.items()}
        return saved

    def load_state(self, saved: dict[str, np.ndarray], epoch: int) -> None:
        """Inverse of `save_state` `[G, ...]`; the episodes go on in learner epoch `epoch`."""
        self.evaluations = int(saved["evaluations"])
        self._epoch = epoch
        for g, group in enumerate(self._groups):
            group.load(subtree(saved, f"{g}/"), epoch, state_type(self._config))
