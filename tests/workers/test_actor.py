"""The actor's bookkeeping, without any server."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import jax
import numpy as np
import pytest

from optimus.config import TrainConfig
from optimus.meta import noise
from optimus.model import optimizer as opt
from optimus.wire import MAX_SAMPLE_BYTES, Sample, Stopped, Version, decode
from tests.workers import fakes
from workers import unroll as unrolls
from workers.actor import Actor


def theta_of(config: TrainConfig) -> np.ndarray:
    params = opt.init_params(config.optimizer, jax.random.PRNGKey(1))
    return unrolls.parameter_layout(config).flatten(params)


def make(config: TrainConfig, index: int = 0) -> tuple[Actor, fakes.Parameters, fakes.Stream]:
    parameters = fakes.Parameters(config, theta_of(config))
    stream = fakes.Stream()
    unroll = unrolls.AnalyticUnroll(config, config.seed)
    return Actor(config, index, lambda _: unroll, parameters, stream), parameters, stream


def collect(actor: Actor, parameters: fakes.Parameters, windows: int) -> None:
    for _ in range(windows):
        assert actor.refresh()
        actor.collect(threading.Event())
        parameters.version = Version(1, parameters.version.step + 1)


def test_samples_tell_the_whole_story() -> None:
    config = fakes.analytic()
    actor, parameters, stream = make(config)
    collect(actor, parameters, 7)
    samples = [decode(Sample, data) for data in stream.samples]
    assert len(samples) == 7 * 4 and max(map(len, stream.samples)) <= MAX_SAMPLE_BYTES
    by_lane: dict[int, list[Sample]] = {}
    for sample in samples:
        by_lane.setdefault((sample.episode - 100) % 4, []).append(sample)
    for lane, story in by_lane.items():
        # The first episode is shorter by lane mod 3 windows, every later one has 3.
        first = 3 - lane % 3
        expected = [*range(first), *range(3), *range(3), *range(3)][:7]
        assert [s.window for s in story] == expected
        assert [s.last for s in story] == [
            expected[k + 1 : k + 2] == [0] or (k == 6 and expected[k] == 2) for k in range(7)
        ]
        ids = [s.episode for s in story]
        assert ids == [100 + 4 * (k + 0) + lane for k in np.cumsum([w == 0 for w in expected]) - 1]
        for update, sample in enumerate(story):
            start = update - sample.window
            assert sample.versions == [[1, step] for step in range(start, update + 1)]
            drawn = noise.draw(
                0, sample.episode, sample.window, parameters.theta.size, 0.01, "gaussian"
            )
            assert sample.noise_checksum == noise.checksum(drawn)
            assert sample.evaluations == 4 + (sample.window == 0)
    assert actor.evaluations == sum(s.evaluations for s in samples)


def test_two_actors_own_different_lanes_and_episodes() -> None:
    config = fakes.analytic(
        layout=fakes.Layout(actors=2, groups=2, lanes=2, workers=0),
        meta=fakes.MetaOptimizer(batch=8),
    )
    episodes = []
    for index in (0, 1):
        actor, parameters, stream = make(config, index)
        collect(actor, parameters, 5)
        episodes.append({decode(Sample, data).episode for data in stream.samples})
    assert not episodes[0] & episodes[1]


def test_grouping_and_overlap_do_not_change_what_a_lane_computes() -> None:
    """The same four lanes in two groups and in one: equal up to rounding."""
    losses = []
    for groups, lanes in ((2, 2), (1, 4)):
        config = fakes.analytic(layout=fakes.Layout(groups=groups, lanes=lanes, workers=0))
        actor, parameters, stream = make(config)
        collect(actor, parameters, 4)
        samples = sorted(
            (decode(Sample, d) for d in stream.samples), key=lambda s: (s.episode, s.window)
        )
        losses.append(np.stack([s.losses for s in samples]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3, atol=1e-4)


def test_saved_lanes_go_on_as_if_never_stopped() -> None:
    config = fakes.analytic()
    actor, parameters, stream = make(config)
    collect(actor, parameters, 2)
    saved = {name: np.array(value) for name, value in actor.save_state().items()}
    collect(actor, parameters, 3)
    revived, later, again = make(config)
    revived.load_state(saved, epoch=2)
    later.version = Version(2, 2)
    for _ in range(3):
        assert revived.refresh()
        revived.collect(threading.Event())
        later.version = Version(2, later.version.step + 1)
    for one, other in zip(stream.samples[8:], again.samples, strict=True):
        a, b = decode(Sample, one), decode(Sample, other)
        assert (a.episode, a.window, a.noise_checksum) == (b.episode, b.window, b.noise_checksum)
        np.testing.assert_array_equal(a.losses, b.losses)
        assert all(epoch == 2 for epoch, _ in b.versions)


def test_a_failed_lane_begins_a_new_episode_with_a_new_id() -> None:
    config = fakes.served()
    parameters, stream = fakes.Parameters(config, theta_of(config)), fakes.Stream()
    pool = fakes.Pool(lambda r: "nonfinite" if r.episode == 100 else None)  # episode 100
    unroll = unrolls.PooledUnroll(config, fakes.Source(), pool)
    actor = Actor(config, 0, lambda _: unroll, parameters, stream)
    collect(actor, parameters, 2)
    samples = [decode(Sample, data) for data in stream.samples]
    assert samples[0].failed and samples[0].last and not samples[0].mask.any()
    assert samples[4].episode == 104 and samples[4].window == 0 and not samples[4].failed
    assert samples[5].episode == 101 and samples[5].window == 1


def test_a_learner_of_another_config_is_refused() -> None:
    config = fakes.analytic()
    parameters = fakes.Parameters(fakes.analytic(seed=9), theta_of(config))
    with pytest.raises(ValueError, match=r"actor 0: its configuration is .*, the learner's is"):
        unroll = unrolls.AnalyticUnroll(config, 0)
        Actor(config, 0, lambda _: unroll, parameters, fakes.Stream())


def test_weights_of_another_size_are_refused() -> None:
    config = fakes.analytic()
    actor, parameters, _ = make(config)
    parameters.theta = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"weights of shape \(3,\)"):
        actor.refresh()


def test_stop_ends_every_wait() -> None:
    config = fakes.served()
    parameters = fakes.Parameters(config, theta_of(config))

    class Silent(fakes.Pool):
        def submit(self, request: object) -> Future:
            return Future()

    unroll = unrolls.PooledUnroll(config, fakes.Source(), Silent())
    actor = Actor(config, 0, lambda _: unroll, parameters, fakes.Stream())
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    actor.run(stop)  # waits for losses that never come, until stop; returns without an error

    full = make(fakes.analytic())[0]
    full._stream.put = lambda sample, timeout: False  # type: ignore[method-assign]
    full.refresh()
    with pytest.raises(Stopped):
        full.collect(stop)
    with pytest.raises(Stopped):
        full.wait_for_weights(stop)


def test_asynchronous_lanes_take_reserved_ids_and_the_newest_weights() -> None:
    config = fakes.analytic(synchronous=False)
    actor, parameters, stream = make(config)
    stop = threading.Event()

    class Counting(fakes.Stream):
        def put(self, sample: bytes, timeout: float) -> bool:
            stream.put(sample, timeout)
            parameters.version = Version(1, len(stream.samples))
            if len(stream.samples) >= 40:
                stop.set()
            return True

    actor._stream = Counting()
    actor.run(stop)
    samples = [decode(Sample, data) for data in stream.samples]
    assert parameters.reserved == 256
    assert {s.episode for s in samples} <= set(range(256))
    steps = [s.versions[-1][1] for s in samples]
    assert steps == sorted(steps) and steps[-1] > 30
