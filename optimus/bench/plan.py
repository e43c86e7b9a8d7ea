"""What a benchmark consists of: methods, names and dimensions as typed, the list of cells."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from optimus.bench.cells import Cell, Method
from optimus.bench.methods import LEARNED, RIVALS, models
from optimus.problems import presets

DIMS = (2, 10, 20, 50, 100, 250, 500, 1000)
DEFAULT_METHODS = ("bfgs", "l_bfgs_b", "adam", "momentum", "return_zero")
SHIPPED = {"optimus": "optimus-classical", "adafactor_mlp": "adafactor-mlp-classical"}  # by kind
# More methods come in by `register`, those of `LEARNED` by `register_learned`, which knows with
# which weights. `bfgs` is `bfgs_quadratic` where N is large.
METHODS: dict[str, Method] = {
    name: Method(name, run_all) for name, run_all in RIVALS.items() if name != "bfgs_quadratic"
}


def register(method: Method) -> None:
    """Makes a method known by its name; one of the same name is replaced."""
    METHODS[method.name] = method


def register_learned(
    model: str | os.PathLike[str] = SHIPPED["optimus"],
    adafactor_model: str | os.PathLike[str] = SHIPPED["adafactor_mlp"],
) -> None:
    """Makes the methods of `LEARNED` known, with these weights; see `models`.

    The command line does this first; in Python it comes before `classical.main`.
    """
    chosen = {"optimus": model, "adafactor_mlp": adafactor_model}
    for name in LEARNED:
        register(models.method_of(name, chosen[models.kind_of(name)]))


def method_names(text: str | Iterable[str]) -> tuple[str, ...]:
    """Like `names` for methods; those of `models`, with a colon, are loaded and registered.

    Raises:
      ValueError: unknown names, weights that cannot be used, or different weights of one name.
    """
    if text == "all":
        return names(text, METHODS, "method")
    found: dict[str, str] = {}
    for entry in text.split(",") if isinstance(text, str) else text:
        entry = entry.strip()
        if ":" not in entry or (entry in METHODS and not isinstance(text, str)):
            found |= dict.fromkeys(names((entry,), METHODS, "method"), "")
            continue
        for method in models.methods_of(entry):
            if found.setdefault(method.name, method.weights_hash) != method.weights_hash:
                raise ValueError(f"two different weights would both be called {method.name}")
            register(method)
    return tuple(found)


def names(text: str | Iterable[str], known: Iterable[str], what: str) -> tuple[str, ...]:
    """ "all", "a,b" or a sequence -> names; raises `ValueError` naming the known ones."""
    known = tuple(known)
    if text == "all":
        return known
    chosen = [each.strip() for each in text.split(",")] if isinstance(text, str) else list(text)
    for each in chosen:
        if each not in known:
            raise ValueError(f"unknown {what} {each!r}; known: all, {', '.join(known)}")
    return tuple(dict.fromkeys(chosen))


def dimensions(text: str | Iterable[int]) -> tuple[int, ...]:
    """ "2,10" or integers -> dimensions; raises `ValueError`."""
    parts = [part.strip() for part in text.split(",")] if isinstance(text, str) else list(text)
    try:
        dims = tuple(dict.fromkeys(int(part) for part in parts))
    except ValueError:
        raise ValueError(f"dims must be whole numbers such as 2,10,100: {text!r}") from None
    if not dims or min(dims) < 1:
        raise ValueError(f"dims must be at least 1: {text!r}")
    return dims


def plan_cells(
    preset: str,
    functions: Sequence[str],
    dims: Sequence[int],
    methods: Sequence[str],
    starts: int,
    steps: int,
    seed: int,
) -> tuple[list[Cell], list[str]]:
    """The cells to compute, cheap dimensions first, and what is left out, with the reason."""
    planned: dict[Cell, None] = {}
    left_out: dict[str, None] = {}
    for dim in dims:
        for function in functions:
            try:
                actual = presets.dimension(preset, function, dim)
            except ValueError as error:
                left_out[f"{function} {dim}: {error}"] = None
                continue
            for method in methods:
                most = METHODS[method].most_dim
                if most is not None and actual > most:
                    left_out[f"{method} {function} {dim}: runs up to dimension {most}"] = None
                else:
                    planned[Cell(preset, function, actual, method, starts, steps, seed)] = None
    return list(planned), list(left_out)
