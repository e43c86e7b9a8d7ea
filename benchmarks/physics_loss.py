"""Milliseconds per loss and gradient of the physics loss, one thread, side by side in one run.

    python -m benchmarks.physics_loss [--seconds 0.25 1.0] [--repeats 40]

Rows: the generated gradient (where it is built), the plain CppAD tape, the forward pass alone, and
the TensorFlow door (where TensorFlow is installed). Figures are medians; every round times each row
once, so that a drift of the machine's speed hits all of them. Ratios are against the forward pass.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import time
from collections.abc import Callable

import numpy as np

from workers.physics.loss import PhysicsLoss, PhysicsOptions, humanoid, window_spec
from workers.physics.model import model_text
from workers.physics.simulator import Simulator


def rows(seconds: float, dt: float) -> dict[str, Callable[[np.ndarray], object]]:
    """Named evaluations of the first window of `walk`."""
    options = PhysicsOptions(dt=dt)
    found: dict[str, Callable[[np.ndarray], object]] = {}
    for name, fast in (("generated", True), ("tape", False)):
        simulator = Simulator(model_text(humanoid()), dt, options.control, fast=fast)
        if simulator.fast == fast:
            window = simulator.window(window_spec("walk", 0.0, seconds, options, simulator))
            found[name] = window.loss_and_grad
            found["forward"] = window.loss
    if importlib.util.find_spec("tensorflow"):
        loss = PhysicsLoss("walk", 0.0, seconds, options, door="tensorflow")
        found["tensorflow door"] = functools.partial(loss.evaluate)
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.25, 1.0])
    parser.add_argument("--dt", type=float, default=1 / 120, help="simulation step, s")
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    for seconds in arguments.seconds:
        table = rows(seconds, arguments.dt)
        size = PhysicsLoss("walk", 0.0, seconds, PhysicsOptions(dt=arguments.dt)).dim
        inputs = np.random.default_rng(0).normal(0.0, 0.1, (arguments.repeats + 2, size))
        times: dict[str, list[float]] = {name: [] for name in table}
        for x in inputs:
            for name, evaluate in table.items():
                began = time.perf_counter()
                evaluate(x)
                times[name].append(1e3 * (time.perf_counter() - began))
        medians = {name: float(np.median(values[2:])) for name, values in times.items()}
        print(f"{seconds:g} s of motion, dt 1/{1 / arguments.dt:.0f} s, N = {size}")
        for name, median in sorted(medians.items(), key=lambda item: item[1]):
            print(f"  {name:<16} {median:8.3f} ms   {median / medians['forward']:6.2f} x forward")


if __name__ == "__main__":
    main()
