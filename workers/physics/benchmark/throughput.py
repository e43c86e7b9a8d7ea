"""`optimus bench throughput --loss physics`: milliseconds per loss and gradient, and threads.

    OUT/physics.csv           a row per (dt, row): wall milliseconds on one thread
    OUT/physics_threads.csv   a row per (dt, gradient, threads): evaluations a second, batch call
    OUT/physics.md            both as tables, and the machine

Rows: the generated gradient (where it is built), the one-step CppAD tape, both also with every
term of the loss, the forward pass alone, the TensorFlow backend (where it is installed). Every
round takes one new x and times each row once, so a drift of the machine's speed falls on all of
them; a ratio is the median of the ratios within rounds. Two rounds more come first, not counted.
"""

import importlib.util
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import TimeElapsedColumn

from optimus.bench import cores, printer, progress_bar
from optimus.bench.storage import markdown_table, write_csv
from optimus.errors import require, require_size
from optimus.rundir.checkpoint import write_atomically
from workers.physics.benchmark.report import six_digits
from workers.physics.build import how_to_build
from workers.physics.loss import PhysicsLoss, PhysicsOptions, humanoid, window_spec
from workers.physics.model import model_text
from workers.physics.simulation import Camera, Simulator, Window, loss_and_grad_batch

CLIP = "walk"  # from its start
TIME_STEPS = (1 / 120, 1 / 240)  # s
WARM_ROUNDS = 2
CAMERA = Camera.looking_at((4.0, 1.0, 1.2), (0.0, 0.0, 1.0), 1000.0, (500.0, 500.0))
EVERY_TERM: dict[str, Any] = {"weight_root": 10.0, "weight_com": 10.0, "weight_velocity": 0.1}
EVERY_TERM |= {"weight_limit": 1.0, "weight_smoothness": 0.1}
EVERY_TERM |= {"weight_reprojection": 1e-4, "camera": CAMERA}

Evaluate = Callable[[np.ndarray], object]
Row = dict[str, Any]
Call = tuple[str, int]  # of a batch: gradient, threads
Key = TypeVar("Key", str, Call)


@dataclass(frozen=True, eq=False)
class Bench:
    """What is timed at one time step.

    size: N. rows: evaluations of one x [N] by name, `forward` among them. windows: by gradient
    ("generated", "tape"), as many windows as a batch holds. left_out: rows that are not there, why.
    """

    size: int
    rows: dict[str, Evaluate]
    windows: dict[str, list[Window]]
    left_out: tuple[str, ...]


def build(seconds: float, dt: float, batch: int) -> Bench:
    """ValueError, one line, when `seconds` does not fit the clip or the time step."""
    options = PhysicsOptions(dt=dt)
    every = PhysicsOptions(dt=dt, **EVERY_TERM)
    rows: dict[str, Evaluate] = {}
    windows: dict[str, list[Window]] = {}
    left_out = []
    for name, fast in (("generated", True), ("tape", False)):
        simulator = Simulator(model_text(humanoid()), dt, options.control, fast=fast)
        if simulator.fast != fast:
            left_out.append(f"generated: not built; {how_to_build('--fast')}")
            continue
        spec = window_spec(CLIP, 0.0, seconds, options, simulator)
        full = simulator.window(window_spec(CLIP, 0.0, seconds, every, simulator))
        windows[name] = [simulator.window(spec) for _ in range(batch)]
        rows["forward"] = windows[name][0].loss
        rows[name] = windows[name][0].loss_and_grad
        rows[f"{name}, all terms"] = full.loss_and_grad
    if importlib.util.find_spec("tensorflow"):
        loss = PhysicsLoss(CLIP, 0.0, seconds, options, backend="tensorflow")
        rows["tensorflow backend"] = loss.evaluate
    else:
        left_out.append("tensorflow backend: tensorflow is not installed")
    return Bench(windows["tape"][0].dim, rows, windows, tuple(left_out))


def one_thread(bench: Bench, repeats: int) -> Iterator[dict[str, float]]:
    """Seconds of each row, round after round."""
    for x in np.random.default_rng(0).normal(0.0, 0.1, (repeats, bench.size)):
        yield {name: _seconds(evaluate, x) for name, evaluate in bench.rows.items()}


def batches(bench: Bench, counts: Sequence[int], repeats: int) -> Iterator[dict[Call, float]]:
    """Seconds of a batch call, by (gradient, threads), round after round; the order alternates."""
    random = np.random.default_rng(1)
    for number in range(repeats):
        taken = {}
        for name, windows in bench.windows.items():
            x = random.normal(0.0, 0.1, (len(windows), bench.size))
            for count in counts if number % 2 == 0 else counts[::-1]:
                taken[name, count] = _seconds(loss_and_grad_batch, windows, x, count)
        yield taken


