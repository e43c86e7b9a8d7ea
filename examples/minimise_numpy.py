"""Minimise a NumPy function with its gradient, beside SciPy's L-BFGS-B.

python examples/minimise_numpy.py
"""

import numpy as np
import scipy.optimize

import optimus


def energy(x: np.ndarray) -> float:
    """A chain of springs of unit length, hung up at both ends; x holds its heights."""
    stretch = np.sqrt(1.0 + np.diff(x, prepend=0.0, append=0.0) ** 2) - 1.0
    return 500.0 * np.sum(stretch**2) + np.sum(x)


def gradient(x: np.ndarray) -> np.ndarray:
    """Of the energy, [N]."""
    step = np.diff(x, prepend=0.0, append=0.0)
    length = np.sqrt(1.0 + step**2)
    pull = 1000.0 * (length - 1.0) * step / length
    return pull[:-1] - pull[1:] + 1.0


start = np.zeros(30)
learned = optimus.minimize(energy, start, jac=gradient, gtol=1e-3)
options = {"gtol": 1e-3, "ftol": 0.0}
scipys = scipy.optimize.minimize(energy, start, jac=gradient, method="L-BFGS-B", options=options)
print(f"Optimus   energy {learned.fun:.6f} after {learned.nfev} evaluations")
print(f"L-BFGS-B  energy {scipys.fun:.6f} after {scipys.nfev} evaluations")
print(f"lowest point of the chain: {learned.x.min():.4f}")
