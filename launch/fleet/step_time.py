"""Time of one trajectory's Optimus step on one core: what an evaluation is compared with."""

from __future__ import annotations

import functools
import statistics
import time

import jax
import jax.numpy as jnp

from optimus.model import optimizer as opt
from optimus.model.config import OptimizerConfig

_REPEATS = 15


def seconds(n: int, dim: int) -> float:
    """Median seconds of a jitted step at N = n with model width `dim`, compilation apart."""
    if dim == 128:
        config = OptimizerConfig(b_decay=0.9)  # the paper's widths are the defaults
    else:
        config = OptimizerConfig(dim=dim, encoders=2, heads=4, b_decay=0.9)
    params = opt.init_params(config, jax.random.PRNGKey(0))
    x = jnp.zeros(n, jnp.float32)
    state = opt.init_state(config, x)
    step = jax.jit(functools.partial(opt.update, config))
    gradient = jnp.linspace(-1.0, 1.0, n, dtype=jnp.float32)
    times = []
    for _ in range(_REPEATS + 2):
        began = time.perf_counter()
        jax.block_until_ready(step(params, state, x, gradient))
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])
