"""Milliseconds per lane-step of the learned optimizer.

A lane is one trajectory with meta-parameters of its own, as under PES:
`optimus.model.optimizer.update` vmapped over parameters, states, points and gradients, jitted. The
gradient is given, so the loss costs nothing. Compilation is timed apart; the figure is the median
over repeats of the time of one call divided by the number of lanes. `vmap` computes all lanes at
once, `map` one after the other in one compiled loop, which keeps a lane's arrays in the cache.

    taskset -c 0 python -m benchmarks.optimizer_step --sizes 210,32,2 10,32,2
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

from optimus.model.optimizer import OptimizerConfig, init_params, init_state, update

DEFAULT_SIZES = ("10,32,2", "50,32,2", "210,32,2", "210,128,3")


def parse_size(text: str) -> tuple[int, int, int]:
    """ "210,32,2" to (N, D, L)."""
    try:
        coordinates, dim, encoders = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not N,D,L such as 210,32,2") from None
    return coordinates, dim, encoders


def lane_arguments(config: OptimizerConfig, coordinates: int, lanes: int) -> tuple[Any, ...]:
    """Parameters, states, points and gradients of `lanes` lanes, stacked along axis 0."""
    keys = jax.random.split(jax.random.PRNGKey(0), lanes)
    x = jax.random.uniform(keys[0], (lanes, coordinates), minval=-10.0, maxval=10.0)
    params = jax.vmap(functools.partial(init_params, config))(keys)
    return params, jax.vmap(functools.partial(init_state, config))(x), x, 2.0 * x


def one_after_the_other(step: Callable[..., Any], *lanes: Any) -> Any:
    """`jax.vmap(step)(*lanes)` as a loop."""
    return jax.lax.map(lambda lane: step(*lane), lanes)


def measure(step: Callable[..., Any], arguments: tuple[Any, ...], repeats: int) -> float:
    """Median seconds of one call."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(step(*arguments))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    """Prints one line per size and way of looping over lanes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=parse_size,
        metavar="N,D,L",
        default=[parse_size(size) for size in DEFAULT_SIZES],
    )
    parser.add_argument("--lanes", type=int, default=20, help="trajectories (default 20)")
    parser.add_argument("--repeats", type=int, default=11, help="timed calls (default 11)")
    parser.add_argument("--b-decay", type=float, default=0.9, help="default 0.9")
    options = parser.parse_args()

    print(f"jax {jax.__version__} on {jax.devices()[0]}, {options.lanes} lanes")
    print(f"{'N':>5} {'D':>4} {'L':>2} {'loop':>5} {'ms/lane-step':>13} {'compile s':>10}")
    for coordinates, dim, encoders in options.sizes:
        config = OptimizerConfig(dim=dim, encoders=encoders, b_decay=options.b_decay)
        arguments = lane_arguments(config, coordinates, options.lanes)
        step = functools.partial(update, config)
        loops: dict[str, Callable[..., Any]] = {
            "vmap": jax.vmap(step),
            "map": functools.partial(one_after_the_other, step),
        }
        for name, loop in loops.items():
            start = time.perf_counter()
            compiled = jax.jit(loop).lower(*arguments).compile()
            compile_seconds = time.perf_counter() - start
            jax.block_until_ready(compiled(*arguments))
            milliseconds = 1e3 * measure(compiled, arguments, options.repeats) / options.lanes
            print(
                f"{coordinates:5} {dim:4} {encoders:2} {name:>5} {milliseconds:13.3f} "
                f"{compile_seconds:10.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
