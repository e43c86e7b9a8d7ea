"""The actor: unrolls Optimus on its lanes and emits one antithetic sample per lane and window.

A plain class: weights, losses and the sample stream arrive through the constructor as Protocols of
`optimus.wire`, so the same object runs in process, in threads and in a process of its own.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus import noise
from optimus.config import TrainConfig, config_hash
from optimus.estimators import STRATEGIES
from optimus.metrics import MetricsWriter
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

_POLL = 0.005  # s between looks for new weights; a look costs about 0.3 ms over Courier


@jax.jit
def _perturb(theta: jax.Array, perturbations: jax.Array) -> jax.Array:
    """theta `[P]`, noise `[G, P]` -> `[G, 2, P]`: plus, minus."""
    return jnp.stack([theta + perturbations, theta - perturbations], axis=1)


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
      unroll: how a window is computed.
      parameters: source of weights, session and episode ids.
      stream: where samples go.
      metrics: where counters go, or None.

    Raises:
      ValueError: the learner runs another configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        index: int,
        unroll: unrolls.Unroll,
        parameters: ParameterSource,
        stream: SampleWriter,
        metrics: MetricsWriter | None = None,
    ) -> None:
        self._config, self._index = config, index
        self._unroll, self._parameters, self._stream = unroll, parameters, stream
        self._metrics = metrics
        self._incarnation = uuid.uuid4().hex[:12]
        session = decode(Session, parameters.session())
        if session.config_hash != config_hash(config):
            raise ValueError(
                f"actor {index}: its configuration is {config_hash(config)}, the learner's is "
                f"{session.config_hash}; start both from the same config.json"
            )
        self._run_id = session.run_id
        layout = config.layout
        if config.synchronous:
            self._next_episode = lane_rules.scheduled_episodes(
                session.first_episode, layout.total_lanes
            )
        else:
            self._next_episode = lane_rules.reserved_episodes(parameters.reserve_episodes)
        first = index * layout.groups * layout.lanes
        self._groups = [
            _Group([
                lane_rules.Lane(first + g * layout.lanes + k) for k in range(layout.lanes)
            ])
            for g in range(layout.groups)
        ]  # fmt: skip
        self._size = unrolls.parameter_layout(config).size
        self._version: Version | None = None
        self._theta: np.ndarray | None = None
        self.evaluations = 0

    # -- weights -------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Fetches weights if there are newer ones; True when the version changed."""
        fetched = self._parameters.parameters(self._version)
        if fetched is None:
            return False
        version, data = fetched
        theta = unpack_array(data)
        if not isinstance(theta, np.ndarray) or theta.shape != (self._size,):
            raise ValueError(
                f"actor {self._index}: weights of shape {np.shape(theta)}, want ({self._size},)"
            )
        self._version, self._theta = version, theta
        return True

    def wait_for_weights(self, stop: threading.Event) -> None:
        """Blocks until the version changes; raises `Stopped`."""
        while not self.refresh():
            if stop.wait(_POLL):
                raise Stopped

    # -- windows -------------------------------------------------------------------------------

    def _start_window(self, group: _Group) -> tuple[unrolls.Waiting, list[np.ndarray]]:
        estimator = self._config.estimator
        strategy = STRATEGIES[estimator.kind]
        assert self._version is not None and self._theta is not None
        fresh: list[int | None] = []
        for lane in group.lanes:
            begins = lane.over
            if begins:
                episode = self._next_episode(lane)
                lane_rules.begin_episode(lane, episode, estimator.windows)
            lane.versions.append(list(self._version))
            fresh.append(lane.episode if begins else None)
        draws = [
            noise.draw(
                self._config.seed, lane.episode, strategy.noise_window(lane.window), self._size,
                estimator.sigma, estimator.noise,
            )
            for lane in group.lanes
        ]  # fmt: skip
        weights = _perturb(self._theta, np.stack(draws))
        return self._unroll.window(weights, group.arrays, fresh, estimator.truncation), draws

    def _finish_window(
        self, group: _Group, window: unrolls.Window, draws: Sequence[np.ndarray]
    ) -> list[bytes]:
        group.arrays = window.arrays
        samples = []
        for k, lane in enumerate(group.lanes):
            index, versions = lane.window, [list(v) for v in lane.versions]
            last = lane_rules.end_window(lane, bool(window.failed[k]))
            self.evaluations += int(window.evaluations[k])
            samples.append(encode(Sample(
                run_id=self._run_id, actor=self._index, incarnation=self._incarnation,
                episode=lane.episode, window=index, versions=versions,
                losses=window.losses[k], mask=window.mask[k], last=last,
                failed=bool(window.failed[k]), evaluations=int(window.evaluations[k]),
                seconds=float(window.seconds[k]), noise_checksum=noise.checksum(draws[k]),
            )))  # fmt: skip
        return samples

    def collect(self, stop: threading.Event) -> None:
        """One window on every group, overlapped, with the current weights; samples in lane order.

        While one group waits for its losses the next group takes its optimizer step.
        """
        started = [self._start_window(group) for group in self._groups]
        windows = drive([generator for generator, _ in started], stop)
        for group, window, (_, draws) in zip(self._groups, windows, started):
            for sample in self._finish_window(group, window, draws):
                self._put(sample, stop)

    def _put(self, sample: bytes, stop: threading.Event) -> None:
        while not self._stream.put(sample, timeout=0.5):
            if stop.is_set():
                raise Stopped
            sample = b""  # already handed over: wait on

    def _collect_asynchronously(self, stop: threading.Event) -> None:
        """For ever: each group starts its next window at once, with the newest weights."""
        running: list[Any] = [None] * len(self._groups)
        while not stop.is_set():
            for k, group in enumerate(self._groups):
                if running[k] is None:
                    self.refresh()
                    generator, draws = self._start_window(group)
                    running[k] = (_Stepper(generator), draws)
                stepper, draws = running[k]
                window = stepper.advance(stop)
                if window is not None:
                    running[k] = None
                    for sample in self._finish_window(group, window, draws):
                        self._put(sample, stop)

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
            self._metrics.write("alive", version=version, evaluations=self.evaluations)

    # -- state, for exact resume in process ------------------------------------------------------

    def save_state(self) -> dict[str, np.ndarray]:
        """All lanes as named arrays."""
        saved: dict[str, np.ndarray] = {"evaluations": np.asarray(self.evaluations)}
        for g, group in enumerate(self._groups):
            lanes, windows = group.lanes, self._config.estimator.windows
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
        self.evaluations = int(saved["evaluations"])
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
                {k[len(prefix) :]: v for k, v in saved.items() if k.startswith(prefix)}
            )


class _Stepper:
    """Drives one window generator, never blocking on futures that are not done."""

    def __init__(self, generator: unrolls.Waiting) -> None:
        self._generator = generator
        self._futures: Sequence[Future[Any]] = ()

    def advance(self, stop: threading.Event) -> unrolls.Window | None:
        """Waits for the pending losses, then runs to the next wait; the `Window` at the end."""
        pending = set(self._futures)
        while pending:
            _, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            if stop.is_set():
                raise Stopped
        try:
            self._futures = next(self._generator)
        except StopIteration as done:
            window: unrolls.Window = done.value
            return window
        return None


def drive(
    generators: Sequence[Generator[Any, None, unrolls.Window]], stop: threading.Event
) -> list[unrolls.Window]:
    """Runs window generators in turn, so that each one's losses overlap the others' steps."""
    steppers = [_Stepper(generator) for generator in generators]
    results: list[unrolls.Window | None] = [None] * len(steppers)
    while any(result is None for result in results):
        for k, stepper in enumerate(steppers):
            if results[k] is None:
                results[k] = stepper.advance(stop)
    return [result for result in results if result is not None]


