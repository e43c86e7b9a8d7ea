"""Milliseconds per loss and gradient of the physics loss, side by side in one run.

    python -m benchmarks.physics_loss [--seconds 0.25 1.0] [--dt 0.00416667] [--repeats 40]
    python -m benchmarks.physics_loss --threads 1 2      # evaluations a second on several threads

Rows of the first table, one thread: the generated gradient (where it is built), the same with every
term of the loss, the plain CppAD tape, the forward pass alone, and the TensorFlow door (where
TensorFlow is installed). Figures are medians; every round times each row once, so that a drift of
the machine's speed hits all of them. Ratios are against the forward pass. The second table times
batches of windows in one call, thread counts in turn; ratios are against the first count.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import time
from collections.abc import Callable

import numpy as np

from workers.physics.loss import PhysicsLoss, PhysicsOptions, humanoid, window_spec
from workers.physics.model import model_text
from workers.physics.simulator import Camera, Simulator, loss_and_grad_batch

CAMERA = Camera.looking_at((4.0, 1.0, 1.2), (0.0, 0.0, 1.0), 1000.0, (500.0, 500.0))
EVERY_TERM = {
    "weight_root": 10.0, "weight_com": 10.0, "weight_velocity": 0.1, "weight_reprojection": 1e-4,
    "weight_limit": 1.0, "weight_smoothness": 0.1, "camera": CAMERA,
}


def rows(seconds: float, dt: float) -> dict[str, Callable[[np.ndarray], object]]:
    """Named evaluations of the first window of `walk`."""
    options = PhysicsOptions(dt=dt)
    every = PhysicsOptions(dt=dt, **EVERY_TERM)  # type: ignore[arg-type]
    found: dict[str, Callable[[np.ndarray], object]] = {}
    for name, fast in (("generated", True), ("tape", False)):
        simulator = Simulator(model_text(humanoid()), dt, options.control, fast=fast)
        if simulator.fast == fast:
            window = simulator.window(window_spec("walk", 0.0, seconds, options, simulator))
            full = simulator.window(window_spec("walk", 0.0, seconds, every, simulator))
            found[name] = window.loss_and_grad
            found[f"{name}, all terms"] = full.loss_and_grad
            found["forward"] = window.loss
    if importlib.util.find_spec("tensorflow"):
        loss = PhysicsLoss("walk", 0.0, seconds, options, door="tensorflow")
        found["tensorflow door"] = functools.partial(loss.evaluate)
    return found


def one_thread(seconds: float, dt: float, repeats: int) -> None:
    """Prints the table of rows."""
    table = rows(seconds, dt)
    size = PhysicsLoss("walk", 0.0, seconds, PhysicsOptions(dt=dt)).dim
    inputs = np.random.default_rng(0).normal(0.0, 0.1, (repeats + 2, size))
    times: dict[str, list[float]] = {name: [] for name in table}
    for x in inputs:
        for name, evaluate in table.items():
            began = time.perf_counter()
            evaluate(x)
            times[name].append(1e3 * (time.perf_counter() - began))
    medians = {name: float(np.median(values[2:])) for name, values in times.items()}
    print(f"{seconds:g} s of motion, dt 1/{1 / dt:.0f} s, N = {size}")
    for name, median in sorted(medians.items(), key=lambda item: item[1]):
        print(f"  {name:<20} {median:8.3f} ms   {median / medians['forward']:6.2f} x forward")


def many_threads(seconds: float, dt: float, counts: list[int], repeats: int) -> None:
    """Prints evaluations a second of one batch call, for each number of threads."""
    for fast in (True, False):
        simulator = Simulator(model_text(humanoid()), dt, "pd", fast=fast)
        if simulator.fast != fast:
            continue
        spec = window_spec("walk", 0.0, seconds, PhysicsOptions(dt=dt), simulator)
        windows = [simulator.window(spec) for _ in range(4 * max(counts))]
        x = np.random.default_rng(0).normal(0.0, 0.1, (len(windows), windows[0].dim))
        times: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(repeats + 2):
            for count in counts:
                began = time.perf_counter()
                loss_and_grad_batch(windows, x, count)
                times[count].append(time.perf_counter() - began)
        speeds = {count: len(windows) / float(np.median(times[count][2:])) for count in counts}
        name = "generated" if fast else "tape"
        print(f"{name}: {seconds:g} s of motion, dt 1/{1 / dt:.0f} s, batches of {len(windows)}, "
              f"{os.cpu_count()} cores")
        for count, speed in speeds.items():
            print(f"  {count:3d} threads {speed:9.1f} evaluations a second   "
                  f"{speed / speeds[counts[0]]:5.2f} x {counts[0]}")


def main() -> None:
    """Prints the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.25, 1.0])
    parser.add_argument("--dt", type=float, default=1 / 240, help="simulation step, s")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts to compare")
    arguments = parser.parse_args()
    for seconds in arguments.seconds:
        if arguments.threads:
            many_threads(seconds, arguments.dt, arguments.threads, arguments.repeats)
        else:
            one_thread(seconds, arguments.dt, arguments.repeats)


if __name__ == "__main__":
    main()
