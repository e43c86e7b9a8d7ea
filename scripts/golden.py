"""Digests of what the program computes, to hold a change of the code against the code before it.

    python scripts/golden.py > before.json       # then change the code
    python scripts/golden.py --against before.json

One update of each runner, `minimize` on ten functions from fixed starts, one physics loss with its
gradient. A digest changes with the last bit; `--against` prints, for what differs, the largest
relative difference of the numbers. Compare on one machine: other processors round differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

RUNNERS = ("inprocess", "local_mt", "local_mp", "fused")
FUNCTIONS = (
    "ackley",
    "griewank",
    "levy",
    "rastrigin",
    "rosenbrock",
    "sphere",
    "styblinski_tang",
    "sum_of_powers",
    "trid",
    "zakharov",
)


def update_of(runner: str) -> dict[str, np.ndarray]:
    """The arrays of the checkpoint after one update of `smoke`."""
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("optimus")), "train", "smoke"]
        command += ["--launch", runner, "--run-dir", folder, "--set", "updates=1"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
        return dict(load_file(Path(folder) / "checkpoints" / "1" / "state.safetensors"))


def minima() -> dict[str, np.ndarray]:
    """What `minimize` finds on ten functions of ten dimensions, with 100 evaluations each."""
    import optimus

    try:
        from optimus.problems.functions import function
    except ModuleNotFoundError:
        from optimus.functions import function
    found = {}
    for index, name in enumerate(FUNCTIONS):
        x0 = np.random.default_rng(index).uniform(-1.5, 1.5, 10)
        result = optimus.minimize(function(name).value, x0, maxfev=100, hops=2, seed=0)
        found[name] = np.concatenate([result.x, [result.fun, result.nfev]])
    return found


def physics() -> dict[str, np.ndarray]:
    """Loss and gradient of a quarter of a second of walking, at a disturbed initial guess."""
    from workers.physics import PhysicsLoss

    loss = PhysicsLoss("walk", 0.0, 0.25)
    x = loss.initial_guess(0) + 0.1 * np.random.default_rng(0).normal(size=loss.dim)
    value, gradient = loss.value_and_grad(x)[:2]
    return {"value": np.asarray(value), "gradient": np.asarray(gradient)}


def _numbers(arrays: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {k: np.ravel(v).astype(np.float64).tolist() for k, v in arrays.items() if v.size <= 4000}


def measure(kinds: list[str]) -> dict[str, dict[str, object]]:
    """Digest and small arrays of each kind of golden run."""
    found: dict[str, dict[str, object]] = {}
    for kind in kinds:
        arrays = {"minimize": minima, "physics": physics}.get(kind, lambda k=kind: update_of(k))()
        digest = hashlib.sha256()
        for name in sorted(arrays):
            digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
        found[kind] = {"sha256": digest.hexdigest()[:16], "arrays": _numbers(arrays)}
        print(kind, found[kind]["sha256"], file=sys.stderr, flush=True)
    return found


def _difference(one: dict[str, list[float]], other: dict[str, list[float]]) -> str:
    absent = sorted(one.keys() ^ other.keys())
    worst = 0.0
    for name in one.keys() & other.keys():
        a, b = np.array(one[name]), np.array(other[name])
        if a.shape != b.shape:
            absent.append(name)
        elif a.size:
            worst = max(worst, float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), 1e-30)))
    return f"largest relative difference {worst:.3g}; other names: {absent or 'none'}"


def main() -> int:
    """Prints the digests, or what differs from those of a file; 1 where something does."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, help="output of an earlier run")
    parser.add_argument("--kinds", nargs="+", default=[*RUNNERS, "minimize", "physics"])
    options = parser.parse_args()
    found = measure(options.kinds)
    if options.against is None:
        json.dump(found, sys.stdout)
        return 0
    before = json.loads(options.against.read_text())
    code = 0
    for kind in found:
        if found[kind]["sha256"] != before[kind]["sha256"]:
            code = 1
            print(f"{kind}: {_difference(before[kind]['arrays'], found[kind]['arrays'])}")
    print("differs" if code else "the same bits")
    return code


if __name__ == "__main__":
    sys.exit(main())
