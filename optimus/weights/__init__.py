"""Trained weights on disk: safetensors for the numbers, a JSON card for what they are.

    NAME.safetensors   the leaves as "theta/<leaf>", named as in a training checkpoint
    NAME.json          the card: kind ("optimus" if it does not say), architecture, sha256 of the
                       file beside it, library versions, and what the author says about training

`load` reads that pair, a training checkpoint, a run directory or a name: of the weights in the
package or, in a checkout of the repository, of those in benchmarks/weights. Nothing is a pickle.
What differs between kinds of learned optimizers is in `optimus.model.registry`.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from optimus import rundir
from optimus.config.compatibility import without_removed
from optimus.config.serialization import build
from optimus.errors import ConfigError, UserError, require
from optimus.files import path_of, read_json, refused
from optimus.model import registry
from optimus.model.config import OptimizerConfig
from optimus.model.parameters import PREFIX, layout_of
from optimus.model.registry import Config
from optimus.rundir import checkpoint
from optimus.rundir.manifest import libraries

AnyPath = str | os.PathLike[str]
Params = Any  # nested dict of float32 arrays, as `init_params` of the rule lays them out

SHIPPED = Path(__file__).with_name("data")
BESIDE = "benchmarks/weights"  # in the repository, not in the package: weights of the tables
_CHECKOUT = Path(__file__).parents[2] / BESIDE
_INDEX = Path(__file__).with_name("elsewhere.json")  # their names and sha256
FORMAT = 1  # of the card; raised when an older reader could misread a newer one
_SUFFIX, _FOLDER_NAME = ".safetensors", "weights.safetensors"
_LIBRARIES = ("python", "jax", "dm-haiku", "numpy", "safetensors")
_OWN_KEYS = ("format", "kind", "architecture", "sha256", "parameters", "libraries")


class WeightsError(UserError, ValueError):
    """Weights that cannot be written, found or used; the message is one line."""

    exit_code = 2


@dataclass(frozen=True, eq=False)
class LearnedOptimizer:
    """A trained optimizer, for `registry.rule_of(config).update(config, params, ...)`.

    Attributes:
      config: the architecture; its type is that of the rule.
      params: meta-parameters as the rule's `init_params` lays them out, float32. Not to be changed
        in place: weights loaded by name are loaded once and shared.
      card: what is known about them; of a training checkpoint, its manifest.
    """

    config: Config
    params: Params
    card: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """ "optimus" or "adafactor_mlp"."""
        return registry.kind_of(self.config)

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that all that decides the steps goes into: weights, kind and every
        field of the architecture that is not at its default."""
        fields = dataclasses.fields(self.config)
        values = dataclasses.asdict(self.config)
        chosen = {f.name: values[f.name] for f in fields if values[f.name] != f.default}
        digest = hashlib.sha256(json.dumps([self.kind, chosen], sort_keys=True).encode())
        digest.update(layout_of(self.params).flatten(self.params).tobytes())
        return digest.hexdigest()[:16]


def save(
    path: AnyPath, config: Config, params: Params, card: Mapping[str, Any] | None = None
) -> Path:
    """Writes weights and card.

    Args:
      path: "NAME.safetensors", with the card beside it as NAME.json; any other path is a folder,
        made if missing, that gets `weights.safetensors` and `weights.json`.
      config: the architecture of `params`.
      params: meta-parameters, finite.
      card: JSON values for people: what it was trained on, how long, what is known of it.

    Returns:
      The path of the safetensors file; `load` takes it, or the folder.

    Raises:
      WeightsError: `params` are of another architecture or not finite, the card is no JSON or
        uses a key that `save` fills in, or the disk refuses.
    """
    target = _file(path)
    layout = layout_of(params)
    arrays = layout.to_arrays(layout.flatten(params))
    _params_from(arrays, config, str(target))  # what could not be loaded is not written
    used = sorted(set(card or ()) & set(_OWN_KEYS))
    if used:
        raise WeightsError(f"the card has the keys {', '.join(used)}, which save fills in")
    data = safetensors.numpy.save(arrays)
    content = {
        "format": FORMAT,
        "kind": registry.kind_of(config),
        "architecture": dataclasses.asdict(config),
        "parameters": layout.size,
        "sha256": hashlib.sha256(data).hexdigest(),
        "libraries": {name: libraries()[name] for name in _LIBRARIES},
        **(card or {}),
    }
    try:
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the card is no JSON: {error}") from None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_atomically(target, data)
        # Between the two, a crash leaves a pair whose hash does not match: load says so.
        checkpoint.write_atomically(target.with_suffix(".json"), text)
    except OSError as error:
        why = refused(target, error)
        failure = WeightsError(str(why))
        failure.exit_code = why.exit_code
        raise failure from None
    return target


def load(name_or_path: AnyPath) -> LearnedOptimizer:
    """Loads weights, verified.

    Args:
      name_or_path: a name in `available()`; or the path of a safetensors file with its card beside
        it, a folder written by `save`, a training checkpoint (`RUN/checkpoints/STEP`; the
        architecture is read from RUN/config.json), or a run directory (the checkpoint that `BEST`
        names; without one its newest that verifies, with a warning for each newer one that does
        not). A name wins over a path of that name; write "./NAME" for the path.

    Raises:
      WeightsError: nothing of that name, a missing or damaged file, a hash that does not match,
        weights of another architecture than the card or config says, or not finite.
    """
    try:
        return _load(name_or_path)
    except (ConfigError, checkpoint.CheckpointError) as error:
        raise WeightsError(str(error)) from None


