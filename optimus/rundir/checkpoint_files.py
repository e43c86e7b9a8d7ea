"""Small files that are whole or absent, and the names inside a `checkpoints` folder."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from optimus.errors import UserError

STATE, MANIFEST, LATEST = "state.safetensors", "manifest.json", "LATEST"
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
