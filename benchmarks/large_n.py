"""Time and peak memory of one optimizer step at large N, each measurement in a fresh process.

The linear-cost form: attention "inducing" and a factored B, otherwise `PLUS`. One call of the
jitted update on given data, after one that compiles; memory is the process' peak resident set,
beside what it was before the program was compiled (Python, JAX). Peak memory is Linux's VmHWM.

    taskset -c 0 python -m benchmarks.large_n
    taskset -c 0 python -m benchmarks.large_n --sizes 10000,32,2 100000,128,3 --rank 10
"""

import argparse
import dataclasses
import functools
import json
import statistics
import subprocess
import sys
import time

from benchmarks.optimizer_step import parse_size

DEFAULT_SIZES = tuple(
    f"{n},{form}" for form in ("32,2", "128,3") for n in (10_000, 30_000, 100_000)
)


def peak_megabytes() -> float:
    """Peak resident set of this process so far."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(coordinates: int, dim: int, encoders: int, rank: int, repeats: int) -> None:
    """Prints the figures of one size as JSON."""
    import jax

    from optimus.model.config import PLUS
    from optimus.model.optimizer import init_params, init_state, update

    config = dataclasses.replace(PLUS, dim=dim, encoders=encoders, attention="inducing", rank=rank)
    x = jax.random.uniform(jax.random.PRNGKey(0), (coordinates,), minval=-10.0, maxval=10.0)
    params = jax.jit(functools.partial(init_params, config))(jax.random.PRNGKey(1))
    state = jax.block_until_ready(init_state(config, x))
    before = peak_megabytes()
    # The old state is dead after a step, so its memory may be used again.
    step = jax.jit(functools.partial(update, config), donate_argnums=1)
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        moved, state = jax.block_until_ready(step(params, state, x, x))
        seconds.append(time.perf_counter() - start)
    assert bool(jax.numpy.isfinite(moved).all())
    figures = {
        "seconds": statistics.median(seconds[1:]),
        "peak_mb": peak_megabytes(),
        "before_mb": before,
        "state_mb": sum(leaf.nbytes for leaf in state) / 2**20,
    }
    print(json.dumps(figures))


def main() -> None:
    """Prints one line per size."""
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
    parser.add_argument("--rank", type=int, default=10, help="steps that B remembers (default 10)")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls (default 5)")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        measure(*options.sizes[0], options.rank, options.repeats)
        return
    print(f"{'N':>7} {'D':>4} {'L':>2} {'s/step':>8} {'peak MB':>8} {'before':>7} {'state':>7}")
    for size in options.sizes:
        text = ",".join(map(str, size))
        command = [sys.executable, "-m", "benchmarks.large_n", "--alone", "--sizes", text]
        command += ["--rank", str(options.rank), "--repeats", str(options.repeats)]
        output = subprocess.check_output(command, text=True, timeout=1800)
        found = json.loads(output)
        print(
            f"{size[0]:7} {size[1]:4} {size[2]:2} {found['seconds']:8.3f} {found['peak_mb']:8.0f} "
            f"{found['before_mb']:7.0f} {found['state_mb']:7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