def _load(name_or_path: AnyPath) -> LearnedOptimizer:
    if isinstance(name_or_path, str) and name_or_path in available():
        return _load_named(name_or_path)
    path = path_of(name_or_path, "weights")
    if path.is_file() and path.suffix == _SUFFIX:
        return _load_pair(path)
    if (path / _FOLDER_NAME).is_file():
        return _load_pair(path / _FOLDER_NAME)
    if (path / checkpoint.MANIFEST).is_file() or (path / checkpoint.STATE).is_file():
        return _load_checkpoint(path)
    if (path / "checkpoints").is_dir():
        return _load_run(path)
    names = ", ".join(available())
    if path.exists():
        some = f"a {_SUFFIX} file, a folder with {_FOLDER_NAME}, a checkpoint folder with"
        more = f"{checkpoint.STATE}, a run directory with checkpoints/, or one of the names {names}"
        raise WeightsError(f"{path} holds no weights: want {some} {more}")
    sha256 = read_json(_INDEX).get(str(name_or_path))
    if sha256:
        both = f"{BESIDE}/{name_or_path}{_SUFFIX} (sha256 {sha256}) and {name_or_path}.json"
        how = f"fetch {both} from the repository, and load it by its path"
        raise WeightsError(f"{name_or_path} is not in the package: {how}")
    if len(path.parts) > 1:
        raise WeightsError(f"no weights at {path}: no such file or folder")
    close = difflib.get_close_matches(str(name_or_path), available(), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    wrong = f"no weights named {str(name_or_path)!r}, nor such a path"
    raise WeightsError(f"{wrong}; {hint}names: {names}")


def card_path(path: AnyPath) -> Path:
    """Where the card of weights that `save` wrote to `path` lies."""
    return _file(path).with_suffix(".json")


def _file(path: AnyPath) -> Path:
    """The safetensors file that `save` writes to `path`."""
    target = Path(path)
    return target if target.suffix == _SUFFIX else target / _FOLDER_NAME


def shipped() -> tuple[str, ...]:
    """Names of the weights inside the package."""
    return _names_in(SHIPPED)


def available() -> tuple[str, ...]:
    """Names that `load` finds: those of `shipped`, and in a checkout those beside the benchmark."""
    return tuple(sorted({*shipped(), *_names_in(_CHECKOUT)}))


def _names_in(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob(f"*{_SUFFIX}")))


@functools.cache
def _load_named(name: str) -> LearnedOptimizer:
    return _load_pair((SHIPPED if name in shipped() else _CHECKOUT) / f"{name}{_SUFFIX}")


def _load_pair(path: Path) -> LearnedOptimizer:
    card_path = path.with_suffix(".json")
    card = read_json(card_path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(card, dict) or not isinstance(card.get("architecture"), dict):
        raise WeightsError(f"{card_path} is no card of weights: it names no architecture")
    if card.get("format") != FORMAT:
        raise WeightsError(f"{card_path} has format {card.get('format')!r}, this reads {FORMAT}")
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise WeightsError(f"{path} is damaged or not of its card: sha256 does not match")
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is no safetensors file: {error}") from None
    config = _architecture(card.get("kind", "optimus"), card["architecture"], card_path)
    return LearnedOptimizer(config, _params_from(arrays, config, str(path)), card)


def _architecture(kind: Any, values: dict[str, Any], where: Path) -> Config:
    if not isinstance(kind, str) or kind not in registry.RULES:
        known_kinds = ", ".join(registry.RULES)
        raise WeightsError(f"{where} is of kind {kind!r}, this reads {known_kinds}")
    config_type = registry.RULES[kind].config_type
    try:
        if config_type is OptimizerConfig:
            values = without_removed({"optimizer": values})["optimizer"]
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(config_type)})
        new = f"architecture has {', '.join(unknown)}, unknown to this version of optimus"
        require(not unknown, f"{new} for {kind}")
        config: Config = build(config_type, values, "optimizer")
        return config
    except ConfigError as error:
        raise WeightsError(f"{where}: {error}") from None


def _load_checkpoint(path: Path) -> LearnedOptimizer:
    found = checkpoint.load(path)
    config = rundir.load_config(path.resolve().parents[1] / rundir.CONFIG).optimizer
    params = _params_from(found.arrays, config, f"checkpoint {path}")
    return LearnedOptimizer(config, params, found.manifest)


def _load_run(run_dir: Path) -> LearnedOptimizer:
    best = checkpoint.best_step(run_dir / "checkpoints")
    if best is not None:
        return _load_checkpoint(run_dir / "checkpoints" / str(best))
    found, problems = checkpoint.load_latest(run_dir / "checkpoints")
    if found is None:
        raise WeightsError(f"{run_dir} has no checkpoint yet")
    for problem in problems:
        warnings.warn(f"{problem}; an older one is used", stacklevel=4)
    return _load_checkpoint(found.path)


def _params_from(arrays: Mapping[str, np.ndarray], config: Config, where: str) -> Params:
    """The nested parameters from arrays named "theta/<leaf>"; others, such as Adam's, may be by."""
    init_params = functools.partial(registry.rule_of(config).init_params, config)
    expected = jax.eval_shape(init_params, jax.random.PRNGKey(0))
    layout = layout_of(expected)
    try:
        flat = layout.from_arrays(arrays)
    except ValueError as error:
        raise WeightsError(f"{where} {error}") from None
    unexpected = sorted({k for k in arrays if k.startswith(PREFIX)} - layout.to_arrays(flat).keys())
    if unexpected:
        raise WeightsError(f"{where} is of another architecture: unexpected {unexpected[0]}")
    if not np.isfinite(flat).all():
        raise WeightsError(f"{where} holds values that are not finite")
    return jax.tree_util.tree_map(jnp.asarray, layout.unflatten(flat))
