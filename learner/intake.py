"""The check of samples: each is taken, or refused and counted under its reason."""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner.expected import Expected
from optimus.config import Estimator, Phase, TrainConfig
from optimus.meta import estimators, noise
from optimus.meta.estimators.evolution import mean_difference
from optimus.wire import MAX_SAMPLE_BYTES, CodecError, Sample, Version, check_sample, decode

REASONS = (
    *("malformed", "foreign_run", "foreign_epoch", "unknown_actor", "unknown_episode"),
    *("duplicate", "stale", "nonfinite", "noise_mismatch"),
)


def largest_sample(config: TrainConfig, parameters: int) -> int:
    """Bytes that a sample of any phase has at most; `parameters`: P, number of weights."""

    def largest(chosen: Estimator) -> int:
        gradient = 4 * parameters if estimators.of(chosen).needs_gradient else 0
        return max(MAX_SAMPLE_BYTES, 1024 + 20 * chosen.windows + 9 * chosen.truncation) + gradient

    return max(largest(phase.estimator) for phase in config.phases)


@dataclass(frozen=True, eq=False, slots=True)
class Contribution:
    """An accepted sample with its noise: of its window, and accumulated over its episode."""

    sample: Sample
    noise: NDArray[np.float32]
    accumulated: NDArray[np.float32]
    difference: float
    staleness: int


