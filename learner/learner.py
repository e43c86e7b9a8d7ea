"""The learner: samples in, clipped Adam updates, versions of the weights out.

A plain class with three public jobs: it serves weights, sessions and episode ids to actors, it
turns batches of samples into updates, and it writes checkpoints. Streams and metrics arrive
through the constructor.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner.expected import Expected
from learner.identity import Identity
from learner.intake import Contribution, Intake
from optimus.config import TrainConfig, config_hash, to_dict
from optimus.errors import UserError
from optimus.meta import estimators
from optimus.meta import update as meta_update
from optimus.model.parameters import ParameterLayout
from optimus.rundir import checkpoint
from optimus.rundir.metrics import LinesWriter, MetricsWriter, finite
from optimus.wire import SampleReader, Session, Version, encode
from optimus.wire import pack as pack_array

_LOG = logging.getLogger(__name__)
STALL_SECONDS = 300.0  # without one acceptable sample, the run is stuck and says so
LEDGER = "ledger.jsonl"
_EMPTY_BATCHES = 20  # in a row without one scored step: no loss works, and the run says so


class LearnerError(UserError, RuntimeError):
    """The run cannot go on; the message is one line with the cause."""

    final = True


class Learner:
    """Serves weights, turns samples into updates, writes checkpoints.

    Args:
      config: the run's configuration.
      run_dir: where identity, checkpoints and metrics live.
      layout: layout of the flat weights.
      theta: initial weights, float32 `[P]`; used only when there is no checkpoint.
      stream: where samples come from.
      metrics: where update records go.
      resume: checkpoint to go on from, or None.
      extra_arrays: called at each checkpoint for more arrays to save (in-process runs save lanes).
      first_episode: continue this synchronous schedule of ids instead of reserving a new one.
      ledger: write `LEDGER`: what each update was made of. A replay of its lines from the initial
        weights must give the newest checkpoint, bit for bit.

    Attributes:
      refused_calls: calls from outside that were refused, by reason.
    """

    def __init__(
        self,
        config: TrainConfig,
        run_dir: Path,
        layout: ParameterLayout,
        theta: NDArray[np.float32],
        stream: SampleReader,
        metrics: MetricsWriter,
        resume: checkpoint.Checkpoint | None = None,
        extra_arrays: Callable[[], Mapping[str, NDArray[Any]]] | None = None,
        first_episode: int | None = None,
        ledger: bool = False,
    ) -> None:
        self._config = config
        self._layout = layout
        self._stream = stream
        self._metrics = metrics
        self._extra_arrays = extra_arrays
        self._run_dir = run_dir
        self._identity = Identity(run_dir)
        step = 0 if resume is None else resume.step
        self._evaluations = 0 if resume is None else int(resume.manifest.get("evaluations", 0))
        self._phase = config.phase_at(step)
        if resume is not None and step not in config.starts:
            self._state = meta_update.from_arrays(resume.arrays, layout)
        else:  # a phase takes over the weights alone
            if resume is not None:
                theta = meta_update.theta_from_arrays(resume.arrays, layout)
            self._state = meta_update.init(self._phase.meta, theta)
        self._version = Version(self._identity.raise_epoch(), step)
        self._packed = (self._version, pack_array(self.theta))
        self._lock = threading.RLock()  # of version, epoch and weights
        self._empty_batches = 0
        self._failed_saves, self._failing = 0, False
        self._ledger = LinesWriter(run_dir / LEDGER) if ledger else None
        self.refused_calls: Counter[str] = Counter()
        self.intake = Intake(config, self._identity.run_id, layout.size)
        self.intake.enter(self._phase)
        begun = step if first_episode is None else config.starts[config.phase_index(step)]
        self._schedule(begun, first_episode)
        self._waiting = 0.0
        self._of_update: dict[str, Any] = {}  # the newest one's, for the manifest
        self._saved_step = -1 if resume is None else resume.step
        if resume is None:
            self.save()
        metrics.write("learner_started", version=list(self._version), resumed=resume is not None)

    # -- served to actors ------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """Identity of the run."""
        return self._identity.run_id

    @property
    def version(self) -> Version:
        """Version of the current weights."""
        return self._version

    @property
    def theta(self) -> NDArray[np.float32]:
        """Current weights, float32 `[P]`."""
        return np.asarray(self._state.theta)

    def session(self, actor: int, incarnation: str) -> bytes:
        """See `ParameterSource.session`."""
        with self._lock:
            known = self._expected.actors.items()
            came_back = any(index == actor and life != incarnation for life, index in known)
            if came_back and self._config.synchronous:
                self._begin_epoch(f"actor {actor} came back")
            self._expected.actors[incarnation] = actor
            own, version = config_hash(self._config), list(self._version)
            return encode(Session(self.run_id, own, version, self._first_episode))

    def _schedule(self, begun: int, first: int | None = None) -> None:
        """An epoch's ids: in a synchronous run a new episode of every lane at every window.

        Args:
          begun: updates done when its lanes began.
          first: id to go on with, of a schedule that has begun; None: of one that nobody has had.
        """
        count = self._episodes_from(begun)
        if first is not None:  # `updates` may have been raised since
            self._identity.reserve_up_to(first + count)
        elif self._config.synchronous:
            first = self._identity.reserve_episodes(count)
        ids = None if first is None else range(first, first + count)
        self._first_episode = first or 0
        self._expected = self.intake.expected = Expected(self._phase.layout, ids)

    def _episodes_from(self, step: int) -> int:
        """Ids that the rest of the phase needs at most after `step` updates."""
        ends = (*self._config.starts[1:], self._config.updates)
        left = max(0, ends[self._config.phase_index(step)] - step)
        return (left + 1) * self._phase.layout.total_lanes

    def _begin_epoch(self, why: str) -> None:
        """All actors begin anew; weights and step stay."""
        self._version = Version(self._identity.raise_epoch(), self._version.step)
        self._packed = (self._version, self._packed[1])
        self.intake.abandon_open()
        self._schedule(self._version.step)
        self._metrics.write("epoch", version=list(self._version), cause=why)

    def _enter_phase(self) -> None:
        """The phase of this step begins: with its own estimator and lanes, and Adam from zero."""
        index = self._config.phase_index(self._version.step)
        self._phase = self._config.phases[index]
        self._state = meta_update.init(self._phase.meta, self._state.theta)
        self.intake.enter(self._phase)
        self._begin_epoch(f"phase {index} begins")

    def parameters(self, have: Version | None) -> tuple[Version, bytes] | None:
        """See `ParameterSource.parameters`; packed once per version."""
        with self._lock:
            return None if have == self._packed[0] else self._packed

    def reserve_episodes(self, count: int) -> int:
        """See `ParameterSource.reserve_episodes`."""
        with self._lock:
            first = self._identity.reserve_episodes(count)
            self._expected.give(first, count)
            return first

    # -- updates ---------------------------------------------------------------------------------

    def gather(self, stop: threading.Event) -> list[Contribution] | None:
        """Waits for a batch of acceptable samples; None when `stop` was set first.

        Raises:
          LearnerError: nothing acceptable came for a long time, or a synchronous run lost a sample
            it cannot do without.
        """
        batch: list[Contribution] = []
        intake, epoch = self.intake, self._version.epoch
        began = last = time.monotonic()
        while len(batch) < self._phase.meta.batch:
            if stop.is_set():
                return None
            data = self._stream.get(timeout=0.2)
            with self._lock:
                if self._version.epoch != epoch:
                    batch, epoch, last = [], self._version.epoch, time.monotonic()
                missed = intake.missed
                contribution = None if data is None else intake.accept(data, self._version)
                if contribution is not None:
                    batch.append(contribution)
                    last = time.monotonic()
                if self._config.synchronous and intake.missed > missed:
                    why = "a synchronous update cannot do without the sample it refused"
                    raise LearnerError(f"{why}: {intake.last_refusal}")
            if time.monotonic() - last > STALL_SECONDS:
                raise self.stalled(f"no acceptable sample for {STALL_SECONDS:.0f} s")
        self._waiting = time.monotonic() - began
        return batch

    def stalled(self, why: str) -> LearnerError:
        """The error of a run that gets no samples, which says what became of those there were."""
        refused = f"refused so far: {dict(self.intake.refused)}; see the actors' logs"
        return LearnerError(f"{why} at step {self.version.step}; {refused}")

    def step(self, stop: threading.Event) -> bool:
        """One update; False when `stop` was set before a batch was complete."""
        began = time.monotonic()
        while True:
            batch = self.gather(stop)
            if batch is None:
                return False
            with self._lock:
                if batch[0].sample.versions[-1][0] == self._version.epoch:
                    self._update(batch)
                    break
        self._record(batch, self._norm, time.monotonic() - began)
        begins = self._version.step in self._config.starts
        if begins:
            with self._lock:
                self._enter_phase()
        if begins or self._version.step % self._config.checkpoint_every == 0 or self.done:
            self._save_if_possible()
        return True

    def _update(self, batch: list[Contribution]) -> None:
        # Order by id, not by arrival: the sum is the same whoever was faster.
        batch.sort(key=lambda c: (c.sample.episode, c.sample.window))
        gradient = estimators.estimate(
            self._phase.estimator,
            np.stack([c.sample.gradient for c in batch]),
            np.asarray([c.difference for c in batch], np.float32),
            np.stack([c.noise for c in batch]),
            np.stack([c.accumulated for c in batch]),
        )
        self._state, self._norm = meta_update.update(self._phase.meta, self._state, gradient)
        self._evaluations += sum(c.sample.evaluations for c in batch)
        self._version = Version(self._version.epoch, self._version.step + 1)
        self._packed = (self._version, pack_array(self.theta))
        scored = any(c.sample.mask.any() for c in batch)
        self._empty_batches = 0 if scored else self._empty_batches + 1
        if self._empty_batches >= _EMPTY_BATCHES:
            why = f"{_EMPTY_BATCHES} batches in a row had no scored step: every loss fails"
            where = "see given_up in the actors' metrics, and the workers' logs"
            raise LearnerError(f"{why}; {where}")

    def _record(self, batch: list[Contribution], norm: float, seconds: float) -> None:
        scores = [c.sample.losses[:, c.sample.mask] for c in batch if c.sample.mask.any()]
        meta_loss = float(np.mean([score.mean() for score in scores])) if scores else float("nan")
        staleness = max(c.staleness for c in batch)
        self._of_update = {"meta_loss": meta_loss, "gradient_norm": norm, "staleness": staleness}
        self._metrics.write(
            "update",
            epoch=self._version.epoch,
            step=self._version.step,
            updates=self._config.updates,
            phase=self._config.phase_index(self._version.step - 1),
            **self._of_update,
            evaluations=self._evaluations,
            loss_seconds=round(sum(c.sample.seconds for c in batch), 4),
            stalenesses={str(k): n for k, n in sorted(Counter(c.staleness for c in batch).items())},
            failed_saves=self._failed_saves,
            refused_calls=dict(self.refused_calls),
            ledger_lost=self._ledger.lost if self._ledger else 0,
            seconds=round(seconds, 4),
            waiting=round(self._waiting, 4),
            **self.intake.counts(),
        )
        if self._ledger is not None:
            taken = [(c.sample, c.difference) for c in batch]
            made = [[one.episode, one.window, value, one.versions] for one, value in taken]
            self._ledger.append({"version": list(self._version), "samples": made})

    @property
    def done(self) -> bool:
        """Whether the configured number of updates has been made."""
        return self._version.step >= self._config.updates

    def run(self, stop: threading.Event) -> bool:
        """Updates until done or `stop`; always ends with a checkpoint. True when done."""
        while not self.done and self.step(stop):
            pass
        if self._saved_step != self._version.step:
            self.save()
        state, still_open = "finished" if self.done else "stopped", self.intake.open_episodes()
        self._metrics.write(state, step=self._version.step, open_episodes=len(still_open))
        return self.done

    # -- checkpoints -----------------------------------------------------------------------------

    def _save_if_possible(self) -> None:
        """A full disk may be emptied: until the end of the run, the previous checkpoint will do."""
        try:
            self.save()
            self._failing = False
        except (checkpoint.CheckpointError, OSError) as error:
            self._failed_saves += 1
            if not self._failing:
                _LOG.warning("%s; the next one will be tried all the same", error)
            self._failing = True
            self._metrics.write("checkpoint_failed", step=self._version.step, cause=str(error))

    def save(self) -> None:
        """Writes a checkpoint of this version and points `LATEST` at it.

        Raises:
          CheckpointError: the disk refused. LearnerError: the run directory is gone.
        """
        if not self._run_dir.is_dir():  # never made anew: who deleted it wants it gone
            raise LearnerError(f"{self._run_dir} was deleted while the run was going on")
        arrays = meta_update.to_arrays(self._state, self._layout)
        if self._extra_arrays is not None:
            arrays.update(self._extra_arrays())
        counts = self.intake.counts()
        counted = {name: counts[name] for name in ("accepted", "failed", "refused")}
        manifest: dict[str, Any] = {
            "run_id": self._identity.run_id,
            "epoch": self._version.epoch,
            "config_hash": config_hash(self._config),
            "config": to_dict(self._config),
            "evaluations": self._evaluations,
            "metrics": finite({**self._of_update, **counted}),
            "first_episode": self._first_episode,
            "open_episodes": {str(e): w for e, w in self.intake.open_episodes().items()},
        }
        step, folder = self._version.step, self._run_dir / "checkpoints"
        keep, every = self._config.keep_checkpoints, self._config.keep_checkpoints_every
        checkpoint.save(folder, step, arrays, manifest, keep, every)
        self._saved_step = step
        self._metrics.write("checkpoint", step=step)
