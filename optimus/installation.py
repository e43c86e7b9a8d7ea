"""This installation: its cache, and the commands that change it, as a user can paste them."""

import contextlib
import fcntl
import importlib.metadata
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from optimus.errors import UserError

DISTRIBUTION = "optimus-learned-optimizer"
WAIT = 900.0  # s, for another process that fetches or compiles the same


def python_command(*words: str) -> str:
    """`python -m WORDS` with this very interpreter, quoted for a shell."""
    return shlex.join([sys.executable, "-m", *words])


def extra_command(extra: str) -> str:
    """The command that adds an extra of ours to this environment, quoted for a shell."""
    return install_command(f"{DISTRIBUTION}[{extra}]")


def distributed_command() -> str | None:
    """The command that adds Launchpad, Reverb and TensorFlow; None where none is made for."""
    here = (sys.version_info[:2], sys.platform, platform.machine())
    return extra_command("distributed") if here == ((3, 10), "linux", "x86_64") else None


def version_of(distribution: str) -> str | None:
    """The version that is installed; None: none is, as when run from a folder of sources."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def has_pip() -> bool:
    """Whether pip is here. Looking for the module would make setuptools take its distutils back,
    and TensorFlow's import then warns."""
    return bool(list(importlib.metadata.distributions(name="pip")))


def install_command(*wanted: str) -> str:
    """The command that installs packages into this environment, quoted for a shell."""
    if has_pip():
        return python_command("pip", "install", *wanted)
    return shlex.join(["uv", "pip", "install", "--python", sys.executable, *wanted])


def cache_dir() -> Path:
    """Where what was fetched or compiled is kept between runs; `OPTIMUS_CACHE` moves it."""
    base = os.environ.get("OPTIMUS_CACHE") or f"~/.cache/{DISTRIBUTION}"
    try:
        return Path(base).expanduser()
    except RuntimeError:  # an account without a home, as in many containers
        raise UserError(f"no home directory for {base}: set OPTIMUS_CACHE to a folder") from None


@contextlib.contextmanager
def locked(path: Path, wait: float = WAIT) -> Iterator[None]:
    """Holds a lock file, made with its folder; the others wait. It goes with the process.

    Raises:
      UserError: the folder cannot be written, or another process has not let go within `wait` s.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        what = f"{path.parent} cannot be written ({error.strerror})"
        raise UserError(f"{what}: set OPTIMUS_CACHE to a folder that can") from None
    try:
        deadline = time.monotonic() + wait
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() >= deadline:
                raise UserError(f"another process has held {path} for {wait:.0f} s: end it first")
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)
