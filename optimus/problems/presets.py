"""Benchmark problems: a preset, a function, a dimension, a seed and a start decide one of them.

`paper` reproduces Table 4 with its slips, `fair-shift` and `fair-rotate` take the centre of the
start box away from the optimum (fact sheet `benchmark.md`, sections 2, 3, 8, 10 and 11). All are
wrappers around the true functions of `optimus.problems.functions`.

    problem = presets.problem("paper", "rosenbrock", dim=100, seed=0, start=0)
    problem.value(problem.x0)         # what the table would print if nothing were optimised

What the paper's protocol does, and this preset with it:
  * z0 ~ U[-10, 10]^d for every function, whatever its own domain; the optimum is not shifted.
  * x = s z with s = 0.512 (Sphere), 6.5536 (Rotated Hyper-Ellipsoid), 0.1 (Sum of Powers).
  * float32 objective and gradient.
  * slip: Levy's inner sum runs to d instead of d − 1.
  * slip: Perm is Sum of Squares (all printed columns but two cells are identical).
  * slip: Trid subtracts the minimum of dimension d + 1, so nothing gets below d(d+3)/2.
  * Trid's sums are added in pairs: float32 rounding of the value is what stops BFGS from 250
    dimensions on, and with XLA's order on a CPU it stops well above the print.
  * Powell with d no multiple of 4 has real extra coordinates: 2 means 4, 10 means 12.

The fair presets shift the optimum by U(-5, 5)^N, half of the start box; the true Perm, which starts
in U(-1, 1)^N, by U(-0.5, 0.5)^N for the same reason, Sum of Powers by U(-2, 2)^N.
Best-so-far as the reported value, and 199 updates for 200 evaluations, are the rivals' part.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import zlib
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.problems.functions import FUNCTIONS, function
from optimus.problems.paper_formulas import Objective as Objective
from optimus.problems.paper_formulas import objective_of
from optimus.problems.preset_rules import PRESETS as PRESETS
from optimus.problems.preset_rules import SCALES as SCALES
from optimus.problems.preset_rules import TUNING_START as TUNING_START
from optimus.problems.preset_rules import Preset as Preset
from optimus.problems.preset_rules import dimension as dimension
from optimus.problems.preset_rules import preset as preset
from optimus.problems.preset_rules import revision as revision
from optimus.problems.preset_rules import shift_half_width, size, start_half_width

Data = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Problem:
    """One minimisation problem, with what is known of it.

    Attributes:
      preset, function, dim, seed, start: what decides it; `dim` is the table's, N may be larger
        (Powell under `paper`).
      x0: start `[N]` of the preset's dtype.
      box: (low, high) of every coordinate of the start.
      objective: (data, x `[N]`) -> reported value: f minus `f_star`. The same object for all
        problems of one (preset, function, dim), so that compiled code is shared.
      data: shift `[N]` and rotation `[N, N]` where the preset has them.
      f_star: what is subtracted: the minimum of f, or the paper's idea of it (Trid).
      minimum: least reported value: 0, or d(d+3)/2 for the paper's Trid.
      minimiser: float64 `[N]` where it is taken.
      floor: reported values below minimum + floor count as equal to the minimum.
    """

    preset: str
    function: str
    dim: int
    seed: int
    start: int
    x0: np.ndarray
    box: tuple[float, float]
    objective: Objective
    data: Data
    f_star: float
    minimum: float
    minimiser: np.ndarray
    floor: float

    def value(self, x: Any) -> jax.Array:
        """Reported value at x `[N]`, in the arithmetic that is on; see `arithmetic`."""
        return self.objective(self.data, jnp.asarray(x))


def arithmetic(dtype: str) -> contextlib.AbstractContextManager[Any]:
    """Context in which JAX computes in "float32" or "float64", whatever is set outside."""
    home = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
    context: contextlib.AbstractContextManager[Any] = home.enable_x64(dtype == "float64")
    return context


def _random(word: str, seed: int, function_name: str, dim: int, start: int) -> np.random.Generator:
    """A stream of its own for every word and problem; the same on every version of JAX."""
    words = [seed, zlib.crc32(word.encode()), zlib.crc32(function_name.encode()), dim, start]
    return np.random.default_rng(np.random.SeedSequence(words))


def _rotation(random: np.random.Generator, size: int) -> np.ndarray:
    """Orthogonal `[N, N]`, uniform (Haar): QR with the signs of R's diagonal taken out."""
    q, r = np.linalg.qr(random.standard_normal((size, size)))
    return q * np.sign(np.diag(r))


def problem(preset_name: str, function_name: str, dim: int, seed: int, start: int) -> Problem:
    """The problem that these five decide.

    Each start has a shift and a rotation of its own. The start itself is the same under every
    preset (for the same N).

    Raises:
      ValueError: unknown names, negative seed or start, a dimension that the preset leaves out.
    """
    chosen, true = preset(preset_name), function(function_name)
    if seed < 0 or start < 0:
        raise ValueError(f"seed and start must not be negative: {seed}, {start}")
    dim = dimension(preset_name, function_name, dim)
    count = size(chosen, function_name, dim)
    half_width = start_half_width(chosen, function_name)
    drawn = functools.partial(
        _random, seed=seed, function_name=function_name, dim=count, start=start
    )
    # Single precision first: float32 and float64 problems start at the same point.
    x0 = drawn("start").uniform(-half_width, half_width, count).astype(np.float32)

    factor = SCALES.get(function_name, 1.0)
    twin = FUNCTIONS["sum_of_squares"] if chosen.slips and function_name == "perm" else true
    minimiser = twin.minimiser(count) / factor
    data: Data = {}
    if chosen.shift:
        most = shift_half_width(chosen, function_name)
        data["shift"] = drawn("shift").uniform(-most, most, count).astype(chosen.dtype)
        minimiser = minimiser + data["shift"]
    if chosen.rotate and function_name != "sum_of_powers":
        data["rotation"] = _rotation(drawn("rotation"), count).astype(chosen.dtype)
        minimiser = data["rotation"].T.astype(np.float64) @ minimiser
    objective, f_star = objective_of(preset_name, function_name, count)
    return Problem(
        preset=preset_name,
        function=function_name,
        dim=dim,
        seed=seed,
        start=start,
        x0=x0.astype(chosen.dtype),
        box=(-half_width, half_width),
        objective=objective,
        data=data,
        f_star=f_star,
        minimum=twin.minimum(count) - f_star,
        minimiser=minimiser,
        floor=max(1e-9, 2.0**-23 * twin.cancelling(count)),
    )
