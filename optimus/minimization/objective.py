"""A user's function as `minimize` sees it: counted, checked, scaled, best value remembered."""

import functools
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.errors import require

Evaluation = Callable[[np.ndarray], Any]


class EvaluationLimit(Exception):
    """`maxfev` evaluations have been made; internal to `minimize`."""


@dataclass(frozen=True)
class Point:
    """An evaluated point.

    Attributes:
      x: where it was evaluated, float64 [N] (rounded to float32 where the function works in it).
      z: x / x_scale, float64 [N]; steps and directions are in these coordinates.
      fun: the value; may be NaN or infinite.
      gradient: with respect to z, float64 [N]; None until asked for.
    """

    x: np.ndarray
    z: np.ndarray
    fun: float
    gradient: np.ndarray | None = None

    @property
    def finite(self) -> bool:
        """Whether value and gradient (if known) are."""
        known = self.gradient is None or bool(np.isfinite(self.gradient).all())
        return known and bool(np.isfinite(self.fun))


class Objective:
    """Evaluates, counts, and keeps the best finite point seen (since `best` was set to None).

    Args:
      fun, jac, args: as in `minimize`; `jac` None means a function that JAX can trace.
      x0: float64 [N].
      scale: float64 [N], positive.
      maxfev: evaluations allowed, or None.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        jac: Callable[..., Any] | bool | None,
        args: Sequence[Any],
        x0: np.ndarray,
        scale: np.ndarray,
        maxfev: int | None,
    ) -> None:
        self.nfev = 0
        self.njev = 0
        self.maxfev = maxfev
        self.best: Point | None = None
        self._scale = scale
        self._dtype: Any = np.float64
        self._jac: Evaluation | None = None
        if callable(jac):
            gradient = jac
            self._fun: Evaluation = lambda x: fun(x, *args)
            self._jac = lambda x: gradient(x, *args)
        elif jac:
            self._fun = lambda x: fun(x, *args)
        else:
            self._dtype = jnp.zeros(()).dtype  # float32, or float64 with jax_enable_x64
            self._fun = _differentiated(fun, tuple(args), x0.astype(self._dtype))

    @property
    def spent(self) -> bool:
        """Whether no evaluation is left."""
        return self.maxfev is not None and self.nfev >= self.maxfev

    def value(self, z: np.ndarray) -> Point:
        """The point at z, float64 [N], with its gradient where that comes with the value."""
        if self.spent:
            raise EvaluationLimit
        with np.errstate(over="ignore"):  # float32: an infinite x has no finite value
            x = (z * self._scale).astype(self._dtype).astype(np.float64)
        self.nfev += 1
        result = self._call(self._fun, "fun", x)
        gradient = None
        if self._jac is None:
            if not isinstance(result, tuple | list) or len(result) != 2:
                got = f"fun returned {type(result).__name__} at evaluation {self.nfev}"
                raise TypeError(f"{got}; with jac=True it must return (value, gradient)")
            self.njev += 1
            result, gradient = result[0], self._gradient(result[1])
        point = Point(x, x / self._scale, self._scalar(result), gradient)
        if np.isfinite(point.fun) and (self.best is None or point.fun < self.best.fun):
            self.best = point
        return point

    def complete(self, point: Point) -> Point:
        """The same point with its gradient."""
        if point.gradient is not None or self._jac is None:
            return point
        self.njev += 1
        known = replace(point, gradient=self._gradient(self._call(self._jac, "jac", point.x)))
        if self.best is point:
            self.best = known
        return known

    def unscaled(self, point: Point) -> np.ndarray:
        """The gradient with respect to x, float64 [N], of a complete point."""
        assert point.gradient is not None
        return point.gradient / self._scale

    def _call(self, function: Evaluation, name: str, x: np.ndarray) -> Any:
        try:
            return function(x.astype(self._dtype))  # a copy: the user may write into it
        except Exception as error:
            if hasattr(error, "add_note"):  # CPython 3.11
                where = f"raised by {name} at evaluation {self.nfev} of optimus.minimize"
                error.add_note(f"{where}, x = {np.array2string(x, threshold=20)}")
            raise

    def _scalar(self, value: Any) -> float:
        array = _real(value, "fun", self.nfev)
        found = f"fun returned shape {array.shape} at evaluation {self.nfev}"
        require(array.size == 1, f"{found}, must be a scalar")
        return float(array.reshape(()))

    def _gradient(self, value: Any) -> np.ndarray:
        array = _real(value, "the gradient", self.nfev)
        found = f"the gradient has shape {array.shape} at evaluation {self.nfev}"
        same = array.shape == self._scale.shape
        require(same, f"{found}, must be {self._scale.shape} like x0")
        return array * self._scale


def _real(value: Any, name: str, count: int) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        # JAX's bfloat16 is of kind "V"; None and ragged lists are objects.
        try:
            if array.dtype.kind in "cO":
                raise TypeError
            return array.astype(np.float64)
        except (TypeError, ValueError):
            got = f"{type(value).__name__} of dtype {array.dtype} at evaluation {count}"
            raise TypeError(f"{name} is {got}, must be real numbers") from None
    return array.astype(np.float64)


def _differentiated(fun: Callable[..., Any], args: tuple[Any, ...], x0: np.ndarray) -> Evaluation:
    """Value and gradient of a JAX function, compiled; or a clear error if it is none."""
    try:
        shape = jax.eval_shape(lambda x: fun(x, *args), jax.ShapeDtypeStruct(x0.shape, x0.dtype))
    except Exception as error:
        # A mistake in the function itself shows without JAX too, and then as what it is.
        fun(x0.copy(), *args)
        reason = str(error).strip().splitlines()
        raise TypeError(
            f"JAX cannot trace fun ({type(error).__name__}: {reason[0] if reason else ''}); pass "
            "its gradient: jac=function, or jac=True if fun returns (value, gradient)"
        ) from error
    if isinstance(shape, tuple | list):
        instead = "pass jac=True if that is (value, gradient)"
        raise TypeError(f"fun returns a {type(shape).__name__}; {instead}")
    if getattr(shape, "size", None) != 1 or not jnp.issubdtype(shape.dtype, jnp.floating):
        instead = "pass jac=True for a value with gradient"
        raise ValueError(f"fun returns {shape}, must be a real scalar ({instead})")
    # Compiling again for each call of minimize is the price of a plain function, which may read
    # values that have changed since. A function that is jitted has already promised otherwise.
    if not args and hasattr(fun, "lower"):
        compiled = _compiled_once(fun)
    else:
        compiled = _compiled(lambda x: fun(x, *args))
    return lambda x: tuple(np.asarray(part) for part in compiled(x))


def _compiled(fun: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(jax.value_and_grad(lambda x: jnp.reshape(fun(x), ())))


def _compiled_once(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The same for all calls with one function, which is not kept alive by that. A jitted method,
    a new object each time it is named, is, and its instance: JAX itself keeps what is static."""
    if isinstance(fun, types.MethodType):
        return _compiled_method(fun)
    if fun not in _known:
        alive: Callable[[], Any] = weakref.ref(fun)
        _known[fun] = _compiled(lambda x: alive()(x))
    return _known[fun]


_known: weakref.WeakKeyDictionary[Any, Callable[..., Any]] = weakref.WeakKeyDictionary()
_compiled_method = functools.lru_cache(maxsize=8)(_compiled)
