"""Measures weights through `optimus.minimize` and writes the numbers into their card.

Three problems, ten starts each, float64: Rosenbrock's function at N = 10, a rotated quadratic of
condition 1e4 at N = 30, and a chained valley at N = 12 whose variables differ by eight decades.
Each is run bare for 200 evaluations, safeguarded for 200, and by SciPy's L-BFGS-B for 200 (no
tolerances, and with the same x_scale); the figure is the median over starts of the best f - f*.

    python -m benchmarks.check_standin FOLDER_OR_FILE
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize

import optimus
from optimus.weights import LearnedOptimizer

EVALUATIONS, STARTS = 200, 10
Pair = Callable[[np.ndarray], tuple[float, np.ndarray]]


def quadratic() -> Pair:
    """Condition 1e4, random rotation, minimiser in U(-2, 2)."""
    random = np.random.RandomState(0)
    rotation = np.linalg.qr(random.normal(size=(30, 30)))[0]
    matrix = rotation * np.logspace(0, 4, 30) @ rotation.T
    centre = random.uniform(-2, 2, 30)

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = matrix @ (x - centre)
        return 0.5 * float((x - centre) @ gradient), gradient

    return fun


SCALES = 10.0 ** np.linspace(-4, 4, 12)


def badly_scaled(x: np.ndarray) -> tuple[float, np.ndarray]:
    """A chain of valleys in z = x / SCALES - 3."""
    z = x / SCALES - 3.0
    bend = z[1:] - np.square(z[:-1])
    gradient = np.append(2.0 * (z[:-1] - 1.0) - 40.0 * bend * z[:-1], 0.0)
    gradient[1:] += 20.0 * bend
    value = 10.0 * np.sum(np.square(bend)) + np.sum(np.square(z[:-1] - 1.0))
    return float(value), gradient / SCALES


def problems() -> dict[str, tuple[Pair, np.ndarray, Any]]:
    """Name to (value and gradient, starts [STARTS, N], x_scale)."""
    random = np.random.RandomState(1)
    spread = SCALES * random.uniform(-1, 1, (STARTS, 12))
    return {
        "rosenbrock_10": (
            lambda x: (float(scipy.optimize.rosen(x)), scipy.optimize.rosen_der(x)),
            random.uniform(-2, 2, (STARTS, 10)),
            1.0,
        ),
        "quadratic_30_condition_1e4": (quadratic(), random.uniform(-5, 5, (STARTS, 30)), 1.0),
        "badly_scaled_12": (badly_scaled, spread, 1.0),
        "badly_scaled_12_with_x_scale": (badly_scaled, spread, SCALES),
    }


def scipy_best(fun: Pair, start: np.ndarray, x_scale: Any) -> float:
    """Best value among the first EVALUATIONS of L-BFGS-B on x / x_scale."""
    values = []

    def recorded(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = fun(z * x_scale)
        values.append(value)
        return value, gradient * x_scale

    options = {"maxfun": EVALUATIONS, "maxiter": 10**6, "ftol": 0.0, "gtol": 1e-15}
    scipy.optimize.minimize(recorded, start / x_scale, jac=True, method="L-BFGS-B", options=options)
    return min(values[:EVALUATIONS])


def measure(model: LearnedOptimizer) -> dict[str, Any]:
    """The numbers, ready for a card."""
    found: dict[str, Any] = {}
    for name, (fun, starts, x_scale) in problems().items():
        shared = {"jac": True, "model": model, "maxfev": EVALUATIONS, "maxiter": 10**6}
        row: dict[str, Any] = {}
        for guard in ("none", "lbfgs"):
            results = [
                optimus.minimize(
                    fun, start, x_scale=x_scale, safeguard=guard, stop_history=None, **shared
                )
                for start in starts
            ]
            row[f"safeguard_{guard}"] = float(f"{np.median([r.fun for r in results]):.2e}")
            if guard == "lbfgs":
                share = np.mean([result.accepted_share for result in results])
                row["accepted_share"] = round(float(share), 2)
        best = [scipy_best(fun, start, x_scale) for start in starts]
        row["scipy_l_bfgs_b"] = float(f"{np.median(best):.2e}")
        found[name] = row
    return found


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", help="folder or NAME.safetensors")
    options = parser.parse_args()
    model = optimus.load(options.weights)
    measured = measure(model)
    for name, row in measured.items():
        print(name, row)
    kept = ("format", "kind", "architecture", "parameters", "sha256", "libraries")
    card = {key: value for key, value in model.card.items() if key not in kept}
    card["measured"] = {
        "what": f"median over {STARTS} starts of best f - f* within {EVALUATIONS} evaluations "
        "(python -m benchmarks.check_standin)",
        **measured,
    }
    optimus.save(options.weights, model.config, model.params, card)


if __name__ == "__main__":
    main()
