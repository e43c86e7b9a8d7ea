"""Checkpoints: a folder per step, complete or absent, never half there, never a pickle.

    checkpoints/<step>/state.safetensors   arrays by name
    checkpoints/<step>/manifest.json       step, sha256, time, config hash, metrics, code, libraries
    checkpoints/LATEST                     name of the folder to resume from
    checkpoints/BEST                       name of the one that evaluates best
    checkpoints/HELD                       name of the one that is being evaluated: it stays

A folder is written under a temporary name, synced, then renamed; `LATEST` is replaced only after
that, so a crash or a full disk at any moment leaves the previous one in force. Every load checks
the sha256; a damaged checkpoint is passed over for the one before it, and the caller is told.

The first, the newest k, every n-th, the best and the one being evaluated stay. The learner saves
and prunes; other processes, the evaluator and `optimus eval`, move `BEST` and `HELD`. They share
nothing but these files: a prune reads both pointers right before it deletes, and whoever points
looks afterwards whether the folder is still there.

A run may go back: `LATEST` is set to an older step, and what follows is made again. What lies past
`LATEST` is of the course that was left, and goes when the run passes it. A step is no name for
weights: the sha256 is.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from optimus.errors import ConfigError, UserError
from optimus.files import read_json
from optimus.rundir import manifest as checkpoint_manifest

STATE = "state.safetensors"
MANIFEST = "manifest.json"
LATEST = "LATEST"
BEST = "BEST"
HELD = "HELD"
_STEP = re.compile("0|[1-9][0-9]{0,17}")


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be written or used; the message is one line."""

    final = True


class NewerFormat(CheckpointError):
    """A whole checkpoint of a version to come: nothing to be passed over and written anew."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete, verified checkpoint."""

    step: int
    arrays: dict[str, np.ndarray]
    manifest: dict[str, Any]
    path: Path


