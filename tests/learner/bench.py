"""A learner with a stream in memory, and samples made by hand; no actor, no server."""

import collections
import threading

import numpy as np

from learner.learner import Learner
from optimus.config import AnalyticTask, Estimator, Layout, MetaOptimizer
from optimus.meta import noise
from optimus.model.parameters import layout_of
from optimus.rundir.metrics import MetricsWriter, read
from optimus.wire import Sample, Session, decode, encode
from tests.one_phase import one_phase

LANES, WINDOW, WINDOWS = 4, 2, 3
PARAMS = {
    "network": {"m/l": {"w": np.ones((4, 5), np.float32), "b": np.zeros(5, np.float32)}},
    "decays": {"rms": np.float32(0.5)},
}
LAYOUT = layout_of(PARAMS)
THETA = LAYOUT.flatten(PARAMS)
OPEN = []  # metrics files of this test


def config(synchronous=True, **changes):
    values = dict(
        name="test",
        task=AnalyticTask(dim=2),
        updates=6,
        seed=3,
        synchronous=synchronous,
        estimator=Estimator(truncation=WINDOW, horizon=WINDOW * WINDOWS),
        meta=MetaOptimizer(batch=LANES, learning_rate=0.01),
        layout=Layout(actors=1, groups=1, lanes=LANES, workers=0),
        checkpoint_every=2,
        keep_checkpoints=10,
        max_staleness=2,
    )
    return one_phase(**{**values, **changes})


class Stream:
    """A `SampleReader` over a list."""

    def __init__(self, stop=None):
        self.waiting, self.stop = collections.deque(), stop

    def get(self, timeout):
        if not self.waiting and self.stop is not None:
            self.stop.set()
        return self.waiting.popleft() if self.waiting else None

    def close(self):
        self.waiting.clear()


class Bench:
    """A learner, its stream, and the samples that its actor would send.

    began: updates done when the schedule began that `first_episode` continues.
    """

    def __init__(self, run_dir, config=config(), began=None, **arguments):  # noqa: B008 - frozen
        self.stop = threading.Event()
        self.stream = Stream(self.stop)
        OPEN.append(MetricsWriter(run_dir, "learner"))
        self.learner = Learner(config, run_dir, LAYOUT, THETA, self.stream, OPEN[-1], **arguments)
        self.config, self.run_dir = config, run_dir
        self.join("a")
        if began is not None:
            self.began = began

    def join(self, life):
        """Another life of the actor."""
        self.life = life
        self.session = decode(Session, self.learner.session(0, life))
        self.first, self.began = self.session.first_episode, self.session.version[1]
        if not self.config.synchronous:
            self.first = self.learner.reserve_episodes(100)

    def sample(self, lane, **changes):
        """Lane `lane`'s sample for this version, s updates into its epoch, window s mod 3"""
        now = self.learner.version
        since = now.step - self.began
        window = since % WINDOWS
        episode = self.first + lane + LANES * (since // WINDOWS)
        random = np.random.default_rng([episode, window])
        estimator = self.config.phases[0].estimator
        drawn = noise.draw(
            self.config.seed, episode, window, LAYOUT.size, estimator.sigma, estimator.noise
        )
        values = dict(
            run_id=self.session.run_id,
            actor=0,
            incarnation=self.life,
            episode=episode,
            window=window,
            versions=[[now.epoch, now.step - window + k] for k in range(window + 1)],
            losses=random.normal(size=(2, WINDOW)).astype(np.float32),
            mask=np.ones(WINDOW, bool),
            last=window == WINDOWS - 1,
            failed=False,
            evaluations=4,
            seconds=0.5,
            noise_checksum=noise.checksum(drawn),
        )
        return encode(Sample(**{**values, **changes}))

    def batch(self):
        return [self.sample(lane) for lane in range(LANES)]

    def send(self, samples):
        self.stream.waiting.extend(samples)

    def updates(self, count):
        """Theta after each of `count` updates."""
        thetas = []
        for _ in range(count):
            self.send(self.batch())
            assert self.learner.step(self.stop)
            thetas.append(self.learner.theta.tobytes())
        return thetas

    def records(self, event):
        path = self.run_dir / "metrics" / "learner-0.jsonl"
        return [record for record in read(path) if record["event"] == event]
