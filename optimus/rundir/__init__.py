"""A run directory: who owns it, what its configuration is."""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
_FOLDERS = ("checkpoints", "metrics", "logs")
_FILES = (
    *("identity.json", "roster.json", "eval.jsonl"),
    *("checkpoints/LATEST", "checkpoints/BEST", "checkpoints/HELD"),
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


def check(run_dir: Path, config: TrainConfig) -> None:
    """Looks whether the directory is new or holds a run of this configuration; changes nothing.

    Raises:
      RunDirError: it holds another run, checkpoints without a configuration, or something that is
        no run; the line names a difference.
    """
    path = run_dir / CONFIG
    for name in (".", *_FOLDERS, *_FILES):
        wanted = "file" if name in _FILES else "directory"
        if (run_dir / name).exists() and (run_dir / name).is_dir() != (wanted == "directory"):
            raise RunDirError(f"{run_dir / name} is not a {wanted}")
    if path.exists():
        _require_same(f"{run_dir} holds a run", load_config(path), config)
    elif any((run_dir / "checkpoints").glob("[0-9]*")):
        lost = "without it nobody knows what the checkpoints beside it are of"
        raise RunDirError(f"{path} is missing, and {lost}; restore it, or use another --run-dir")


def check_checkpoint(path: Path, manifest: Mapping[str, Any], config: TrainConfig) -> None:
    """Looks whether a checkpoint is of this configuration. A manifest of an earlier version holds
    only a hash, over another schema: it says nothing.

    Args:
      path: of the checkpoint.
      manifest: of it.
      config: to go on with.

    Raises:
      RunDirError: it is of another configuration; the line names a difference.
    """
    try:
        stored = from_dict(manifest["config"]) if "config" in manifest else config
    except ConfigError as error:
        raise RunDirError(f"checkpoint {path}: its configuration: {error}") from None
    _require_same(f"checkpoint {path} is", stored, config)


def prepare(run_dir: Path, config: TrainConfig) -> None:
    """Makes the directory and writes `config.json`, if it is new or of this configuration.

    Whoever runs it holds it (`owned`) by then.

    Raises:
      RunDirError: see `check`; or the disk refuses.
    """
    from optimus.rundir.checkpoint import write_atomically  # needs NumPy, which readers do without

    check(run_dir, config)
    path = run_dir / CONFIG
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(to_dict(config), indent=2) + "\n")
    except OSError as error:
        raise RunDirError(f"cannot write {path}: {error.strerror}") from None


def _require_same(what: str, stored: TrainConfig, config: TrainConfig) -> None:
    difference = _difference(to_dict(stored), to_dict(config))
    if difference:
        instead = "use another --run-dir, or that configuration to resume it"
        raise RunDirError(f"{what} of another configuration ({difference}); {instead}")


def _difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(old.keys() | new.keys()):
        a, b = _numbered(old.get(key)), _numbered(new.get(key))
        if isinstance(a, dict) or isinstance(b, dict):  # a part may be there on one side alone
            inner = _difference(a or {}, b or {}, f"{prefix}{key}.")
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
    """Makes the directory if need be, and holds it for one process. Before it is held, nobody may
    write anything into it.

    Raises:
      RunDirError: another process holds it, or it cannot be made or locked.
    """
    path = run_dir / ".lock"
    with ExitStack() as stack:
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            _lock(stack, run_dir, os.O_RDONLY)  # too: the file may be removed or replaced
            _lock(stack, path, os.O_RDWR | os.O_CREAT)
        except BlockingIOError:
            instead = "stop it first, or use another --run-dir"
            raise RunDirError(f"{run_dir} is being run by another process; {instead}") from None
        except FileExistsError:
            raise RunDirError(f"{run_dir} is not a directory") from None
        except OSError as error:
            raise RunDirError(f"cannot write {path}: {error.strerror}") from None
        yield


def _lock(stack: ExitStack, path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EBADF or not path.is_dir():  # NFS locks no directory
            raise
