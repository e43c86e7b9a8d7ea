"""One validation window reconstructed by the checkpoint, drawn beside the captured motion."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optimus.config import PhysicsTask, TrainConfig
from optimus.installation import extra_command


@dataclass(frozen=True)
class Motion:
    """A picture of six moments, and how good it is.

    Attributes:
      picture: PNG.
      clip, start: the window; s.
      evaluations: of the loss, by each method.
      loss, baseline: best loss of the checkpoint and of L-BFGS-B, as a share of the start's.
      error_mm: mean distance of the joints, mm.
    """

    picture: Path
    clip: str
    start: float
    evaluations: int
    loss: float
    baseline: float
    error_mm: float


class NoMotion(RuntimeError):
    """There is nothing to draw; the message says why, in one line."""


def reconstruct(config: TrainConfig, checkpoint: Path, out: Path, evaluations: int) -> Motion:
    """Draws the first validation window; `NoMotion` when it cannot.

    Args:
      config: the run's configuration.
      checkpoint: folder of the weights.
      out: folder for the picture.
      evaluations: of the loss.
    """
    if not isinstance(config.task, PhysicsTask):
        raise NoMotion("no physics task")
    try:
        return _reconstruct(config, config.task, checkpoint, out, evaluations)
    except ModuleNotFoundError as error:
        extra = extra_command("bench")
        raise NoMotion(f"{error.name} is missing: {extra}") from None
    except (ValueError, RuntimeError, OSError) as error:
        raise NoMotion(str(error).splitlines()[0]) from None


def _reconstruct(
    config: TrainConfig, task: PhysicsTask, checkpoint: Path, out: Path, evaluations: int
) -> Motion:
    from workers.physics.benchmark.methods import METHODS, Models, Unavailable
    from workers.physics.loss import humanoid, reconstruction
    from workers.physics.loss.windows import PhysicsWindows, options_of
    from workers.physics.rendering import render

    held_out = replace(task, split=config.evaluation.split)
    window, _ = PhysicsWindows(held_out, config.evaluation.seed).draw(0)
    found = reconstruction.of_clip(window.clip, window.start, window.seconds, options_of(task))
    x0, models = np.zeros(found.dim), Models(str(checkpoint), "")
    try:
        mine = METHODS["optimus"](found, x0, evaluations, models)
    except Unavailable as error:
        raise NoMotion(str(error)) from None
    baseline = METHODS["l_bfgs_b"](found, x0, evaluations, models)
    if not len(mine.points):
        raise NoMotion("no loss of this checkpoint was finite")
    states = found.states(mine.points[-1])  # the best
    if states is None:
        raise NoMotion("the motion overflows")
    motion = found.sites_of(states)
    rate = len(motion) / task.seconds
    frames = render.frames(found.reference, motion, humanoid(), rate, "this checkpoint")
    picture = render.save(frames, out / "motion.png", rate)
    first = float(mine.losses[0])
    apart = float(np.mean(np.linalg.norm(motion - found.reference, axis=-1))) * 1000
    loss, best = (float(each.best[-1]) / first for each in (mine, baseline))
    return Motion(picture, window.clip, window.start, evaluations, loss, best, apart)
