"""Bias, variance and cost of every meta-gradient estimator, on a toy with a known gradient.

The toy: x <- x - eta f'(x) + b theta with f = ||x||^2 / 2, that is x <- a x + b theta with a = 1 -
eta, elementwise in R^3; 20 steps in windows of 5, loss ||x - target||^2 after each step. The value
is quadratic in what every window sees, so antithetic differences are exact directional derivatives
and the distance of a mean estimate from the gradient is bias.

    python -m benchmarks.estimators [--episodes 20000]

Prints a table: bias as a share of the gradient's length (with the standard error of its
measurement), root mean square deviation of one episode's estimate likewise, and the cost of one
episode: loss evaluations, and inner steps that are run backwards.
"""

import argparse
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.meta.estimators import BY_NAME

ETA, B = 0.1, 0.3
THETA = np.array([0.5, -1.0, 2.0], np.float32)
START = np.array([1.0, -2.0, 0.5], np.float32)
TARGET = np.array([-1.0, 0.5, 3.0], np.float32)
HORIZON, WINDOW, SIGMA = 20, 5, 0.1
ROWS = (
    ("full_es", 0),
    ("truncated_es", 0),
    ("pes", 0),
    ("nres", 0),
    ("bptt", 1),
    ("bptt", 2),
    ("pes_pathwise", 1),
    ("pes_pathwise", 2),
    ("nres_pathwise", 1),
    ("nres_pathwise", 2),
)  # estimator, order


def exact_gradient(held: bool = False, window: int = HORIZON) -> np.ndarray:
    """d/dtheta of the mean over all steps of the loss.

    Args:
      held: the inner gradient is a constant (order 1).
      window: what happened before the window of so many steps counts as constant.
    """
    x, sensitivity, gradient = START.astype(float), np.zeros(3), np.zeros(3)
    for step in range(HORIZON):
        if step % window == 0:
            sensitivity = np.zeros(3)
        x = (1 - ETA) * x + B * THETA
        sensitivity = (1.0 if held else 1 - ETA) * sensitivity + B
        gradient += 2.0 * (x - TARGET) * sensitivity / HORIZON
    return gradient


def unroll(theta: jax.Array, x: jax.Array, steps: int, order: int) -> tuple[jax.Array, jax.Array]:
    """Mean loss `[...]` of a window from x `[..., 3]` at theta `[..., 3]`, and the new x."""
    total = jnp.zeros(x.shape[:-1])
    for _ in range(steps):
        gradient = jax.grad(lambda at: 0.5 * jnp.sum(jnp.square(at)))(x)
        if order < 2:
            gradient = jax.lax.stop_gradient(gradient)
        x = x - ETA * gradient + B * theta
        total += jnp.sum(jnp.square(x - TARGET), axis=-1) / steps
    return total, x


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def estimates(kind: str, order: int, episodes: int, key: jax.Array) -> jax.Array:
    """One estimate per episode, mean over its windows: `[episodes, 3]`."""
    steps = HORIZON if kind == "full_es" else WINDOW
    signs = np.array([0.0] if kind == "bptt" else [1.0, -1.0], np.float32)[:, None]
    x = jnp.broadcast_to(START, (episodes, len(signs), 3))
    noise = SIGMA * jax.random.normal(key, (episodes, 3))
    credit: Any = jnp.zeros((episodes, 3))
    total = jnp.zeros((episodes, 3))

    def window(theta: jax.Array, x: jax.Array) -> Any:
        losses, after = unroll(theta, x, steps, order)
        return jnp.sum(losses), (losses, after)

    strategy = BY_NAME[kind]
    for index in range(HORIZON // steps):
        before = credit
        if kind != "bptt":
            if strategy.fresh_each_window:
                noise = SIGMA * jax.random.normal(jax.random.fold_in(key, index), (episodes, 3))
            credit = strategy.advance(None if index == 0 else before, noise)
        theta = THETA + signs * noise[:, None]
        gradient, (losses, x) = jax.grad(window, has_aux=True)(theta, x)
        gradient = jnp.mean(gradient, axis=1) if order else jnp.zeros((episodes, 3))
        total += gradient
        if kind != "bptt":
            difference = losses[:, 0] - losses[:, 1]
            weights = strategy.weights(difference, noise, gradient, SIGMA)
            total += weights[:, None] * strategy.credit(before, credit)
    return total / (HORIZON // steps)


def row(kind: str, order: int, episodes: int) -> dict[str, Any]:
    """One line of the table."""
    found = np.asarray(estimates(kind, order, episodes, jax.random.PRNGKey(0)), np.float64)
    exact = exact_gradient()
    length = np.linalg.norm(exact)
    signs = 1 if kind == "bptt" else 2
    return {
        "estimator": kind,
        "order": order or "-",
        "bias": np.linalg.norm(found.mean(axis=0) - exact) / length,
        "error": np.linalg.norm(found.std(axis=0, ddof=1)) / length / episodes**0.5,
        "deviation": np.linalg.norm(found.std(axis=0, ddof=1)) / length,
        "evaluations": signs * HORIZON,
        "backward": signs * HORIZON if order else 0,
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=20_000)
    episodes = parser.parse_args().episodes
    print("| estimator | order | bias | ± | deviation | evaluations | backward steps |")
    print("|---|---|---|---|---|---|---|")
    for kind, order in ROWS:
        line = row(kind, order, episodes)
        print(
            f"| {line['estimator']} | {line['order']} | {line['bias']:.3f} | {line['error']:.3f} | "
            f"{line['deviation']:.2f} | {line['evaluations']} | {line['backward']} |"
        )


if __name__ == "__main__":
    main()
