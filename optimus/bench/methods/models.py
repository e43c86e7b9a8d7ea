"""Learned methods by model: `KIND:MODEL`, several side by side; and the folds of arm C.

    optimus                          the weights that the command's --model says
    optimus:NAME_OR_PATH             these weights; the column is called "optimus:NAME"
    optimus_safeguarded:NAME-s*      one column for each name in the package, or path, that matches
    heldout:PREFIX                   PREFIX-quadratic, PREFIX-power, ...: each function is scored by
                                     the weights that hold its group out; "heldout:PREFIX-s0" takes
                                     PREFIX-quadratic-s0 ...; also as MODEL of another kind
KIND is one of `rivals.LEARNED`.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from optimus import weights
from optimus.bench.cells import Method
from optimus.bench.methods import LEARNED, REVISIONS, RunAll
from optimus.bench.methods.labels import HELD_OUT, fold_name
from optimus.bench.methods.sources import Source, short_name, source_of
from optimus.bench.methods.trace import Trace
from optimus.model import registry
from optimus.problems.groups import GROUPS, tag_of
from optimus.problems.presets import Problem
from optimus.weights import LearnedOptimizer

UNTRAINED = "untrained"  # in place of a model: random weights of the default architecture, key 0


def kind_of(method: str) -> str:
    """The kind of model a learned method takes."""
    return "adafactor_mlp" if method == "adafactor_mlp" else "optimus"


def model_of(kind: str, name_or_path: str | os.PathLike[str]) -> tuple[LearnedOptimizer, str]:
    """A model of the given kind, and what the column `weights_hash` says of it: its fingerprint,
    preceded by "untrained:" where it is.

    Raises:
      ValueError: there is no such model, or it is of another kind; in one line.
    """
    if str(name_or_path) == UNTRAINED:
        config = registry.RULES[kind].config_type()
        params = registry.rule_of(config).init_params(config, jax.random.PRNGKey(0))
        model = LearnedOptimizer(config, params, {"what": UNTRAINED, "arm": UNTRAINED})
        return model, f"{UNTRAINED}:{model.fingerprint}"
    model = weights.load(name_or_path)
    if model.kind != kind:
        raise ValueError(f"{name_or_path} holds weights of {model.kind}, need {kind}")
    return model, model.fingerprint


def method_of(name: str, name_or_path: str | os.PathLike[str], label: str = "") -> Method:
    """A learned method, a name in `LEARNED`, with these weights; raises as `model_of` does."""
    model, weights_hash = model_of(kind_of(name), name_or_path)
    run_all = functools.partial(LEARNED[name], model=model)
    sources = {"": source_of(model, name_or_path)}
    revision = REVISIONS.get(name, 0)
    return Method(
        label or name, run_all, weights_hash=weights_hash, sources=sources, revision=revision
    )


def run_folds(
    problems: Sequence[Problem],
    steps: int,
    *,
    run_all: RunAll,
    models: Mapping[str, LearnedOptimizer],
    **options: Any,
) -> list[Trace]:
    """Problems of one cell with the model that is kept for their function's group."""
    return run_all(problems, steps, model=models[tag_of(problems[0].function)], **options)


def held_out_method(name: str, prefix: str, label: str) -> Method:
    """A learned method that scores each function with the weights that never saw its group."""
    models, sources = {}, {}
    for group in GROUPS:
        where = fold_name(prefix, group)
        models[group], _ = model_of(kind_of(name), where)
        sources[group] = source_of(models[group], where)
    run_all = functools.partial(run_folds, run_all=LEARNED[name], models=models)
    revision, weights_hash = REVISIONS.get(name, 0), _hash_of(sources)
    return Method(label, run_all, weights_hash=weights_hash, sources=sources, revision=revision)


def _hash_of(sources: Mapping[str, Source]) -> str:
    text = json.dumps({group: each.fingerprint for group, each in sources.items()}, sort_keys=True)
    return f"{HELD_OUT}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def parse(entry: str) -> tuple[str, bool, str] | None:
    """ "KIND:MODEL" -> (kind, whether MODEL is a prefix of folds, MODEL); None: no such entry.

    Raises:
      ValueError: no KIND of that name, or no MODEL.
    """
    name, colon, model = entry.partition(":")
    if not colon:
        return None
    if name == HELD_OUT:
        name, model = "optimus", entry
    folds = model.partition(":")[0] == HELD_OUT
    model = model.partition(":")[2] if folds else model
    if name not in LEARNED or not model:
        known = ", ".join((*LEARNED, HELD_OUT))
        raise ValueError(f"method {entry!r}: want KIND:MODEL with KIND one of {known}")
    return name, folds, model


def methods_of(entry: str) -> list[Method]:
    """The methods that an entry with a colon stands for, loaded.

    Raises:
      ValueError: no such kind, or weights that cannot be used; in one line.
    """
    parsed = parse(entry)
    assert parsed is not None
    name, folds, model = parsed
    if folds:
        return [held_out_method(name, model, _label(name, f"{HELD_OUT}:{short_name(model)}"))]
    models = sorted(fnmatch.filter(weights.available(), model)) or sorted(glob.glob(model))
    if not any(sign in model for sign in "*?["):
        models = [model]
    if not models:
        raise ValueError(f"method {entry!r}: no weights match {model!r}")
    return [method_of(name, each, _label(name, short_name(each))) for each in models]


def _label(name: str, model: str) -> str:
    return model if name == "optimus" and model.startswith(f"{HELD_OUT}:") else f"{name}:{model}"
