"""The cost of the way back through `ParameterLayout.unflatten` in a supervised meta-update.

The weights are one flat vector; a network reads slices of it. JAX's own derivative of a slice pads
it to the whole vector, one for each of some sixty leaves, and XLA's CPU code for their sum asks for
every entry in which of the sixty it lies. `parameters._unflatten` puts the leaves behind one
another instead. Both are timed on updates of `classical-first` in one process, turn by turn.

    taskset -c 0 python -m benchmarks.meta_update [--sizes 10,20,50] [--rounds 15]

Prints seconds for an update (medians and quartiles) and the median of the ratios of a round.
"""

import argparse
import dataclasses
import statistics
import time

import jax

from launch import configs
from optimus.config import ClassicalTask
from optimus.meta.fused.trainer import Trainer
from optimus.model import parameters


def _slices(layout: parameters.ParameterLayout, vector: jax.Array) -> dict[str, object]:
    return layout._split(vector)


def _trainer(size: int, unflatten: object, cap: float) -> Trainer:
    """A trainer of tasks of one size, compiled with this `unflatten`; `cap` keeps it from taking
    the other's program."""
    config = configs.find("classical-first")
    assert isinstance(config.task, ClassicalTask)
    task = dataclasses.replace(config.task, sizes=(size,))
    score = dataclasses.replace(config.meta_loss, cap=cap)
    trainer = Trainer(dataclasses.replace(config, task=task, meta_loss=score), devices=1)
    own = parameters._unflatten
    parameters._unflatten = unflatten  # type: ignore[assignment]
    try:
        jax.block_until_ready(trainer.update())
    finally:
        parameters._unflatten = own
    return trainer


def _seconds(trainer: Trainer, updates: int = 3) -> float:
    began = time.perf_counter()
    for _ in range(updates):
        jax.block_until_ready(trainer.update())
    return (time.perf_counter() - began) / updates


def _shown(seconds: list[float]) -> str:
    low, middle, high = statistics.quantiles(seconds, n=4)
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10,20,50")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print("| n <= | slices, s an update | one behind the other | ratio |\n|---|---|---|---|")
    for size in map(int, arguments.sizes.split(",")):
        slices = _trainer(size, _slices, 5.0)
        behind = _trainer(size, parameters._unflatten, 5.000001)
        rounds = [(_seconds(slices), _seconds(behind)) for _ in range(arguments.rounds)]
        one, other = ([pair[k] for pair in rounds] for k in (0, 1))
        ratio = statistics.median(a / b for a, b in rounds)
        print(f"| {size} | {_shown(one)} | {_shown(other)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
