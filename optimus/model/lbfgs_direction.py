"""The L-BFGS direction of the last steps, as an input and as a part of the learned step.

What L-BFGS knows of a function it knows from pairs of a step s and the change y of the gradient
over it. The network reads coordinates one at a time and cannot form the inner products of whole
vectors that the two-loop recursion (Nocedal 1980) is made of; so the option `secant` does that for
it. From the last m pairs comes -H g; the network sees it, beside how long it is and how steep, and
decides for every coordinate how much of it is taken (`optimizer.update`). There is no line
search, hence a bound on its length.

All inner products that the recursion needs are those of the 2 m + 1 vectors S, Y and g: one Gram
matrix, after which it runs on coefficients of length 2 m + 1, whatever N is.
"""

import jax
import jax.numpy as jnp

_FLOOR = 1e-8  # a pair is kept where s^T y is above this share of |s| |y|: float32 tells no less
_HIGHEST = jax.lax.Precision.HIGHEST


def init_pairs(count: int, size: int) -> jax.Array:
    """No pairs yet: float32 [2 count, N] zeros, the steps before the changes, oldest first."""
    return jnp.zeros((2 * count, size), jnp.float32)


def remember(pairs: jax.Array, move: jax.Array, change: jax.Array) -> jax.Array:
    """`pairs` with a step [N] and the change of the gradient over it [N] in place of the oldest.

    A pair without positive curvature, or not finite, changes nothing. Each is stored divided by
    the step's largest entry, so that the inner products of tiny steps do not underflow.
    """
    count = pairs.shape[0] // 2
    scale = jnp.max(jnp.abs(move))
    scale = jnp.where(scale > 0.0, scale, 1.0)
    move, change = move / scale, change / scale
    curvature = jnp.vdot(move, change)
    bound = _FLOOR * jnp.sqrt(jnp.vdot(move, move)) * jnp.sqrt(jnp.vdot(change, change))
    # Written so that NaN fails; the square of a change may overflow where the change does not.
    usable = (curvature > bound) & (curvature > 0.0) & (bound < jnp.inf)
    steps, changes = pairs[:count], pairs[count:]
    fresh = jnp.concatenate([steps[1:], move[None], changes[1:], change[None]])
    return jnp.where(usable, fresh, pairs)


def direction(pairs: jax.Array, gradient: jax.Array) -> jax.Array:
    """-H g, float32 [N], with H the L-BFGS inverse Hessian of `pairs`; 0 while there are none."""
    count = pairs.shape[0] // 2
    largest = jnp.max(jnp.abs(gradient))
    scale = jnp.where(largest > 0.0, largest, 1.0)
    basis = jnp.concatenate([pairs, (gradient / scale)[None]])  # S, Y, g
    gram = jnp.dot(basis, basis.T, precision=_HIGHEST)
    curvature = jnp.diagonal(gram[:count, count:-1])
    inverse = jnp.where(curvature > 0.0, 1.0 / jnp.where(curvature > 0.0, curvature, 1.0), 0.0)
    coefficients = jnp.zeros((2 * count + 1,), jnp.float32).at[-1].set(-1.0)
    weights = []
    for index in reversed(range(count)):
        weight = inverse[index] * jnp.dot(gram[index], coefficients)
        weights.append(weight)
        coefficients = coefficients.at[count + index].add(-weight)
    weights.reverse()
    length = gram[2 * count - 1, 2 * count - 1]  # of the newest change, squared
    newest = curvature[-1] / jnp.where(length > 0.0, length, 1.0)
    coefficients = newest * coefficients
    for index in range(count):
        weight = weights[index] - inverse[index] * jnp.dot(gram[count + index], coefficients)
        coefficients = coefficients.at[index].add(weight)
    return scale * jnp.dot(coefficients, basis, precision=_HIGHEST)
