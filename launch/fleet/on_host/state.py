"""The files of a host.

In the root folder of a host:

    env-ID/  current -> env-ID      an installed wheelhouse, whole once env-ID/.complete is there
    cache/                          motion clips, compiled programs
    fleet.json                      the run that this host works for: there from start to stop
    supervisord.conf .log .sock     its processes, under supervisord
    runs/NAME/  logs/NAME/          the run directory (head), the processes' logs
"""

import contextlib
import json
import os
import platform
import socket
import sys
import sysconfig
from pathlib import Path
from typing import Any


class Problem(Exception):
    """One line that says what is wrong here."""


def unfit() -> str:
    """Why this Python cannot run the program, or nothing."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"{platform.system()} on {platform.machine()}; want Linux on x86_64"
    name = sysconfig.get_config_var("INSTSONAME") or ""
    places = (
        sysconfig.get_config_var("LIBDIR") or "",
        os.path.join(sys.base_prefix, "lib"),
        "/usr/lib/x86_64-linux-gnu",
        "/lib/x86_64-linux-gnu",
    )
    if ".so" not in name or not any(os.path.exists(os.path.join(p, name)) for p in places):
        return f"{sys.executable} has no shared libpython; build it with --enable-shared"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        return f"{sys.executable} has no {error.name} (Debian: python3.10-venv)"
    return ""


def deployed(root: Path) -> str | None:
    """The wheelhouse that is installed, whole."""
    link = root / "current"
    done = link.is_symlink() and (link / ".complete").exists()
    return os.readlink(link).removeprefix("env-") if done else None


def run_of(root: Path) -> dict[str, Any] | None:
    """The run that this host works for."""
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        return dict(json.loads((root / "fleet.json").read_bytes()))
    return None


def python_of(root: Path) -> str:
    """The Python of the run's environment, else of the newest."""
    run = run_of(root)
    return str(root / f"env-{run['id']}/bin/python" if run else root / "current/bin/python")


def is_free(port: int) -> bool:
    """Whether nobody listens there: IPv4 and IPv6 wildcard binds work, as servers here bind."""
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            if error.errno not in (97, 99):  # family or address not there at all
                return False
    return True


def replace(path: Path, text: str) -> None:
    """Writes a file that is whole or the old one."""
    scratch = path.with_name(f".{path.name}")
    with open(scratch, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
