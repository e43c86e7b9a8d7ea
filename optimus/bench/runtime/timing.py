"""How `bench runtime` times a call and compiles a program."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

MEMORY_LIMIT = 4 << 30  # bytes that a compiled program may take; beyond, its row is skipped


class TooLarge(Exception):
    """A row that does not fit; the message says why."""


@dataclass(frozen=True, eq=False)
class Timed:
    """One row of the table.

    Attributes:
      call: does `steps` steps and waits for them; returns the seconds to count.
      steps: steps × trajectories of one call.
      compile_seconds: what compiling took, 0 where nothing is compiled.
      flops: of one step of one trajectory.
    """

    call: Callable[[], float]
    steps: int
    compile_seconds: float
    flops: float

    def sample(self, calls: int = 1) -> float:
        """Seconds per step and trajectory, mean of `calls` calls."""
        return sum(self.call() for _ in range(calls)) / (calls * self.steps)


@contextlib.contextmanager
def compiling_anew() -> Iterator[None]:
    """Context in which nothing comes out of, or goes into, JAX's compilation cache on disk."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX looks at the setting once
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def clocked(function: Callable[[], Any]) -> float:
    """Seconds until the result of a call is there."""
    started = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - started


def compiled_with_seconds(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """(compiled, seconds); raises `TooLarge` beyond `MEMORY_LIMIT`."""
    started = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - started
    sizes = compiled.memory_analysis()
    if sizes is not None:
        parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
        total = sum(getattr(sizes, part) for part in parts)
        if total > MEMORY_LIMIT:
            raise TooLarge(f"{total / 2**30:.1f} GiB, limit {MEMORY_LIMIT / 2**30:.0f} GiB")
    return compiled, seconds


def flops_of(compiled: Any) -> float:
    """XLA's count of a compiled program, NaN where it has none."""
    cost = compiled.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    return float((cost or {}).get("flops", float("nan")))
