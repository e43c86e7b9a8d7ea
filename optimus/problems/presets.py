"""Benchmark problems: a preset, a function, a dimension, a seed and a start decide one of them.

`paper` reproduces Table 4 with its slips; `fair-shift` and `fair-rotate` take the centre of the
start box away from the optimum. The true functions are those of `optimus.problems.functions`.

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
Best-so-far as the reported value, and 199 updates for 200 evaluations, are the methods' part.
"""

import contextlib
import functools
import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from optimus.errors import require
from optimus.problems import formulas
from optimus.problems.functions import FUNCTIONS, Value, function

Data = dict[str, np.ndarray]
Dtype = Literal["float32", "float64"]
Objective = Callable[[Any, jax.Array], jax.Array]  # (data, z `[N]`) -> reported value

SLIPS: dict[str, Value] = {  # the paper's, in place of the true functions
    "levy": formulas.levy_to_d,
    "perm": formulas.sum_of_squares,
    "trid": formulas.trid_in_pairs,
}
SCALES = {"sphere": 0.512, "rotated_hyper_ellipsoid": 6.5536, "sum_of_powers": 0.1}
TUNING_START = 1 << 20  # starts from here on are for choosing options, never for results


@dataclass(frozen=True)
class Preset:
    """What holds for every function of a preset.

    Attributes:
      dtype: "float32" or "float64", of objective, gradient and start.
      slips: with the paper's Levy, Perm, Trid and Powell.
      shift: half-width of the box of δ, 0 for none.
      rotate: with a random orthogonal matrix.
      most_dim: largest N, where there is one.
      counts_evaluations: the budget is evaluations; else iterations.
    """

    name: str
    dtype: Dtype
    slips: bool = False
    shift: float = 0.0
    rotate: bool = False
    most_dim: int | None = None
    counts_evaluations: bool = True


_ALL = (
    Preset("paper", "float32", slips=True, counts_evaluations=False),
    Preset("fair-shift", "float64", shift=5.0),
    Preset("fair-rotate", "float64", shift=5.0, rotate=True, most_dim=100),
)
PRESETS = {each.name: each for each in _ALL}
SUITE = Preset("suite", "float64")  # of the problems that `optimus.problems.suites` brings


def preset(name: str) -> Preset:
    """A preset by name; raises `ConfigError` naming the known ones."""
    if name == SUITE.name:
        return SUITE
    require(name in PRESETS, f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]


