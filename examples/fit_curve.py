"""Fit a damped oscillation to noisy measurements.

python examples/fit_curve.py
"""

import jax.numpy as jnp
import numpy as np

import optimus

NAMES = ("amplitude", "decay", "frequency", "phase")
TRUTH = np.array([2.0, 0.4, 3.0, 0.5])


def model(parameters, t):
    """The curve at times t [T]."""
    amplitude, decay, frequency, phase = parameters
    return amplitude * jnp.exp(-decay * t) * jnp.cos(frequency * t + phase)


times = np.linspace(0.0, 6.0, 80)
measured = model(TRUTH, times) + 0.05 * np.random.default_rng(1).normal(size=times.size)


def loss(parameters):
    """Half the sum of squared residuals."""
    return 0.5 * jnp.sum((model(parameters, times) - measured) ** 2)


result = optimus.minimize(loss, x0=[1.0, 1.0, 2.5, 0.0])
print(f"loss {result.history[0]:.3f} -> {result.fun:.3f} in {result.nfev} evaluations")
for name, found, truth in zip(NAMES, result.x, TRUTH):
    print(f"{name:10s} {found:7.3f}   (true {truth:.1f})")
