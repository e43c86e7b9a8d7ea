"""Minimise a JAX function that has many minima: basin-hopping restarts find a lower one.

python examples/minimise_jax.py
"""

import jax
import jax.numpy as jnp
import numpy as np

import optimus


@jax.jit
def rastrigin(x: jax.Array) -> jax.Array:
    """Rastrigin's function around (2, ..., 2): about 10^N minima, the lowest is 0."""
    z = x - 2.0
    return 10.0 * z.size + jnp.sum(z**2 - 10.0 * jnp.cos(2.0 * jnp.pi * z))


start = np.random.default_rng(0).uniform(-5.0, 5.0, size=5)
for restarts in (0, None):  # None: until the budget is spent
    result = optimus.minimize(rastrigin, start, hops=restarts, maxfev=1000, maxiter=1000)
    print(f"{result.hops:3d} restarts, {result.nfev:4d} evaluations: f = {result.fun:.4f}")
print("x =", np.round(result.x, 3))