def dimension(preset_name: str, function_name: str, dim: int) -> int:
    """The `dim` a preset has in place of the one asked for: Powell's 2 is 4 where it is true.

    Raises:
      ConfigError: unknown names, or a dimension that the preset leaves out, and why.
    """
    chosen, true = preset(preset_name), function(function_name)
    elsewhere = f"{preset_name} has no function {function_name!r}; see optimus.problems.suites"
    require(chosen is not SUITE, elsewhere)
    require(dim >= 1, f"the dimension must be at least 1: {dim}")
    most = chosen.most_dim
    require(most is None or dim <= most, f"{preset_name} ends at dimension {most}: {dim}")
    if chosen.slips:
        size(chosen, function_name, dim)
        return dim
    if function_name == "perm":
        require(dim in (2, 10), f"{preset_name} has perm in dimensions 2 and 10 only: {dim}")
    if function_name == "sum_of_powers":
        require(dim <= 100, f"{preset_name} ends sum_of_powers at dimension 100: {dim}")
    if function_name == "powell":
        dim = 4 * -(-dim // 4)
    true.check(dim)
    return dim


def size(chosen: Preset, function_name: str, dim: int) -> int:
    """N, the number of coordinates of the start; raises `ConfigError` where there is none."""
    size = 4 * -(-dim // 4) if chosen.slips and function_name == "powell" else dim
    function(function_name).check(size)
    return size


def start_half_width(chosen: Preset, function_name: str) -> float:
    """Of the box of the starts: 10, and 1 for the true Perm, whose powers go up to x^N."""
    return 1.0 if function_name == "perm" and not chosen.slips else 10.0


def shift_half_width(chosen: Preset, function_name: str) -> float:
    """Of the box of δ: half of the box of the starts, so that the optimum stays among them.

    A shift of 5 would take Perm's optimum out of its box of ±1 in nearly every coordinate, and
    start it at 1e20 in 10 dimensions. Sum of Powers has 2: it overflows float64 beyond.
    """
    if function_name == "sum_of_powers":
        return min(2.0, chosen.shift)
    return chosen.shift * start_half_width(chosen, function_name) / 10.0


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

    @property
    def dtype(self) -> Dtype:
        """Of objective, gradient and start."""
        return preset(self.preset).dtype

    def value(self, x: Any) -> jax.Array:
        """Reported value at x `[N]`, in the arithmetic that is on; see `arithmetic`."""
        return self.objective(self.data, jnp.asarray(x))


def arithmetic(dtype: Dtype) -> contextlib.AbstractContextManager[Any]:
    """Context in which JAX computes in "float32" or "float64", whatever is set outside."""
    home = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
    context: contextlib.AbstractContextManager[Any] = home.enable_x64(dtype == "float64")
    return context


@functools.cache
def objective_of(preset_name: str, function_name: str, dim: int) -> tuple[Objective, float]:
    """The reported value as a function of (data, z `[N]`), and what it subtracts.

    `data` may hold "shift" `[N]` and "rotation" `[N, N]`. The same object at every call, so that
    compiled code is shared.
    """
    slips = PRESETS[preset_name].slips
    true, factor = function(function_name), SCALES.get(function_name, 1.0)
    value = SLIPS.get(function_name, true.value) if slips else true.value
    f_star = true.minimum(dim + 1 if slips and function_name == "trid" else dim)

    def objective(data: Any, z: jax.Array) -> jax.Array:
        if "rotation" in data:  # at full precision also where the device multiplies in less
            z = jnp.matmul(data["rotation"], z, precision="highest")
        if "shift" in data:
            z = z - data["shift"]
        return value(factor * z) - f_star

    return objective, f_star


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

    Args:
      preset_name: a key of `PRESETS`.
      function_name: a key of `FUNCTIONS`.
      dim: as asked for; `dimension` says which one it becomes.
      seed: of starts, shifts and rotations, at least 0.
      start: number of the start, at least 0.

    Raises:
      ConfigError: unknown names, negative seed or start, a dimension that the preset leaves out.
    """
    chosen, true = preset(preset_name), function(function_name)
    counted = seed >= 0 and start >= 0
    require(counted, f"seed and start must not be negative: {seed}, {start}")
    dim = dimension(preset_name, function_name, dim)
    count = size(chosen, function_name, dim)
    half_width = start_half_width(chosen, function_name)
    stream = (seed, function_name, count, start)
    # Single precision first: float32 and float64 problems start at the same point.
    x0 = _random("start", *stream).uniform(-half_width, half_width, count).astype(np.float32)

    factor = SCALES.get(function_name, 1.0)
    twin = FUNCTIONS["sum_of_squares"] if chosen.slips and function_name == "perm" else true
    minimiser = twin.minimiser(count) / factor
    data: Data = {}
    if chosen.shift:
        most = shift_half_width(chosen, function_name)
        data["shift"] = _random("shift", *stream).uniform(-most, most, count).astype(chosen.dtype)
        minimiser = minimiser + data["shift"]
    if chosen.rotate and function_name != "sum_of_powers":
        data["rotation"] = _rotation(_random("rotation", *stream), count).astype(chosen.dtype)
        minimiser = data["rotation"].T.astype(np.float64) @ minimiser
    objective, f_star = objective_of(preset_name, function_name, count)
    decided = (preset_name, function_name, dim, seed, start)
    known: dict[str, Any] = {"f_star": f_star, "minimum": twin.minimum(count) - f_star}
    known |= {"minimiser": minimiser, "floor": max(1e-9, 2.0**-23 * twin.cancelling(count))}
    box = (-half_width, half_width)
    return Problem(*decided, x0.astype(chosen.dtype), box, objective, data, **known)
