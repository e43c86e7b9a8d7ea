"""What a benchmark consists of: methods, names and dimensions as typed, the list of cells."""

import functools
import importlib.util
import os
import re
from collections.abc import Iterable, Sequence

from optimus import weights
from optimus.bench.cells import Cell, Method, Planned
from optimus.bench.methods import BASELINES, LEARNED, NEED_CMA, models
from optimus.errors import require, require_size
from optimus.installation import extra_command
from optimus.problems import presets
from optimus.problems.presets import Problem

DIMS = (2, 10, 20, 50, 100, 250, 500, 1000)
DEFAULT_METHODS = ("bfgs", "l_bfgs_b", "adam", "momentum", "return_zero")
DEFAULT_MODEL, DEFAULT_ADAFACTOR_MODEL = "optimus-classical", "adafactor-mlp-classical"


def methods_of(
    text: str | Iterable[str],
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    adafactor_model: str | os.PathLike[str] = DEFAULT_ADAFACTOR_MODEL,
) -> list[Method]:
    """The methods that are named: "all", or names of `BASELINES` and `LEARNED`, and "KIND:MODEL".

    Args:
      text: names, as a list or with commas between.
      model: weights of the learned methods that are named without a model.
      adafactor_model: likewise, of adafactor_mlp.

    Raises:
      ConfigError, WeightsError: unknown names, weights that cannot be used, or different weights of
        one name; one line.
    """
    found: dict[str, Method] = {}
    known = (*BASELINES, *LEARNED)
    given = text.split(",") if isinstance(text, str) else text
    for chosen_model, usual in ((model, DEFAULT_MODEL), (adafactor_model, DEFAULT_ADAFACTOR_MODEL)):
        if str(chosen_model) not in (usual, models.UNTRAINED):
            weights.load(chosen_model)  # also where no method takes it: the name is wrong
    for entry in known if text == "all" else given:
        entry = entry.strip()
        if ":" in entry:
            chosen = models.methods_of(entry)
        elif entry in LEARNED:
            kind = models.model_kind(entry)
            chosen = [models.method_of(entry, model if kind == "optimus" else adafactor_model)]
        else:
            names((entry,), known, "method")
            chosen = [Method(entry, BASELINES[entry])]
        for method in chosen:
            same = found.setdefault(method.name, method)
            agree = same.weights_hash == method.weights_hash
            require(agree, f"two different weights would both be called {method.name}")
    return list(found.values())


def installed(methods: Sequence[Method]) -> tuple[list[Method], list[str]]:
    """The methods that can run here, and a line for each whose package is not installed."""
    absent = () if importlib.util.find_spec("cma") else NEED_CMA
    missing = f"its package cma is missing: {extra_command('bench')}"
    lines = [f"{each.name}, {missing}" for each in methods if each.name in absent]
    return [each for each in methods if each.name not in absent], lines


def names(text: str | Iterable[str], known: Iterable[str], what: str) -> tuple[str, ...]:
    """ "all", "a,b" or a sequence -> names; raises `ConfigError` naming the known ones."""
    known = tuple(known)
    if text == "all":
        return known
    chosen = [each.strip() for each in text.split(",")] if isinstance(text, str) else list(text)
    for each in chosen:
        require(each in known, f"unknown {what} {each!r}; known: all, {', '.join(known)}")
    return tuple(dict.fromkeys(chosen))


def dimensions(text: str | Iterable[int]) -> tuple[int, ...]:
    """ "2,10" or integers -> dimensions; raises `ConfigError`."""
    parts = text.split(",") if isinstance(text, str) else list(text)
    words = [str(part).strip() for part in parts]
    whole = all(re.fullmatch("-?[0-9]{1,12}", word) for word in words)
    require(whole, f"dims must be whole numbers such as 2,10,100: {text!r}")
    dims = tuple(dict.fromkeys(int(word) for word in words))
    require(bool(dims) and min(dims) >= 1, f"dims must be at least 1: {text!r}")
    require(max(dims) <= 100_000, f"dims must be at most 100000: {text!r}")
    return dims


def require_counts(starts: int, steps: int, seed: int = 0, least_steps: int = 1) -> None:
    """Raises `ConfigError` where these numbers make no benchmark, or one that no memory holds.

    Args:
      starts, steps: of a cell. seed: of its starts.
      least_steps: fewest that tell anything.
    """
    require_size(starts, "starts", 1, 10**5)  # those of `TUNING_START` come later
    require_size(steps, "steps", least_steps, 10**7)
    require_size(seed, "seed", 0, 2**63 - 1)
    require_size(starts * steps, "starts times steps", 1, 10**8)  # of each a value and a point


def plan_cells(
    preset: str,
    functions: Sequence[str],
    dims: Sequence[int],
    methods: Sequence[Method],
    counts: tuple[int, int, int],
) -> tuple[list[Planned], list[str]]:
    """The cells to compute, cheap dimensions first, and what is left out, with the reason.

    Args:
      preset: a key of `presets.PRESETS`.
      functions: names.
      dims: as asked for; a preset may have another one in its place.
      methods: what runs.
      counts: starts, steps and seed.
    """
    planned: dict[Cell, Planned] = {}
    left_out: dict[str, None] = {}
    for dim in dims:
        for function in functions:
            try:
                actual = presets.dimension(preset, function, dim)
            except ValueError as error:
                left_out[f"{function} {dim}: {error}"] = None
                continue
            for method in methods:
                cell = Cell(preset, function, actual, method.name, *counts)
                planned[cell] = Planned(cell, method, functools.partial(_problems, cell))
    return list(planned.values()), list(left_out)


def _problems(cell: Cell) -> list[Problem]:
    decided = (cell.preset, cell.function, cell.dim, cell.seed)
    return [presets.problem(*decided, start) for start in range(cell.starts)]
