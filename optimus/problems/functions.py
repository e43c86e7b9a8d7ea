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
from typing import Any

import jax
import numpy as np

from optimus.errors import require
from optimus.problems import formulas

Value = Callable[..., jax.Array]  # x `[N]`, or x, mask and n as in `formulas` -> scalar

# The root of 4x³ − 32x + 5 next to −3, and x⁴/2 − 8x² + 5x/2 there.
STYBLINSKI_TANG_X = -2.9035340277711770951
STYBLINSKI_TANG_F = -39.166165703771415


@dataclass(frozen=True)
class Function:
    """A function on R^N for every N that `check` accepts.

    Attributes:
      value: x `[N]` -> scalar of the dtype of x; pure JAX.
      box: N -> (low, high) of the library's own domain. The paper starts elsewhere (`presets`).
      minimum: N -> least value.
      minimiser: N -> float64 `[N]`, a point where it is taken.
      cancelling: N -> sum of the absolute constants that cancel inside `value` near the minimum;
        times 2⁻²³ it is what float32 cannot tell from the minimum.
      least_dim, multiple_of: the N for which the function is defined.
    """

    value: Value
    box: Callable[[int], tuple[float, float]]
    minimum: Callable[[Any], Any] = lambda n: 0.0
    minimiser: Callable[[int], np.ndarray] = np.zeros
    cancelling: Callable[[int], float] = lambda n: 0.0
    least_dim: int = 1
    multiple_of: int = 1

    @property
    def name(self) -> str:
        """snake_case, as on the command line."""
        return self.value.__name__

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


_ALL = (
    Function(formulas.ackley, _box(-32.768, 32.768), cancelling=lambda n: 20 + math.e),
    Function(formulas.dixon_price, _box(-10, 10), minimiser=_dixon_price_minimiser),
    Function(formulas.griewank, _box(-600, 600), cancelling=lambda n: 1.0),
    Function(formulas.levy, _box(-10, 10), minimiser=np.ones),
    Function(formulas.perm, lambda n: (-n, n), minimiser=lambda n: 1 / np.arange(1.0, n + 1)),
    Function(formulas.powell, _box(-4, 5), least_dim=4, multiple_of=4),
    Function(formulas.rastrigin, _box(-5.12, 5.12), cancelling=lambda n: 10.0 * n),
    Function(formulas.rosenbrock, _box(-5, 10), minimiser=np.ones, least_dim=2),
    Function(formulas.rotated_hyper_ellipsoid, _box(-65.536, 65.536)),
    Function(formulas.sphere, _box(-5.12, 5.12)),
    Function(
        formulas.styblinski_tang,
        _box(-5, 5),
        minimum=lambda n: STYBLINSKI_TANG_F * n,
        minimiser=lambda n: np.full(n, STYBLINSKI_TANG_X),
        cancelling=lambda n: -STYBLINSKI_TANG_F * n,
    ),
    Function(formulas.sum_of_powers, _box(-1, 1)),
    Function(formulas.sum_of_squares, _box(-10, 10)),
    Function(
        formulas.trid,
        lambda n: (-(n**2), n**2),
        minimum=lambda n: -n * (n + 4) * (n - 1) / 6,
        minimiser=lambda n: np.arange(1.0, n + 1) * np.arange(n, 0.0, -1.0),  # i (N + 1 - i)
        cancelling=lambda n: n**3 / 6,
    ),
    Function(formulas.zakharov, _box(-5, 10)),
)
FUNCTIONS: dict[str, Function] = {each.name: each for each in _ALL}


def function(name: str) -> Function:
    """A function by name; raises `ConfigError` naming the known ones."""
    require(name in FUNCTIONS, f"unknown function {name!r}; known: {', '.join(FUNCTIONS)}")
    return FUNCTIONS[name]
