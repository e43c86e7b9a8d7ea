"""The 15 test functions of the paper's Table 4, as the SFU library defines them.

Source: the Virtual Library of Simulation Experiments (Simon Fraser University). These are the true
definitions; scalings, offsets and slips of the paper, shifts and rotations are those of
`optimus.problems.presets`.

    rosenbrock = function("rosenbrock")
    rosenbrock.value(jnp.ones(10))      # 0.0, in the dtype of its argument
    rosenbrock.minimiser(10)            # array of ten ones
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from optimus.errors import require
from optimus.problems import formulas

Value = Callable[[jax.Array], jax.Array]

# The root of 4x³ − 32x + 5 next to −3, and x⁴/2 − 8x² + 5x/2 there.
STYBLINSKI_TANG_X = -2.9035340277711770951
STYBLINSKI_TANG_F = -39.166165703771415


def _zero(dim: int) -> float:
    return 0.0


def _zeros(dim: int) -> np.ndarray:
    return np.zeros(dim)


@dataclass(frozen=True)
class Function:
    """A function on R^N for every N that `check` accepts.

    Attributes:
      name: snake_case, as on the command line.
      value: x `[N]` -> scalar of the dtype of x; pure JAX.
      box: N -> (low, high) of the library's own domain. The paper starts elsewhere (`presets`).
      minimum: N -> least value.
      minimiser: N -> float64 `[N]`, a point where it is taken.
      cancelling: N -> sum of the absolute constants that cancel inside `value` near the minimum;
        times 2⁻²³ it is what float32 cannot tell from the minimum.
      least_dim, multiple_of: the N for which the function is defined.
    """

    name: str
    value: Value
    box: Callable[[int], tuple[float, float]]
    minimum: Callable[[int], float] = _zero
    minimiser: Callable[[int], np.ndarray] = _zeros
    cancelling: Callable[[int], float] = _zero
    least_dim: int = 1
    multiple_of: int = 1

    def check(self, dim: int) -> None:
        """Raises `ConfigError` where the function is not defined on R^dim."""
        name, least, factor = self.name, self.least_dim, self.multiple_of
        require(dim >= least, f"{name} needs a dimension of at least {least}: {dim}")
        whole = dim % factor == 0
        require(whole, f"{name} needs a dimension that is a multiple of {factor}: {dim}")


def _box(low: float, high: float) -> Callable[[int], tuple[float, float]]:
    return lambda dim: (low, high)


def _dixon_price_minimiser(dim: int) -> np.ndarray:
    return 2.0 ** -(1 - 2.0 ** (1 - np.arange(1.0, dim + 1)))  # 2^{−(2^i − 2)/2^i}


def _trid_minimiser(dim: int) -> np.ndarray:
    i = np.arange(1.0, dim + 1)
    return i * (dim + 1 - i)


def trid_minimum(dim: int) -> float:
    """−N(N+4)(N−1)/6, exact."""
    return -dim * (dim + 4) * (dim - 1) / 6


_ALL = (
    Function("ackley", formulas.ackley, _box(-32.768, 32.768), cancelling=lambda n: 20 + math.e),
    Function("dixon_price", formulas.dixon_price, _box(-10, 10), minimiser=_dixon_price_minimiser),
    Function("griewank", formulas.griewank, _box(-600, 600), cancelling=lambda n: 1.0),
    Function("levy", formulas.levy, _box(-10, 10), minimiser=np.ones),
    Function(
        "perm", formulas.perm, lambda n: (-n, n), minimiser=lambda n: 1 / np.arange(1.0, n + 1)
    ),
    Function("powell", formulas.powell, _box(-4, 5), least_dim=4, multiple_of=4),
    Function("rastrigin", formulas.rastrigin, _box(-5.12, 5.12), cancelling=lambda n: 10.0 * n),
    Function("rosenbrock", formulas.rosenbrock, _box(-5, 10), minimiser=np.ones, least_dim=2),
    Function("rotated_hyper_ellipsoid", formulas.rotated_hyper_ellipsoid, _box(-65.536, 65.536)),
    Function("sphere", formulas.sphere, _box(-5.12, 5.12)),
    Function(
        "styblinski_tang",
        formulas.styblinski_tang,
        _box(-5, 5),
        minimum=lambda n: STYBLINSKI_TANG_F * n,
        minimiser=lambda n: np.full(n, STYBLINSKI_TANG_X),
        cancelling=lambda n: -STYBLINSKI_TANG_F * n,
    ),
    Function("sum_of_powers", formulas.sum_of_powers, _box(-1, 1)),
    Function("sum_of_squares", formulas.sum_of_squares, _box(-10, 10)),
    Function(
        "trid",
        formulas.trid,
        lambda n: (-(n**2), n**2),
        minimum=trid_minimum,
        minimiser=_trid_minimiser,
        cancelling=lambda n: n**3 / 6,
    ),
    Function("zakharov", formulas.zakharov, _box(-5, 10)),
)
FUNCTIONS: dict[str, Function] = {each.name: each for each in _ALL}


def function(name: str) -> Function:
    """A function by name; raises `ConfigError` naming the known ones."""
    require(name in FUNCTIONS, f"unknown function {name!r}; known: {', '.join(FUNCTIONS)}")
    return FUNCTIONS[name]
