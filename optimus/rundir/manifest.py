"""What a manifest says of where a checkpoint came from: code, libraries, moment."""

import functools
import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimus.installation import DISTRIBUTION, version_of

FORMAT = 1  # of the manifest; raised when an older reader could misread a newer one
MOST = 2**62  # no count or id is as large: what is added to one still fits an int64
PACKAGES = ("optimus", "workers", "learner", "launch")
_ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = (
    *("jax", "jaxlib", "dm-haiku", "optax", "numpy", "scipy", "safetensors"),
    *("dm-launchpad", "dm-reverb", "tensorflow-cpu"),
)
_OF_LEARNER = ("epoch", "first_episode", "open_episodes")  # what goes with "run_id"
_KINDS: dict[str, type] = {
    **dict.fromkeys(("step", "bytes", "evaluations", "epoch", "first_episode"), int),
    **dict.fromkeys(("sha256", "config_hash", "run_id", "launch"), str),
    **dict.fromkeys(("config", "metrics", "open_episodes", "validation"), dict),
}


@functools.cache
def libraries() -> Mapping[str, str]:
    """Versions of Python and of the libraries that decide the numbers; absent ones are left out."""
    found = {name: version_of(name) for name in _LIBRARIES}
    here = {name: version for name, version in found.items() if version}
    return {"python": platform.python_version(), **here}


@functools.cache
def code() -> Mapping[str, str]:
    """Which code this is.

    Returns:
      "version" of the installed distribution and "commit", where there are such; "source", 16
      hexadecimal digits over every Python and C++ file: it tells edited trees apart, and needs no
      git.
    """
    found = {"version": version_of(DISTRIBUTION), "commit": _commit(_ROOT)}
    return {name: value for name, value in found.items() if value} | {"source": _source(_ROOT)}


def _source(root: Path) -> str:
    digest = hashlib.sha256()
    files = (path for package in PACKAGES for path in (root / package).rglob("*"))
    for path in sorted(path for path in files if path.suffix in (".py", ".cc", ".cpp", ".h")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _commit(root: Path) -> str | None:
    """The checked out commit, read from git's files; None outside a repository."""
    git = root / ".git"
    try:
        if git.is_file():  # a linked work tree
            git = root / git.read_text(encoding="utf-8").partition("gitdir:")[2].strip()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        shared = git / "commondir"
        common = (git / shared.read_text(encoding="utf-8").strip()) if shared.is_file() else git
        if (common / name).is_file():
            return (common / name).read_text(encoding="utf-8").strip()
        for line in (common / "packed-refs").read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {name}"):
                return line.split()[0]
    except OSError:
        pass
    return None


def describe(given: Mapping[str, Any], time: float, size: int) -> dict[str, Any]:
    """A manifest without step and sha256: what the caller gives, and what is known of itself.

    Args:
      given: the caller's values; they win, "libraries" key by key.
      time: s since 1970. size: bytes of the state.
    """
    known = {"format": FORMAT, "time": round(time, 3), "bytes": size, "code": dict(code())}
    return {**known, **given, "libraries": {**libraries(), **given.get("libraries", {})}}


def problem(manifest: Any) -> str | None:
    """Why a manifest cannot be used, or None."""
    if not isinstance(manifest, dict):
        return "names no step"
    written = manifest.get("format", FORMAT)
    if type(written) is not int or written > FORMAT:
        return f"has format {written!r:.40}, this version of optimus reads up to {FORMAT}"
    if type(manifest.get("step")) is not int:
        return "names no step"
    for name, kind in _KINDS.items():
        value = manifest.get(name, kind())
        if type(value) is not kind or (type(value) is int and not 0 <= value < MOST):
            within = " within 0 ... 2^62 - 1" if kind is int else ""
            return f"has {name} {value!r:.40}, want {kind.__name__}{within}"
    lacking = [name for name in _OF_LEARNER if "run_id" in manifest and name not in manifest]
    return f"lacks {lacking[0]}" if lacking else None


def is_newer(manifest: Any) -> bool:
    """Whether it is of a version to come."""
    written = manifest.get("format") if isinstance(manifest, dict) else None
    return type(written) is int and bool(written > FORMAT)
