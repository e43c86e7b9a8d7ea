"""Configurations by name: one file each; its docstring says command, time and expected result."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from pathlib import Path

from optimus.config import ConfigError, TrainConfig
from optimus.rundir import load_config


def names() -> list[str]:
    """Known configuration names."""
    return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__))


def find(name: str) -> TrainConfig:
    """A configuration by name, or from the path of a resolved `config.json`.

    Raises:
      ConfigError: no such name or file; the line says what there is.
    """
    if name.endswith(".json") or "/" in name:
        return load_config(Path(name))
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(
            f"unknown config {name!r}; {hint}known: {', '.join(names())}, or a path to config.json"
        )
    config = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").get_config()
    assert isinstance(config, TrainConfig)
    return config
