"""What `bench runtime` times: one step of the learned optimizer, of BFGS, of L-BFGS.

A `Timed` is built once per N, compiled apart, then sampled again and again. A sample is the mean
seconds per step and trajectory over a few calls; the function minimised is never in it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.bench.runtime.baselines import quadratic_update, scipy_iteration, scipy_update
from optimus.bench.runtime.timing import Timed, clocked, compiled_with_seconds, flops_of
from optimus.model.config import PAPER, OptimizerConfig
from optimus.model.optimizer import init_params, init_state, update

MODELS = {
    "optimus": PAPER,
    "optimus_small": dataclasses.replace(PAPER, dim=32, encoders=2),
    "optimus_tiny": dataclasses.replace(PAPER, dim=16, encoders=1),
}
SCAN_STEPS = 20
LANES = 64
GEMM = 1024


def learned(config: OptimizerConfig, dim: int, form: str) -> Timed:
    """`form` "call": a jitted update per step, dispatch included, the weights compiled in as in
    `optimus.minimize`; "scan": steps inside one compiled loop; "vmap": `LANES` trajectories at
    once, one set of weights, per trajectory."""
    x = jax.random.uniform(jax.random.PRNGKey(1), (dim,), minval=-10.0, maxval=10.0)
    params = init_params(config, jax.random.PRNGKey(0))
    state, gradient = init_state(config, x), 2.0 * x
    step = functools.partial(update, config)
    weights_inside = jax.tree_util.tree_map(np.asarray, params)
    one, seconds = compiled_with_seconds(
        functools.partial(step, weights_inside), state, x, gradient
    )
    flops = flops_of(one)  # of the single step: XLA counts a loop's body once
    if form == "call":
        # Through jit, whose dispatch is quicker than that of a program compiled ahead of time.
        call = jax.jit(functools.partial(step, weights_inside))
        jax.block_until_ready(call(state, x, gradient))
        return Timed(lambda: clocked(lambda: call(state, x, gradient)), 1, seconds, flops)
    if form == "scan":

        def unroll(params: Any, state: Any, x: jax.Array) -> Any:
            def body(carry: Any, _: None) -> Any:
                state, x = carry
                move, state = step(params, state, x, 2.0 * x)
                return (state, x + move), None

            return jax.lax.scan(body, (state, x), None, length=SCAN_STEPS)[0]

        many, seconds = compiled_with_seconds(unroll, params, state, x)
        return Timed(lambda: clocked(lambda: many(params, state, x)), SCAN_STEPS, seconds, flops)
    # Checked before anything of that size is made: B alone is 4 N² bytes a lane.
    lanes = jax.eval_shape(lambda leaf: jnp.broadcast_to(leaf, (LANES, *leaf.shape)), x)
    shapes = jax.eval_shape(jax.vmap(functools.partial(init_state, config)), lanes)
    all_lanes = jax.vmap(step, in_axes=(None, 0, 0, 0))
    many, seconds = compiled_with_seconds(all_lanes, params, shapes, lanes, lanes)
    xs = jnp.tile(x, (LANES, 1))
    states, gradients = jax.vmap(functools.partial(init_state, config))(xs), 2.0 * xs
    return Timed(
        lambda: clocked(lambda: many(params, states, xs, gradients)), LANES, seconds, flops
    )


def gemm() -> Timed:
    """A float32 product of `GEMM`³, the yardstick of the floor."""
    matrix = jax.random.normal(jax.random.PRNGKey(0), (GEMM, GEMM), jnp.float32)
    compiled, seconds = compiled_with_seconds(jnp.matmul, matrix, matrix)
    return Timed(lambda: clocked(lambda: compiled(matrix, matrix)), 1, seconds, 2.0 * GEMM**3)


REFERENCE = "scipy_bfgs_iteration"
Build = Callable[[int], Timed]
BUILDERS: dict[str, Build] = {
    REFERENCE: lambda dim: scipy_iteration(dim, "BFGS"),
    "scipy_bfgs_update": scipy_update,
    "quadratic_bfgs_update": quadratic_update,
    "l_bfgs_b_iteration": lambda dim: scipy_iteration(dim, "L-BFGS-B"),
    **{
        f"{name}_{form}": functools.partial(
            lambda dim, config, form: learned(config, dim, form), config=config, form=form
        )
        for name, config in MODELS.items()
        for form in ("call", "scan", "vmap")
    },
}
