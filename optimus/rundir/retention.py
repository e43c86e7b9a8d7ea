"""The names inside a `checkpoints` folder, its pointers, and which checkpoints stay.

The first, the newest k, every n-th, the best and the one being evaluated stay. The learner saves
and prunes; another process, the evaluator, moves `BEST` and `HELD`. They share nothing but these
files: a prune reads both pointers right before it deletes, and whoever points looks afterwards
whether the folder is still there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path

from optimus.errors import UserError

STATE = "state.safetensors"
MANIFEST = "manifest.json"
LATEST = "LATEST"
BEST = "BEST"
HELD = "HELD"


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be written or used; the message is one line."""

    final = True


def sync(path: Path) -> None:
    """Forces a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces a small file so that a reader sees the old or the new content, nothing else."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def named_step(folder: Path, name: str) -> int | None:
    """The step that a pointer (`LATEST`, `BEST`, `HELD`) names; None where there is none."""
    try:
        return int((folder / name).read_text())
    except (OSError, ValueError):
        return None


def point(folder: Path, name: str, step: int) -> None:
    """Writes a pointer; raises `CheckpointError`."""
    try:
        write_atomically(folder / name, f"{step}\n")
    except OSError as error:
        raise CheckpointError(f"cannot write {folder / name}: {error.strerror or error}") from error


def steps(folder: Path) -> list[int]:
    """Steps that have a folder, ascending, damaged ones included."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit())


def latest_step(folder: Path) -> int | None:
    """The step that `LATEST` names if its folder is there, else the largest; None without any."""
    named = named_step(folder, LATEST)
    if named is not None and (folder / str(named)).is_dir():
        return named
    return max(steps(folder), default=None)


def best_step(folder: Path) -> int | None:
    """The step that `BEST` names; None where there is none."""
    return named_step(folder, BEST)


def mark_best(folder: Path, step: int) -> None:
    """Points `BEST` at a checkpoint, which then stays; `CheckpointError` when it is not there."""
    before = best_step(folder)
    _point(folder, BEST, step, before)


def hold(folder: Path, step: int) -> None:
    """Keeps a checkpoint while it is evaluated, until the next `hold`; raises `CheckpointError`."""
    _point(folder, HELD, step, None)


def _point(folder: Path, name: str, step: int, before: int | None) -> None:
    for leftover in folder.glob(f".{name}.*"):  # of a killed writer; there is one at a time
        leftover.unlink(missing_ok=True)
    point(folder, name, step)
    if not (folder / str(step)).is_dir():  # pruned meanwhile
        if before is None:
            (folder / name).unlink(missing_ok=True)
        else:
            point(folder, name, before)
        raise CheckpointError(f"{folder / str(step)} is not there: {name} cannot name it")


def prune(folder: Path, newest: int, keep: int | None, keep_every: int | None) -> None:
    """Deletes what killed saves left, and the checkpoints that no rule keeps.

    Args:
      folder: the run's `checkpoints` directory.
      newest: the step just saved. Folders past it are damaged ones that were passed over: they
        count as nothing and stay.
      keep: how many newest stay; None keeps all.
      keep_every: steps that are multiples of it stay too; None or 0: no such rule.
    """
    others = (f".{BEST}.", f".{HELD}.")  # being written by another process
    for leftover in folder.glob(".*"):
        if leftover.name.startswith(others):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                leftover.unlink()
    if keep is None:
        return
    for step in [step for step in steps(folder) if 0 < step <= newest][:-keep]:
        pinned = keep_every and step % keep_every == 0
        if not pinned and step not in (named_step(folder, BEST), named_step(folder, HELD)):
            shutil.rmtree(folder / str(step), ignore_errors=True)
