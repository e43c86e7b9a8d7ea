"""Learned methods by model: `KIND:MODEL`, several side by side; and folds of held-out weights.

    optimus                          the weights that the command's --model says
    optimus:NAME_OR_PATH             these weights; the column is called "optimus:NAME"
    optimus_safeguarded:NAME-s*      one column for each name in the package, or path, that matches
    heldout:PREFIX                   PREFIX-quadratic, PREFIX-power, ...: each function is scored by
                                     the weights that hold its group out; "heldout:PREFIX-s0" takes
                                     PREFIX-quadratic-s0 ...; also as MODEL of another kind

KIND is one of `methods.LEARNED`. The groups are those of `optimus.problems.groups`.
"""

import fnmatch
import functools
import glob
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from optimus import rundir, weights
from optimus.bench.cells import Method
from optimus.bench.methods import LEARNED
from optimus.bench.methods.counting import Trace
from optimus.errors import ConfigError, require
from optimus.model import registry
from optimus.problems.groups import GROUPS, tag_of
from optimus.problems.presets import Problem
from optimus.rundir import checkpoint
from optimus.weights import LearnedOptimizer

HELD_OUT = "heldout"
UNTRAINED = "untrained"  # in place of a model: random weights of the default architecture, key 0


# --------------------------------------------------------------------------------------- names


def kind_in(label: str) -> str:
    """The kind of method that a label begins with; a name without a colon is its own kind."""
    kind = label.partition(":")[0]
    return "optimus" if kind == HELD_OUT else kind


def learned(label: str) -> bool:
    """Whether it is a learned method."""
    return kind_in(label) in LEARNED


def column_of(label: str) -> str:
    """The column of the paper's Table 4 that a method is held against: its own kind of model, of
    what is not learned its own name."""
    return model_kind(kind_in(label)) if learned(label) else label


def model_kind(method: str) -> str:
    """The kind of model a learned method takes."""
    return "adafactor_mlp" if method == "adafactor_mlp" else "optimus"


def fold_name(prefix: str, group: str) -> str:
    """The weights that hold a group out: PREFIX-GROUP; of PREFIX-s0 PREFIX-GROUP-s0."""
    seeded = re.fullmatch(r"(.*)(-s\d+)", prefix)
    base, seed = seeded.groups() if seeded else (prefix, "")
    return f"{base}-{group}{seed}"


def short_name(name_or_path: str | os.PathLike[str]) -> str:
    """A name as it is; of a path the last part, without suffix, that is not "weights"."""
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        path = path.parent if path.stem == "weights" else path.with_suffix("")
    return path.name


# -------------------------------------------------------------------------------------- models


def model_of(kind: str, name_or_path: str | os.PathLike[str]) -> tuple[LearnedOptimizer, str]:
    """A model of the given kind, and what the column `weights_hash` says of it: its fingerprint,
    preceded by "untrained:" where it is.

    Raises:
      WeightsError: there is no such model, in one line.
      ConfigError: it is of another kind.
    """
    if str(name_or_path) == UNTRAINED:
        config = registry.RULES[kind].config_type()
        params = registry.rule_of(config).init_params(config, jax.random.PRNGKey(0))
        model = LearnedOptimizer(config, params, {"what": UNTRAINED})
        return model, f"{UNTRAINED}:{model.fingerprint}"
    model = weights.load(name_or_path)
    require(model.kind == kind, f"{name_or_path} holds weights of {model.kind}, need {kind}")
    return model, model.fingerprint


def held_out(model: LearnedOptimizer, name_or_path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The groups of functions that weights have not seen although they were trained on the others,
    according to their card or the configuration of their run; () where nothing is known."""
    trained_on = model.card.get("trained_on")
    if isinstance(trained_on, Mapping):
        names = trained_on.get("hold_out")
        return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()
    path = Path(name_or_path)
    run_dir = path.resolve().parents[1] if (path / checkpoint.MANIFEST).is_file() else path
    try:
        task = rundir.load_config(run_dir / rundir.CONFIG).task
    except ConfigError:
        return ()
    return tuple(getattr(task, "hold_out", ()))


def method_of(name: str, name_or_path: str | os.PathLike[str], label: str = "") -> Method:
    """A learned method, a name in `LEARNED`, with these weights; raises as `model_of` does."""
    model, weights_hash = model_of(model_kind(name), name_or_path)
    run_all = functools.partial(LEARNED[name], model=model)
    groups = held_out(model, name_or_path) or None
    return Method(label or name, run_all, weights_hash=weights_hash, unseen=groups)


def _held_out_method(name: str, prefix: str, label: str) -> Method:
    """A method that takes the model which is kept for the group of a cell's function."""
    models, unseen = {}, []
    for group in GROUPS:
        where = fold_name(prefix, group)
        models[group], _ = model_of(model_kind(name), where)
        if group in held_out(models[group], where):
            unseen.append(group)

    def run_all(problems: Sequence[Problem], steps: int, **options: Any) -> list[Trace]:
        return LEARNED[name](problems, steps, model=models[tag_of(problems[0].function)], **options)

    prints = {group: model.fingerprint for group, model in models.items()}
    digest = hashlib.sha256(json.dumps(prints, sort_keys=True).encode()).hexdigest()[:16]
    return Method(label, run_all, weights_hash=f"{HELD_OUT}:{digest}", unseen=tuple(unseen))


def methods_of(entry: str) -> list[Method]:
    """The methods that "KIND:MODEL" stands for, loaded.

    Raises:
      ConfigError, WeightsError: no such kind, or weights that cannot be used; in one line.
    """
    name, _, model = entry.partition(":")
    if name == HELD_OUT:
        name, model = "optimus", entry
    folds = model.startswith(f"{HELD_OUT}:")
    model = model.partition(":")[2] if folds else model
    known = ", ".join((*LEARNED, HELD_OUT))
    whole = name in LEARNED and model != ""
    require(whole, f"method {entry!r}: want KIND:MODEL with KIND one of {known}")
    if folds:
        label = f"{HELD_OUT}:{short_name(model)}"
        return [_held_out_method(name, model, label if name == "optimus" else f"{name}:{label}")]
    found = [model]
    if any(sign in model for sign in "*?["):
        found = sorted(fnmatch.filter(weights.available(), model)) or sorted(glob.glob(model))
    require(bool(found), f"method {entry!r}: no weights match {model!r}")
    return [method_of(name, each, f"{name}:{short_name(each)}") for each in found]


def require_unseen(method: Method, functions: Sequence[str]) -> None:
    """Refuses to score held-out weights on functions that they have seen.

    Raises:
      ConfigError: one line.
    """
    if method.unseen is None:
        return
    only = ", ".join(method.unseen) or "none"
    instead = "score them on held-out functions, use heldout:PREFIX, or say --split any"
    for function in functions:
        tag = tag_of(function)
        seen = f"{method.name}: its weights do not hold out the group {tag} of {function}"
        require(tag in method.unseen, f"{seen}, only {only}; {instead}")