def _seconds(function: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def measure(
    seconds: float, dt: float, counts: Sequence[int], repeats: int, advance: Callable[[], None]
) -> tuple[list[Row], list[Row], tuple[str, ...]]:
    """(rows of one thread, rows of threads, what is left out) at one time step.

    Args:
      seconds: of motion. dt: s. counts: threads of a batch call. repeats: rounds that count.
      advance: called after each round.
    """
    size, rounds = 4 * max(counts), repeats + WARM_ROUNDS
    bench = build(seconds, dt, size)

    def taken(samples: Iterable[dict[Key, float]]) -> dict[Key, np.ndarray]:
        """Seconds `[rounds]` of what is timed in each round, without the first ones."""
        found = []
        for each in samples:
            found.append(each)
            advance()
        return {key: np.array([each[key] for each in found[WARM_ROUNDS:]]) for key in found[0]}

    times = taken(one_thread(bench, rounds))
    calls = taken(batches(bench, counts, rounds))
    fixed = {"steps_per_s": round(1 / dt), "motion_s": seconds, "N": bench.size}
    alone, together = [], []
    for name, values in times.items():
        ratio = float(np.median(values / times["forward"]))
        row = {**fixed, "row": name, **spread("ms", 1e3 * values), "times_forward": ratio}
        alone.append(row | {"rounds": repeats})
    for name, count in itertools.product(bench.windows, counts):
        row = {**fixed, "gradient": name, "threads": count, "batch": size}
        row |= spread("per_s", size / calls[name, count])
        row |= spread("times_first", calls[name, counts[0]] / calls[name, count])
        together.append(row | {"rounds": repeats})
    return alone, together, bench.left_out


def spread(name: str, values: np.ndarray) -> Row:
    """Median and the 10 % and 90 % quantiles of values `[rounds]`, as columns."""
    low, middle, high = (float(value) for value in np.quantile(values, (0.1, 0.5, 0.9)))
    return {name: middle, f"{name}_q10": low, f"{name}_q90": high}


def _text(alone: list[Row], together: list[Row], left_out: Sequence[str], machine: str) -> str:
    """What `physics.md` says."""
    first = alone[0]
    speeds, calls = [], []
    for row in sorted(alone, key=lambda row: (row["steps_per_s"], row["ms"])):
        speed = {"dt": f"1/{row['steps_per_s']}", "row": row["row"]}
        speed["wall ms"] = _range(row, "ms", 3)
        speeds.append(speed | {"times forward": f"{row['times_forward']:.2f}"})
    for row in together:
        call = {"dt": f"1/{row['steps_per_s']}", **{k: row[k] for k in ("gradient", "threads")}}
        call["evaluations a second"] = _range(row, "per_s", 1)
        call[f"times {together[0]['threads']} thread(s)"] = _range(row, "times_first", 2)
        calls.append(call)
    lines = [
        "# Throughput of the physics loss",
        "",
        f"{first['motion_s']:g} s of motion, N = {first['N']}, PD control, one window of `walk`.",
        f"{machine}.",
        f"Medians [10 % to 90 %] of {first['rounds']} interleaved rounds; ratios are medians of "
        "the ratios within rounds.",
        "",
        "## Loss and gradient, one thread",
        "",
        *markdown_table(speeds),
        "",
        f"## Batches of {together[0]['batch']} windows in one call",
        "",
        *markdown_table(calls),
    ]
    lines += ["", *(f"* left out: {reason}" for reason in left_out)] if left_out else []
    return "\n".join(lines) + "\n"


def _range(row: Row, name: str, digits: int) -> str:
    low, high = row[f"{name}_q10"], row[f"{name}_q90"]
    return f"{row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def thread_counts(text: str) -> tuple[int, ...]:
    """ "1,2" -> (1, 2); ValueError when one is not a whole number of at least 1."""
    try:
        counts = tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        counts = ()
    whole = bool(counts) and min(counts) >= 1
    require(whole, f"threads must be whole numbers of at least 1 with commas: {text!r}")
    require_size(max(counts), "threads", 1, 4096)
    return counts


def main(
    seconds: float, repeats: int, threads: str, out: Path, console: Console | None = None
) -> int:
    """Measures and writes the tables; 0.

    Args:
      seconds: of motion. repeats: rounds. threads: as `thread_counts` reads them.
      out: folder. console: where to say what happens.

    Raises:
      ValueError: in one line: a mistake in the arguments.
    """
    console = console or Console(stderr=True)
    counts = thread_counts(threads)
    require_size(repeats, "repeats", 1, 10**5)
    load = os.getloadavg()[0]
    alone: list[Row] = []
    together: list[Row] = []
    left_out: dict[str, None] = {}
    with progress_bar(console, TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=2 * len(TIME_STEPS) * (repeats + WARM_ROUNDS))
        for dt in TIME_STEPS:
            bar.update(task, description=f"dt 1/{1 / dt:.0f} s")
            rows, more, missing = measure(seconds, dt, counts, repeats, lambda: bar.advance(task))
            alone, together = alone + rows, together + more
            left_out |= dict.fromkeys(missing)
    loads = f"load average {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
    python = f"{cores()} visible cores, Python {platform.python_version()}"
    machine = f"{platform.machine()}, {python}; {loads}"
    text = _text(alone, together, tuple(left_out), machine)
    say = printer(console)
    for reason in left_out:
        say(f"left out: {reason}")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "physics.md", text)
    say(f"wrote {write_csv(out / 'physics.csv', six_digits(alone))}")
    say(f"wrote {write_csv(out / 'physics_threads.csv', six_digits(together))}")
    say(f"wrote {out / 'physics.md'}\n\n{text}")
    return 0