class Intake:
    """Checks samples and keeps the running noise sum of each open episode.

    Attributes:
      expected: what the epoch expects, or None: whatever has the right run and epoch.
      refused: samples so far, by reason.

    Args:
      config: the run's configuration; it begins in the first phase, see `enter`.
      run_id: samples of another run are refused.
      parameters: P, number of weights.
      max_open: bound of the cache; an evicted episode's sum is drawn again from its seeds. None:
        twice the lanes, 64 at least.
    """

    def __init__(
        self, config: TrainConfig, run_id: str, parameters: int, max_open: int | None = None
    ) -> None:
        self._config = config
        self._run_id = run_id
        self._parameters = parameters
        self._most = max_open
        self._largest = largest_sample(config, parameters)
        self._sums: OrderedDict[int, tuple[int, NDArray[np.float32]]] = OrderedDict()
        self._accepted: OrderedDict[int, int] = OrderedDict()  # episode -> last accepted window
        self.expected: Expected | None = None
        self.refused: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.abandoned = 0  # open episodes abandoned because their epoch ended
        self.bytes = 0  # of accepted samples
        self.accepted = 0
        self.empty = 0  # accepted, but no step was scored (failed at its start)
        self.failed = 0  # accepted, a trajectory went non-finite
        self.redrawn = 0  # noise sums regenerated from seeds
        self.last_refusal = ""
        self.enter(config.phases[0])

    def enter(self, phase: Phase) -> None:
        """From now on samples are of this phase, whose episodes all begin anew."""
        self.abandon_open()
        self._phase = phase
        self._estimator = estimators.of(phase.estimator)
        self._derivatives = self._parameters if self._estimator.needs_gradient else 0
        self._size = self._parameters if self._estimator.perturbs else 0  # of the noise
        self._max_open = self._most or max(64, 2 * phase.layout.total_lanes)

    @property
    def missed(self) -> int:
        """How many refused samples were ours, so that a synchronous update lacks them for ever.
        All others are strays, or come twice."""
        return self.refused["nonfinite"] + self.refused["noise_mismatch"]

    def _refuse(self, reason: str, message: str) -> None:
        self.refused[reason] += 1
        self.last_refusal = f"{reason}: {message}"

    def accept(self, data: bytes, version: Version) -> Contribution | None:
        """Decodes and checks one sample at learner version `version`; None when refused."""
        try:
            sample = decode(Sample, data, self._largest)
        except CodecError as error:
            return self._refuse("malformed", str(error))
        where = f"window {sample.window} of episode {sample.episode}"[:100]
        if sample.run_id != self._run_id:
            return self._refuse("foreign_run", f"{where}: run {sample.run_id[:40]}")
        estimator = self._phase.estimator
        problem = check_sample(
            sample, estimator.truncation, estimator.windows, estimator.signs, self._derivatives
        )
        if problem and not _of_earlier_epoch(sample, version):  # that may be of another phase
            return self._refuse("malformed", problem)
        if any(epoch != version.epoch for epoch, _ in sample.versions):
            return self._refuse("foreign_epoch", f"{where}: versions {sample.versions!s:.200}")
        # Before the rest: a duplicate that comes after its update is neither stale nor unknown.
        if sample.window <= self._accepted.get(sample.episode, -1):
            return self._refuse("duplicate", where)
        stray = self.expected.problem(sample) if self.expected else None
        if stray:
            return self._refuse(stray[0], f"{where}: {stray[1]}")
        staleness = version.step - sample.versions[-1][1]
        if not 0 <= staleness <= self._config.staleness_bound(self._phase):
            return self._refuse("stale", f"{where}: {staleness} updates old")
        finite = np.isfinite(sample.losses[:, sample.mask]).all()
        if not (finite and np.isfinite(sample.gradient).all()):
            return self._refuse("nonfinite", where)
        perturbed = self._estimator.perturbs
        difference = mean_difference(sample.losses, sample.mask) if perturbed else 0.0
        accumulated, newest = self._accumulate(sample)
        if noise.checksum(newest) != sample.noise_checksum:
            return self._refuse("noise_mismatch", f"{where}: another JAX version or host type?")
        self._remember(sample, accumulated)
        self.bytes += len(data)
        return Contribution(sample, newest, accumulated, difference, staleness)

    def _draw(self, episode: int, window: int) -> NDArray[np.float32]:
        chosen = self._phase.estimator
        return self._estimator.draw(
            self._config.seed, episode, window, self._parameters, chosen.sigma, chosen.noise
        )

    def _accumulate(self, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if not self._estimator.perturbs:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        fresh_each_window = self._estimator.fresh_each_window
        known, total = self._sums.get(sample.episode, (-1, None))
        if known + 1 > sample.window or (known < 0 and sample.window > 0):
            known, total = -1, None
            self.redrawn += 1
        if total is not None and not fresh_each_window:
            return total, total  # one draw serves the whole episode
        newest = np.zeros(0, np.float32)
        first = known + 1 if fresh_each_window else sample.window
        for window in range(first, sample.window + 1):
            newest = self._draw(sample.episode, window)
            total = self._estimator.advance(total, newest)
        assert total is not None
        return total, newest

    def _remember(self, sample: Sample, accumulated: NDArray[np.float32]) -> None:
        if self.expected:
            self.expected.took(sample)
        self.accepted += 1
        self.failed += sample.failed
        self.empty += not sample.mask.any()
        self._accepted[sample.episode] = sample.window
        self._accepted.move_to_end(sample.episode)
        while len(self._accepted) > 64 * self._max_open:  # far beyond any staleness bound
            self._accepted.popitem(last=False)
        if sample.last:
            self._sums.pop(sample.episode, None)
            return
        self._sums[sample.episode] = (sample.window, accumulated)
        self._sums.move_to_end(sample.episode)
        while len(self._sums) > self._max_open:
            self._sums.popitem(last=False)

    def abandon_open(self) -> None:
        """Abandons all open episodes: their epoch is over."""
        self.abandoned += len(self._sums)
        self._sums.clear()

    def open_episodes(self) -> dict[int, int]:
        """Last accepted window of each open episode."""
        return {episode: window for episode, (window, _) in self._sums.items()}

    def counts(self) -> dict[str, Any]:
        """What became of the samples so far, for metrics; of reasons, those that occurred."""
        return {
            "sample_bytes": round(self.bytes / max(1, self.accepted), 1),
            "abandoned": self.abandoned,
            "accepted": self.accepted,
            "failed": self.failed,
            "empty": self.empty,
            "redrawn": self.redrawn,
            "refused": {reason: count for reason, count in self.refused.items() if count},
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Sums float32 `[open, P]` and accepted windows uint64 `[episodes, 2]`, for exact resume in
        process."""
        sums = [total for _, total in self._sums.values()]
        return {
            "accepted": np.asarray([*self._accepted.items()], np.uint64).reshape(-1, 2),
            "open": np.asarray([*self.open_episodes().items()], np.uint64).reshape(-1, 2),
            "sums": np.asarray(sums, np.float32).reshape(len(sums), self._size),
        }

    def load_state(self, saved: dict[str, NDArray[Any]]) -> None:
        """Inverse of `state`, whose arrays' shapes it has."""
        self._accepted = OrderedDict((int(e), int(w)) for e, w in saved["accepted"])
        sums = zip(saved["open"].tolist(), saved["sums"])
        self._sums = OrderedDict((episode, (window, total)) for (episode, window), total in sums)
        if self.expected:
            self.expected.resume(self._accepted, self.open_episodes())


def _of_earlier_epoch(sample: Sample, version: Version) -> bool:
    try:
        return all(epoch < version.epoch for epoch, _ in sample.versions) and bool(sample.versions)
    except (TypeError, ValueError):
        return False
