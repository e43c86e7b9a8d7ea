"""`optimus render`: a cell of the motion benchmark, or a clip reconstructed now, as a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimus.errors import require
from optimus.files import path_of
from workers.physics.benchmark import cells
from workers.physics.benchmark.methods import METHODS, Models
from workers.physics.benchmark.policy import read_controls
from workers.physics.loss import PhysicsOptions, humanoid, reconstruction
from workers.physics.model import model_text
from workers.physics.motion import CLIPS
from workers.physics.rendering import render
from workers.physics.simulation import Simulator


@dataclass(frozen=True, eq=False)
class Shown:
    """Sites [F, n_sites, 3] of reference and motion, frames a second, and what made the motion."""

    reference: np.ndarray
    motion: np.ndarray
    rate: float
    title: str


def of_cell(path: Path) -> Shown:
    """A file out of the benchmark's cells/; ValueError when it is none or holds no motion."""
    cell = cells.load(path.parent, path.stem)
    if cell is None:
        raise ValueError(f"{path}: not a cell of optimus bench physics")
    require(cell.states.size > 0, f"{path}: {cell.method} has no simulated motion to show")
    count = len(cell.reference)
    steps = len(cell.states) - 1
    at = np.round((np.arange(count) + 1) * steps / count).astype(int)
    simulator = Simulator(model_text(humanoid()), 1 / 120, "pd")
    motion = np.stack([simulator.sites(q) for q in cell.states[at]])
    return Shown(cell.reference, motion, count / float(cell.seconds), cell.method)


def of_clip(
    clip: str,
    start: float,
    seconds: float,
    options: PhysicsOptions,
    evaluations: int,
    controls: np.ndarray | None = None,
) -> Shown:
    """A window of a clip under given controls, else those that L-BFGS finds from 0.

    Args:
      clip, start, seconds, options: as of `PhysicsLoss`.
      evaluations: that L-BFGS may make. controls: `[N]`, or None.

    Raises:
      ValueError: the window does not fit, sizes do not match, or the motion overflows.
    """
    task = reconstruction.of_clip(clip, start, seconds, options)
    title = "given controls"
    if controls is None:
        run = METHODS["l_bfgs_b"](task, np.zeros(task.dim), evaluations, Models("", ""))
        controls, title = run.points[-1], f"L-BFGS, {len(run.losses)} evaluations"
    fits = controls.shape == (task.dim,)
    require(fits, f"controls must be {task.dim} numbers, got {controls.shape}")
    states = task.states(controls)
    if states is None:
        raise ValueError("the motion of these controls overflows")
    motion = task.sites_of(states)
    return Shown(task.reference, motion, len(motion) / seconds, title)


def main(
    source: str,
    out: Path,
    start: float,
    seconds: float,
    controls: Path | None,
    options: PhysicsOptions,
    evaluations: int,
    say: Callable[[str], None],
) -> int:
    """Draws a clip's reconstruction, or a cell of the benchmark; 0.

    Args:
      source: a clip's name or a cell's path. out: .gif, .mp4 or .png.
      start, seconds: of the window in the clip. options: of its loss.
      controls: an .npz with `controls` `[N]` to be shown, or None: what L-BFGS finds.
      evaluations: that it may make. say: takes a line of text.

    Raises:
      ValueError: in one line: a mistake in the arguments.
    """
    render.check_path(out)
    if source in CLIPS:
        given = None if controls is None else read_controls(controls, "", "controls", "x")
        shown = of_clip(source, start, seconds, options, evaluations, given)
    else:
        there = path_of(source, "source").is_file()
        require(there, f"{source}: neither a clip ({', '.join(CLIPS)}) nor a file")
        shown = of_cell(Path(source))
    pictures = render.frames(shown.reference, shown.motion, humanoid(), shown.rate, shown.title)
    say(f"wrote {render.save(pictures, out, shown.rate)}")
    return 0
