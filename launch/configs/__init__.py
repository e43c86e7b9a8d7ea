"""Configurations by name: one file each; its docstring says command, time and expected result.

A file `sweep_*` describes a sweep, any other a run.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from pathlib import Path

from launch.sweep import Sweep
from optimus.config import ConfigError, TrainConfig
from optimus.rundir import load_config

_SWEEP = "sweep-"


def _files() -> list[str]:
    return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__))


def names() -> list[str]:
    """Known configurations of runs."""
    return [name for name in _files() if not name.startswith(_SWEEP)]


def sweep_names() -> list[str]:
    """Known sweeps."""
    return [name.removeprefix(_SWEEP) for name in _files() if name.startswith(_SWEEP)]


def find(name: str) -> TrainConfig:
    """A configuration by name, or from the path of a resolved `config.json`.

    Raises:
      ConfigError: no such name or file; the line says what there is.
    """
    if name.endswith(".json") or "/" in name:
        return load_config(Path(name))
    if name not in names():
        raise _unknown("config", name, names(), "config.json")
    config = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").get_config()
    assert isinstance(config, TrainConfig)
    return config


def find_sweep(name: str) -> Sweep:
    """A sweep by name, or from the path of a Python file with `get_sweep()`.

    Raises:
      ConfigError: no such name or file; the line says what there is.
    """
    if name.endswith(".py") or "/" in name:
        return _sweep_in(Path(name))
    if name not in sweep_names():
        raise _unknown("sweep", name, sweep_names(), "a Python file with get_sweep()")
    module = importlib.import_module(f"{__name__}.{(_SWEEP + name).replace('-', '_')}")
    sweep = module.get_sweep()
    assert isinstance(sweep, Sweep)
    return sweep


def _sweep_in(path: Path) -> Sweep:
    spec = importlib.util.spec_from_file_location("_sweep", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sweep = module.get_sweep() if hasattr(module, "get_sweep") else None
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"{path}: want a function get_sweep() that returns a launch.sweep.Sweep")
    return sweep


def _unknown(what: str, name: str, known: list[str], path: str) -> ConfigError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ConfigError(
        f"unknown {what} {name!r}; {hint}known: {', '.join(known)}, or a path to {path}"
    )
