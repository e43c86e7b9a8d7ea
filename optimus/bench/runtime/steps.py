"""What `bench runtime` times: one step of the learned optimizer, of BFGS, of L-BFGS.

A `Timed` is built once per N, compiled apart, then sampled again and again. A sample is the mean
seconds per step and trajectory over a few calls; the function minimised is never in it.
"""

import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from optimus.bench.methods import bfgs_quadratic
from optimus.bench.runtime.timing import Timed, clocked, compiled_with_seconds, flops_of
from optimus.model.config import PAPER, OptimizerConfig
from optimus.model.optimizer import init_params, init_state, update
from optimus.problems import presets

Form = Literal["call", "scan", "vmap"]
MODELS: Mapping[str, OptimizerConfig] = {
    "optimus": PAPER,
    "optimus_small": dataclasses.replace(PAPER, dim=32, encoders=2),
    "optimus_tiny": dataclasses.replace(PAPER, dim=16, encoders=1),
}
SCAN_STEPS = 20
LANES = 64
GEMM = 1024
REFERENCE = "scipy_bfgs_iteration"


def _pair(dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, s, y) of a convex quadratic."""
    random = np.random.default_rng(0)
    s = random.standard_normal(dim)
    return np.eye(dim), s, s * random.uniform(1, 10, dim)


def cubic_update(inverse: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """BFGS's new inverse Hessian `[N, N]` as SciPy forms it, by two products of such matrices."""
    identity, rho = np.eye(s.size), 1 / (y @ s)
    left = identity - s[:, np.newaxis] * y[np.newaxis, :] * rho
    right = identity - y[:, np.newaxis] * s[np.newaxis, :] * rho
    outer = rho * s[:, np.newaxis] * s[np.newaxis, :]
    return np.dot(left, np.dot(inverse, right)) + outer


def scipy_update(dim: int) -> Timed:
    """SciPy's update of the inverse Hessian alone."""
    inverse, s, y = _pair(dim)
    flops = 4.0 * dim**3 + 8.0 * dim**2
    return Timed(lambda: clocked(lambda: cubic_update(inverse, s, y)), 1, 0.0, flops)


def quadratic_update(dim: int) -> Timed:
    """The same update multiplied out, `methods.bfgs_quadratic`."""
    inverse, s, y = _pair(dim)
    # In place: a fixed point of the update.
    update_once = functools.partial(bfgs_quadratic.update_inverse, inverse, s, y)
    return Timed(lambda: clocked(update_once), 1, 0.0, 5.0 * dim**2)


def scipy_iteration(dim: int, method: Literal["BFGS", "L-BFGS-B"]) -> Timed:
    """A whole iteration of `scipy.optimize.minimize` on Rosenbrock, time in the function taken out.

    The start is that of the benchmark; up to 50 iterations up to N = 100, else 10.
    """
    iterations = 50 if dim <= 100 else 10
    x0 = presets.problem("paper", "rosenbrock", dim, 0, 0).x0.astype(np.float64)
    inside = 0.0

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal inside
        started = time.perf_counter()
        result = scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)
        inside += time.perf_counter() - started
        return result

    def minimise() -> tuple[float, int]:
        nonlocal inside
        inside = 0.0
        started = time.perf_counter()
        given = {"jac": True, "method": method, "options": {"maxiter": iterations}}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = scipy.optimize.minimize(value_and_gradient, x0, **given)
        return time.perf_counter() - started - inside, found.nit

    done = max(minimise()[1], 1)
    flops = 4.0 * dim**3 + 10.0 * dim**2 if method == "BFGS" else 4.0 * 10 * dim
    return Timed(lambda: minimise()[0], done, 0.0, flops)


def learned(config: OptimizerConfig, dim: int, form: Form) -> Timed:
    """`form` "call": a jitted update per step, dispatch included, the weights compiled in as in
    `optimus.minimize`; "scan": steps inside one compiled loop; "vmap": `LANES` trajectories at
    once, one set of weights, per trajectory."""
    x = jax.random.uniform(jax.random.PRNGKey(1), (dim,), minval=-10.0, maxval=10.0)
    params = init_params(config, jax.random.PRNGKey(0))
    state, gradient = init_state(config, x), 2.0 * x
    step = functools.partial(update, config)
    inside = functools.partial(step, jax.tree_util.tree_map(np.asarray, params))
    one, seconds = compiled_with_seconds(inside, state, x, gradient)
    flops = flops_of(one)  # of the single step: XLA counts a loop's body once
    if form == "call":
        # Through jit, whose dispatch is quicker than that of a program compiled ahead of time.
        call = jax.jit(inside)
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
    states, slopes = jax.vmap(functools.partial(init_state, config))(xs), 2.0 * xs
    return Timed(lambda: clocked(lambda: many(params, states, xs, slopes)), LANES, seconds, flops)


def gemm() -> Timed:
    """A float32 product of `GEMM`³, the yardstick of the floor."""
    matrix = jax.random.normal(jax.random.PRNGKey(0), (GEMM, GEMM), jnp.float32)
    compiled, seconds = compiled_with_seconds(jnp.matmul, matrix, matrix)
    return Timed(lambda: clocked(lambda: compiled(matrix, matrix)), 1, seconds, 2.0 * GEMM**3)


Builders = Mapping[str, Callable[[int], Timed]]  # by name: N -> what is timed
BUILDERS: Builders = {
    REFERENCE: functools.partial(scipy_iteration, method="BFGS"),
    "scipy_bfgs_update": scipy_update,
    "quadratic_bfgs_update": quadratic_update,
    "l_bfgs_b_iteration": functools.partial(scipy_iteration, method="L-BFGS-B"),
    **{
        f"{name}_{form}": functools.partial(learned, config, form=form)
        for name, config in MODELS.items()
        for form in get_args(Form)
    },
}