def save(
    folder: Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    manifest: Mapping[str, Any],
    keep: int | None = None,
    keep_every: int | None = None,
) -> Path:
    """Writes `folder/<step>` and points `LATEST` at it.

    Args:
      folder: the run's `checkpoints` directory, made if missing.
      step: updates done.
      arrays: what to save by name, of any shape such as float32 `[P]`; written in C order.
      manifest: JSON values added to step, sha256, time, code and libraries.
      keep: how many newest folders stay (step 0, the best and the one under evaluation always do);
        None keeps all.
      keep_every: folders whose step is a multiple of it stay too; None or 0: no such rule.

    Raises:
      CheckpointError: the disk refused; what was there before is untouched.
    """
    final, before = folder / str(step), named_step(folder, LATEST)
    temporary = folder / f".{step}.{uuid.uuid4().hex[:8]}"
    aside = folder / f".{step}.replaced.{uuid.uuid4().hex[:8]}"
    try:
        temporary.mkdir(parents=True)
        contiguous = {name: np.array(value, order="C") for name, value in arrays.items()}
        data = safetensors.numpy.save(contiguous)
        (temporary / STATE).write_bytes(data)
        content = checkpoint_manifest.describe(manifest, time.time(), len(data))
        content |= {"step": step, "sha256": hashlib.sha256(data).hexdigest()}
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        for name in (STATE, MANIFEST):
            sync(temporary / name)
        sync(temporary)
        if final.exists():  # the same step again, after a fallback to an older checkpoint
            if pointed(folder, BEST) == step and sha256_of(final) != content["sha256"]:
                (folder / BEST).unlink(missing_ok=True)  # what was judged are other weights
            os.replace(final, aside)
        os.replace(temporary, final)
        sync(folder)
        write_atomically(folder / LATEST, f"{step}\n")
    except OSError as error:
        if aside.exists() and not final.exists():
            with contextlib.suppress(OSError):
                os.replace(aside, final)
        why = f"{error.strerror or error}; the previous one stands"
        raise CheckpointError(f"cannot write checkpoint {final}: {why}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for left in steps(folder):  # of a course that was left: the run has passed them
        if before is not None and before < left < step:
            shutil.rmtree(folder / str(left), ignore_errors=True)
    prune(folder, step, keep, keep_every)
    return final


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of one checkpoint folder, its state unread; raises `CheckpointError`."""
    try:
        manifest = read_json(path / MANIFEST)
    except ConfigError as error:
        raise CheckpointError(f"checkpoint {path} is incomplete: {error}") from None
    problem = checkpoint_manifest.problem(manifest)
    if problem:
        kind = NewerFormat if checkpoint_manifest.is_newer(manifest) else CheckpointError
        raise kind(f"checkpoint {path}: {MANIFEST} {problem}")
    return dict(manifest)


def sha256_of(path: Path) -> str | None:
    """What the manifest of one checkpoint folder says; None where it says nothing."""
    try:
        return read_manifest(path).get("sha256")
    except CheckpointError:
        return None


def load(path: Path) -> Checkpoint:
    """Loads one checkpoint folder; raises `CheckpointError` when any part of it is damaged."""
    manifest = read_manifest(path)
    try:
        data = (path / STATE).read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} is incomplete: {error}") from None
    if hashlib.sha256(data).hexdigest() != manifest.get("sha256"):
        raise CheckpointError(f"checkpoint {path} is damaged: sha256 of {STATE} does not match")
    try:
        arrays = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}") from None
    return Checkpoint(int(manifest["step"]), arrays, manifest, path)


def load_latest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint that `LATEST` names, or else the newest that verifies.

    Returns:
      The checkpoint, or None when there is none at all, and one line for each that had to be passed
      over. A complete folder that `LATEST` does not name yet, of a save that was killed, is older
      work done again: it is no problem, and no line.

    Raises:
      CheckpointError: there are checkpoints and none can be used.
      NewerFormat: the one to go on from is of a later version.
    """
    problems: list[str] = []
    named, there = named_step(folder, LATEST), steps(folder)
    if named is not None and named not in there and there:
        problems.append(f"{folder / LATEST} names {named}, which is not there")
    if named in there:
        # The last is tried first: the named one, those before it, those of a course that was left.
        before = [step for step in there if step < named]
        there = [*there[len(before) + 1 :], *before, named]
    for step in reversed(there):
        try:
            found = load(folder / str(step))
            if found.step == step:
                return found, problems
            problems.append(f"checkpoint {found.path} is that of step {found.step}")
        except NewerFormat:
            raise
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError(f"no usable checkpoint in {folder}: {problems[0]}")
    return None, problems


# ------------------------------------------------- files, pointers, and which checkpoints stay


def sync(path: Path) -> None:
    """Forces a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces a small file so that a reader sees the old or the new content, nothing else.

    Raises:
      OSError: the disk refuses, or a folder, a device, a pipe or the like is at `path`: a file
        would take its place.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is no ordinary file", str(path))
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
        text = (folder / name).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return int(text) if _STEP.fullmatch(text) else None


def point(folder: Path, name: str, step: int) -> None:
    """Writes a pointer; raises `CheckpointError`."""
    try:
        try:
            write_atomically(folder / name, f"{step}\n")
        except FileNotFoundError:  # another process that points swept the half-written file away
            write_atomically(folder / name, f"{step}\n")
    except OSError as error:
        raise CheckpointError(f"cannot write {folder / name}: {error.strerror or error}") from error


def steps(folder: Path) -> list[int]:
    """Steps that have a folder, ascending, damaged ones included."""
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if _STEP.fullmatch(p.name) and p.is_dir())


def latest_step(folder: Path) -> int | None:
    """The step that `LATEST` names if its folder is there, else the largest; None without any."""
    named = pointed(folder, LATEST)
    return max(steps(folder), default=None) if named is None else named


def best_step(folder: Path) -> int | None:
    """The step that `BEST` names if its folder is there, else None. What lies past `LATEST` is of a
    course that was left, and not the best of this one."""
    best, newest = pointed(folder, BEST), pointed(folder, LATEST)
    return None if best is None or (newest is not None and best > newest) else best


def pointed(folder: Path, name: str) -> int | None:
    """The step that a pointer names if its folder is there, else None."""
    step = named_step(folder, name)
    return step if step is not None and (folder / str(step)).is_dir() else None


def mark_best(folder: Path, step: int) -> None:
    """Points `BEST` at a checkpoint, which then stays; `CheckpointError` when it is not there."""
    _point(folder, BEST, step, best_step(folder))


def hold(folder: Path, step: int) -> None:
    """Keeps a checkpoint while it is evaluated, until the next `hold`; raises `CheckpointError`."""
    _point(folder, HELD, step, None)


def _point(folder: Path, name: str, step: int, before: int | None) -> None:
    for leftover in folder.glob(f".{name}.*"):  # of a killed writer, or of one at work: `point`
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
