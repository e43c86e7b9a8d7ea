"""Two hosts on one machine: network namespaces joined by one cable that can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HEAD, OTHER = "10.77.0.1", "10.77.0.2"
_CABLE = "cable"
_NAMES = Path("/run/netns")


class Unavailable(RuntimeError):
    """Namespaces cannot be made here; the message says why."""


def ip(*words: str) -> None:
    """Runs `ip WORDS`; raises `Unavailable` with what it says."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"ip {' '.join(words)}: {done.stderr.strip() or done.returncode}")


class Hosts:
    """Two namespaces, `head` at 10.77.0.1 and `other` at 10.77.0.2, with nothing else in them.

    Raises:
      Unavailable: this is not Linux, not root, without `ip`, or the kernel does not allow it.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise Unavailable(f"{sys.platform} has no network namespaces")
        if os.geteuid() != 0:
            raise Unavailable("making two joined network namespaces needs root")
        if shutil.which("ip") is None:
            raise Unavailable("there is no `ip` command (package iproute2)")
        _remove_left_behind()
        self._head, self._other = (f"optimus-{os.getpid()}-{name}" for name in ("head", "other"))
        try:
            for name in (self._head, self._other):
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            ip(
                "-n",
                self._head,
                "link",
                "add",
                _CABLE,
                "type",
                "veth",
                "peer",
                "name",
                _CABLE,
                "netns",
                self._other,
            )
            for name, address in ((self._head, HEAD), (self._other, OTHER)):
                ip("-n", name, "address", "add", f"{address}/24", "dev", _CABLE)
                ip("-n", name, "link", "set", _CABLE, "up")
            # `exec` needs more rights than `add`; better to hear of it here.
            ip("netns", "exec", self._other, "ip", "route", "get", HEAD)
        except Unavailable:
            self.close()
            raise

    @property
    def head(self) -> list[str]:
        """Put before a command, it runs on the head."""
        return ["ip", "netns", "exec", self._head]

    @property
    def other(self) -> list[str]:
        """Put before a command, it runs on the other host."""
        return ["ip", "netns", "exec", self._other]

    def cut(self) -> None:
        """Pulls the cable at the other host: no packet passes, and nobody is told."""
        ip("-n", self._other, "link", "set", _CABLE, "down")

    def restore(self) -> None:
        """Plugs it in again."""
        ip("-n", self._other, "link", "set", _CABLE, "up")

    def close(self) -> None:
        """Removes both; what still runs in there keeps a namespace without a name."""
        for name in (self._head, self._other):
            if (_NAMES / name).exists():
                ip("netns", "delete", name)


def _remove_left_behind() -> None:
    """Namespaces of test runs that were killed."""
    for path in _NAMES.glob("optimus-*-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            ip("netns", "delete", path.name)
