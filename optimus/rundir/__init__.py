"""A run directory: who owns it, what its configuration is."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optimus.config import ConfigError, TrainConfig, from_dict, to_dict
from optimus.errors import UserError
from optimus.files import read_json

CONFIG = "config.json"
# Values that may differ when a run is resumed: they change how long it runs, not what it computes.
RESUMABLE = (
    *("updates", "checkpoint_every", "keep_checkpoints", "keep_checkpoints_every"),
    *("evaluator", "call_timeout"),
)


class RunDirError(UserError, RuntimeError):
    """A run directory that cannot be used; the message is one line."""

    final = True


def load_config(path: Path) -> TrainConfig:
    """A resolved `config.json`; raises `ConfigError` with one line."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: want a JSON object")
    try:
        return from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def prepare(run_dir: Path, config: TrainConfig) -> None:
    """Makes the directory and writes `config.json`, or checks that it is a run of this config.

    Raises:
      RunDirError: the directory holds a run of another configuration; the line names a difference.
    """
    from optimus.rundir.checkpoint import write_atomically  # needs NumPy, which readers do without

    path = run_dir / CONFIG
    if path.exists():
        difference = _difference(to_dict(load_config(path)), to_dict(config))
        if difference:
            raise RunDirError(
                f"{run_dir} holds a run of another configuration ({difference}); "
                "use another --run-dir, or that configuration to resume it"
            )
    elif run_dir.exists() and not run_dir.is_dir():
        raise RunDirError(f"{run_dir} is not a directory")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(to_dict(config), indent=2) + "\n")
    except OSError as error:
        raise RunDirError(f"cannot write {path}: {error.strerror}") from None


def _difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(old.keys() | new.keys()):
        a, b = _numbered(old.get(key)), _numbered(new.get(key))
        if isinstance(a, dict) and isinstance(b, dict):
            inner = _difference(a, b, f"{prefix}{key}.")
            if inner:
                return inner
        elif a != b and f"{prefix}{key}" not in RESUMABLE:
            return f"{prefix}{key} is {a!r} there and {b!r} here"
    return ""


def _numbered(value: Any) -> Any:
    """Phases as a dict, so that the difference is named as `--set` names it."""
    phases = isinstance(value, (list, tuple)) and value and isinstance(value[0], dict)
    return {str(k): each for k, each in enumerate(value)} if phases else value


@contextmanager
def owned(run_dir: Path) -> Iterator[None]:
    """Holds the run directory for one process; raises `RunDirError` when another one runs it."""
    descriptor = os.open(run_dir / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunDirError(
                f"{run_dir} is being run by another process; stop it first, or use another "
                "--run-dir"
            ) from None
        yield
    finally:
        os.close(descriptor)
