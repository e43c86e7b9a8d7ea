"""Configurations by name; a file's docstring says command, time and expected result.

A file `sweep_*` describes a sweep; any other the run of its name, or a family of runs, `NAMES`.
"""

import difflib
import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path
from types import ModuleType

from launch.sweeps import Sweep
from optimus.config import ConfigError, TrainConfig
from optimus.files import path_of
from optimus.rundir import load_config

_SWEEP = "sweep-"


def _files() -> list[str]:
    return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__))


def _runs() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Configuration -> (its file, arguments of the file's `get_config`)."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in _files():
        if not name.startswith(_SWEEP):
            family = getattr(_module(name), "NAMES", None)
            members = {name: ()} if family is None else {member: (member,) for member in family}
            found |= {member: (name, arguments) for member, arguments in members.items()}
    return found


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def names() -> list[str]:
    """Known configurations of runs."""
    return list(_runs())


def sweep_names() -> list[str]:
    """Known sweeps."""
    return [name.removeprefix(_SWEEP) for name in _files() if name.startswith(_SWEEP)]


def summaries() -> tuple[dict[str, str], dict[str, str]]:
    """(configurations, sweeps): name -> the first sentence that a file's docstring has of it."""

    def sentence(file: str, name: str = "") -> str:
        paragraphs = (_module(file).__doc__ or "").split("\n\n")
        chosen = paragraphs[0]
        for paragraph in paragraphs:  # "classical: ...", "heldout-GROUP: ...", "-physics: ..."
            head, _, rest = paragraph.partition(": ")
            known = re.fullmatch(re.escape(head).replace("GROUP", r"\w+"), name)
            if known or (head.startswith("-") and name.endswith(head)):
                chosen = rest
        return re.split(r"[.;] |[.:]$", " ".join(chosen.split()))[0]

    runs = {name: sentence(file, name) for name, (file, _) in _runs().items()}
    return runs, {name: sentence(_SWEEP + name) for name in sweep_names()}


def find(name: str) -> TrainConfig:
    """A configuration by name, or from the path of a resolved `config.json`.

    Raises:
      ConfigError: no such name or file; the line says what there is.
    """
    if name.endswith(".json") or "/" in name:
        return load_config(path_of(name, "config"))
    runs = _runs()
    if name not in runs:
        raise _unknown("config", name, list(runs), "config.json")
    file, arguments = runs[name]
    config = _module(file).get_config(*arguments)
    assert isinstance(config, TrainConfig)
    return config


def find_sweep(name: str) -> Sweep:
    """A sweep by name, or from the path of a Python file with `get_sweep()`.

    Raises:
      ConfigError: no such name or file; the line says what there is.
    """
    if name.endswith(".py") or "/" in name:
        return _sweep_in(path_of(name, "sweep"))
    if name not in sweep_names():
        raise _unknown("sweep", name, sweep_names(), "a Python file with get_sweep()")
    sweep = _module(_SWEEP + name).get_sweep()
    assert isinstance(sweep, Sweep)
    return sweep


def _sweep_in(path: Path) -> Sweep:
    spec = importlib.util.spec_from_file_location("_sweep", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        sweep = module.get_sweep() if hasattr(module, "get_sweep") else None
    except ConfigError:
        raise
    except Exception as error:  # it is the user's, and may do anything
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"{path}: want a function get_sweep() that returns a launch.sweeps.Sweep")
    return sweep


def _unknown(what: str, name: str, known: list[str], path: str) -> ConfigError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    there = f"known: {', '.join(known)}, or a path to {path}"
    return ConfigError(f"unknown {what} {name!r}; {hint}{there}")
