"""The in-process runner: the same Actor and Learner objects called in turn, no servers.

Its checkpoint holds every lane, so stopping and resuming equals never having stopped, bit for bit.
"""

import contextlib
import threading
from pathlib import Path
from typing import Any

import numpy as np

from launch import Say, alongside, builders
from launch.adapters.local import LocalStream
from launch.evaluation.evaluator import Evaluator
from launch.evaluation.suites import Plan
from learner.learner import Learner
from optimus.config import TrainConfig
from optimus.rundir.metrics import heartbeat
from workers.actor import Actor
from workers.lanes import subtree


def run(config: TrainConfig, run_dir: Path, stop: threading.Event, say: Say) -> bool:
    """Trains until done or `stop`; True when done. The evaluator, where the configuration asks for
    one, takes its turn after each checkpoint.

    Args:
      config: what to run.
      run_dir: where; its newest checkpoint is gone on from.
      stop: ends it after the update under way.
      say: takes lines for the user.
    """
    resume = builders.newest_checkpoint(run_dir)
    # At a phase's start there are no lanes to go on with, and nothing is lost.
    begins = resume is not None and resume.step in config.starts
    lanes = resume is not None and not begins and bool(subtree(resume.arrays, "actors/0/"))
    first = int(resume.manifest["first_episode"]) if resume and (begins or lanes) else None
    actors: list[Actor] = []

    def lane_state() -> dict[str, np.ndarray]:
        if not actors:  # of the learner that is being made
            return {}
        arrays = {f"intake/{name}": value for name, value in learner.intake.state().items()}
        for k, actor in enumerate(actors):
            arrays |= {f"actors/{k}/{name}": value for name, value in actor.save_state().items()}
        return arrays

    stream = LocalStream()
    options: dict[str, Any] = {"resume": resume, "first_episode": first, "extra_arrays": lane_state}
    learner: Learner = builders.make_learner(config, run_dir, stream, say, **options)
    judge = Evaluator(config, run_dir, stop, Plan()) if config.evaluator else None
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(builders.local_pool(config, run_dir))
        indices, carriers = range(config.processes.actors), (run_dir, learner, stream, pool)
        made = [builders.make_actor(config, index, *carriers) for index in indices]
        if resume and lanes:
            learner.intake.load_state(subtree(resume.arrays, "intake/"))
            for k, actor in enumerate(made):
                actor.load_state(subtree(resume.arrays, f"actors/{k}/"), learner.version.epoch)
        elif resume and not begins:
            say(f"{len(resume.manifest['open_episodes'])} open episodes of the last run abandoned")
        actors.extend(made)
        for reporter in [*actors, judge] if judge else actors:
            stack.enter_context(alongside(heartbeat, reporter))
        if judge:
            judge.step()
        never = threading.Event()  # an update under way is finished, so that lanes stay whole
        while not learner.done and not stop.is_set():
            for actor in actors:
                actor.refresh()
                actor.collect(never)
            if not learner.step(stream.dry):
                raise learner.stalled("the update lacks samples, and all lanes have sent theirs")
            if judge and (learner.done or learner.version.step % config.checkpoint_every == 0):
                judge.step()
        return learner.run(stop)  # nothing is left to do but the last checkpoint
