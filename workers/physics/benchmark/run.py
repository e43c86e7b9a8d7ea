"""`optimus bench physics`: every method on every window, resumable, then tables and pictures.

OUT/cells/          a file per method and window; what is there is not computed again
OUT/results.csv     a row per method and window at the end of the budget
OUT/curves.csv      a row per method and evaluation: medians and means over the windows
OUT/table.md        a row per method; OUT/curves_*.png against evaluations and time
"""

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import TimeRemainingColumn

from optimus import weights
from optimus.bench import printer, progress_bar
from optimus.bench.figures import drawable
from optimus.bench.methods.models import model_kind
from optimus.errors import require
from optimus.rundir.checkpoint import write_atomically
from workers.physics.benchmark import cells, policy, report
from workers.physics.benchmark.cells import Cell
from workers.physics.benchmark.methods import Models, Unavailable, tune_adam
from workers.physics.benchmark.plan import Settings, cases, tuning_cases
from workers.physics.loss import options_hash
from workers.physics.motion import SPLITS

logger = logging.getLogger(__name__)


@dataclass
class Result:
    """Cells in the order method, window; why methods were left out, and lines of what failed."""

    cells: list[Cell] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    computed: int = 0
    found: int = 0


def run(settings: Settings, out: Path, console: Console) -> Result:
    """Computes what is not there yet. A cell that fails is reported; the others go on.

    Raises:
      ConfigError, WeightsError: weights or a policy that cannot be used.
    """
    windows = cases(settings)
    models = Models(settings.model, settings.adafactor_model, settings.start_model)
    for method in settings.rows:
        chosen = models.used_by(method)
        if chosen is not None:
            held, needed = weights.load(chosen).kind, model_kind(method)
            require(held == needed, f"{method}: {chosen} holds weights of {held}, need {needed}")
    if settings.policy is not None:
        policy.read(settings.policy)
    result = Result()
    with progress_bar(console, TimeRemainingColumn()) as bar:
        progress = bar.add_task("windows", total=len(windows) * len(settings.rows))
        if "adam" in settings.rows:
            rate = _adam_rate(settings, out, lambda text: bar.update(progress, description=text))
            models = dataclasses.replace(models, adam_rate=rate)
        for method in settings.rows:
            for case in windows:
                bar.update(progress, description=f"{method} {case.name}", advance=1)
                if method in result.left_out:
                    continue
                name = cells.name(settings, case, method, models)
                cell = cells.load(out / "cells", name)
                result.found += cell is not None
                try:
                    if cell is None:
                        cell = cells.compute(settings, case, method, models)
                        cells.store(out / "cells", name, cell)
                        result.computed += 1
                    result.cells.append(cell)
                except Unavailable as error:
                    result.left_out[method] = str(error)
                except Exception as error:  # one cell must not take the others with it
                    logger.debug("cell failed: %s %s", method, case.name, exc_info=True)
                    reason = f"{type(error).__name__}: {error}".splitlines()[0]
                    result.failed.append(f"{method} {case.name}: {reason}")
    return result


def _adam_rate(settings: Settings, out: Path, say: report.Say) -> float:
    """Adam's learning rate, chosen once on windows of the train split and kept in a file."""
    chosen = tuning_cases(settings)
    windows = [[case.name, case.seconds] for case in chosen]
    key = [options_hash(settings.options), settings.budget, *windows]
    path = out / "adam.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["key"] == key:
            return float(stored["rate"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or of other settings
    tasks = [case.build(settings.options) for case in chosen]
    rate = tune_adam(tasks, settings.budget, say)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"key": key, "rate": rate}))
    return rate


def main(settings: Settings, out: Path, console: Console | None = None, draw: bool = True) -> int:
    """Runs the benchmark and writes the report; 0, or 1 where a cell failed.

    Args:
      settings: what to run. out: folder. console: where to say what happens.
      draw: whether to draw as well, where matplotlib is installed.
    """
    console = console or Console(stderr=True)
    say = printer(console)
    if settings.split in ("test", "clips"):
        say(f"--split {settings.split} reads the held-out clips: {', '.join(SPLITS['test'])}")
    result = run(settings, out, console)
    for method, reason in result.left_out.items():
        say(f"left out: {method}: {reason}")
    for line in result.failed:
        say(f"failed: {line}")
    if not result.cells:
        say("nothing was computed")
        return 1
    rates = {cell.lr for cell in result.cells if cell.method == "adam"}
    if rates:
        say(f"Adam's learning rate {min(rates):g}, chosen on 4 windows of the train split")
    say(f"{result.computed} cells computed, {result.found} found in {out / 'cells'}")
    for path in report.write(settings, result.cells, out, draw and drawable(say)):
        say(f"wrote {path}")
    say((out / "table.md").read_text(encoding="utf-8").rstrip())
    return 1 if result.failed else 0
