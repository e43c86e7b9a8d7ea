"""Checkpoints: a folder per step, complete or absent, never half there, never a pickle.

    checkpoints/<step>/state.safetensors   arrays by name
    checkpoints/<step>/manifest.json       step, hashes, versions, anything small
    checkpoints/LATEST                     name of the newest complete folder
    checkpoints/BEST                       name of the one that validates best, if the run does that

A folder is written under a temporary name, synced, then renamed; `LATEST` is replaced only after
that, so a crash or a full disk at any moment leaves the previous one in force. Every load checks
the sha256; a damaged checkpoint is passed over for the one before it, and the caller is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

STATE, MANIFEST, LATEST = "state.safetensors", "manifest.json", "LATEST"
BEST = "BEST"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or used; the message is one line."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete, verified checkpoint."""

    step: int
    arrays: dict[str, np.ndarray]
    manifest: dict[str, Any]
    path: Path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Replaces a small text file so that a reader sees the old or the new text, nothing else."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_text(text)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def save(
    folder: Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    manifest: Mapping[str, Any],
    keep: int | None = None,
) -> Path:
    """Writes `folder/<step>` and points `LATEST` at it.

    Args:
      folder: the run's `checkpoints` directory, made if missing.
      step: updates done.
      arrays: what to save, C order.
      manifest: JSON values added to step and sha256.
      keep: how many newest folders stay (step 0 and the best always do); None keeps all.

    Raises:
      CheckpointError: the disk refused; what was there before is untouched.
    """
    final = folder / str(step)
    temporary = folder / f".{step}.{uuid.uuid4().hex[:8]}"
    aside = folder / f".{step}.replaced.{uuid.uuid4().hex[:8]}"
    try:
        temporary.mkdir(parents=True)
        contiguous = {name: np.array(value, order="C") for name, value in arrays.items()}
        data = safetensors.numpy.save(contiguous)
        (temporary / STATE).write_bytes(data)
        content = {**manifest, "step": step, "sha256": hashlib.sha256(data).hexdigest()}
        (temporary / MANIFEST).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
        for name in (STATE, MANIFEST):
            _sync(temporary / name)
        _sync(temporary)
        if final.exists():  # the same step again, after a fallback to an older checkpoint
            os.replace(final, aside)
        os.replace(temporary, final)
        _sync(folder)
        write_atomically(folder / LATEST, f"{step}\n")
    except OSError as error:
        if aside.exists() and not final.exists():
            with contextlib.suppress(OSError):
                os.replace(aside, final)
        raise CheckpointError(
            f"cannot write checkpoint {final}: {error.strerror or error}; the previous one stands"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _prune(folder, step, keep)
    return final


def _prune(folder: Path, newest: int, keep: int | None) -> None:
    for leftover in folder.glob(".*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                leftover.unlink()
    if keep is not None:
        # Folders past `newest` are damaged ones that were passed over: they count as nothing.
        best = best_step(folder)
        for step in [step for step in steps(folder) if 0 < step <= newest][:-keep]:
            if step == best:
                continue
            shutil.rmtree(folder / str(step), ignore_errors=True)


def mark_best(folder: Path, step: int) -> None:
    """Points `BEST` at a checkpoint, which then stays."""
    try:
        write_atomically(folder / BEST, f"{step}\n")
    except OSError as error:
        raise CheckpointError(f"cannot write {folder / BEST}: {error.strerror or error}") from error


def best_step(folder: Path) -> int | None:
    """The step that `BEST` names; None where there is none."""
    try:
        return int((folder / BEST).read_text())
    except (OSError, ValueError):
        return None


def steps(folder: Path) -> list[int]:
    """Steps that have a folder, ascending, damaged ones included."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit())


def load(path: Path) -> Checkpoint:
    """Loads one checkpoint folder; raises `CheckpointError` when any part of it is damaged."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        data = (path / STATE).read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} is incomplete: {error}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("step"), int):
        raise CheckpointError(f"checkpoint {path}: {MANIFEST} names no step")
    if hashlib.sha256(data).hexdigest() != manifest.get("sha256"):
        raise CheckpointError(f"checkpoint {path} is damaged: sha256 of {STATE} does not match")
    try:
        arrays = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from None
    return Checkpoint(int(manifest["step"]), arrays, manifest, path)


def load_latest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies.

    Returns:
      The checkpoint, or None when there is none at all, and one line for each newer one that had to
      be passed over.

    Raises:
      CheckpointError: there are checkpoints and none can be used.
    """
    problems: list[str] = []
    for step in reversed(steps(folder)):
        try:
            return load(folder / str(step)), problems
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError(f"no usable checkpoint in {folder}: {problems[0]}")
    return None, problems
