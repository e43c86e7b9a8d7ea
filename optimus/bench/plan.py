"""What a benchmark consists of: methods, names and dimensions as typed, the list of cells."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence

import jax

from optimus import presets, rules, weights
from optimus.bench.cells import Cell, Method
from optimus.rivals import LEARNED, RIVALS
from optimus.weights import LearnedOptimizer

DIMS = (2, 10, 20, 50, 100, 250, 500, 1000)
DEFAULT_METHODS = ("bfgs", "l_bfgs_b", "adam", "momentum", "return_zero")
UNTRAINED = "untrained"  # in place of a model: random weights of the default architecture, key 0
STAND_INS = {"optimus": "optimus-standin", "adafactor_mlp": "adafactor-mlp-standin"}  # by kind
# More methods come in by `register`, those of `LEARNED` by `register_learned`, which knows with
# which weights. `bfgs` is `bfgs_quadratic` where N is large.
METHODS: dict[str, Method] = {
    name: Method(name, run_all) for name, run_all in RIVALS.items() if name != "bfgs_quadratic"
}


def register(method: Method) -> None:
    """Makes a method known by its name; one of the same name is replaced."""
    METHODS[method.name] = method


def model_of(kind: str, name_or_path: str | os.PathLike[str]) -> tuple[LearnedOptimizer, str]:
    """A model of the given kind, and what the column `weights_hash` says of it: its fingerprint,
    preceded by "untrained:" where it is.

    Raises:
      ValueError: there is no such model, or it is of another kind; in one line.
    """
    if str(name_or_path) == UNTRAINED:
        config = rules.RULES[kind].config_type()
        params = rules.rule_of(config).init_params(config, jax.random.PRNGKey(0))
        model = LearnedOptimizer(config, params, {"what": "untrained"})
        return model, f"{UNTRAINED}:{model.fingerprint}"
    model = weights.load(name_or_path)
    if model.kind != kind:
        raise ValueError(f"{name_or_path} holds weights of {model.kind}, need {kind}")
    return model, model.fingerprint


def register_learned(
    model: str | os.PathLike[str] = STAND_INS["optimus"],
    adafactor_model: str | os.PathLike[str] = STAND_INS["adafactor_mlp"],
) -> None:
    """Makes the methods of `LEARNED` known, with these weights; see `model_of`.

    The command line does this first; in Python it comes before `classical.main`.
    """
    found = {
        "optimus": model_of("optimus", model),
        "adafactor_mlp": model_of("adafactor_mlp", adafactor_model),
    }
    for name, run_all in LEARNED.items():
        kind = name if name in found else "optimus"
        chosen, weights_hash = found[kind]
        register(Method(name, functools.partial(run_all, model=chosen), weights_hash=weights_hash))


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
