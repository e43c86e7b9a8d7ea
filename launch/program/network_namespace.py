"""Seals a local run in a network namespace of its own, with nothing but loopback in it.

Courier and Reverb listen on every interface without authentication, and whoever reaches their ports
can run code. A local run needs only loopback, so it enters an empty namespace before it starts
anything.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_IFREQ = struct.Struct("16sH22x")  # struct ifreq: name, flags

_OPEN = (
    "Courier and Reverb will listen on every interface without authentication, and whoever reaches "
    "their ports can run code; use a firewall or a private network"
)


def enter_network_namespace() -> str | None:
    """Moves this process, and all it starts from now on, into a new network namespace.

    Loopback is up in there, nothing else exists. Root needs no more than that; an ordinary user
    gets it inside a user namespace that maps the same user and group. To be called while the
    process has one thread, before heavy imports, because a namespace belongs to a thread.

    Returns:
      None on success. Otherwise one sentence: why it is not possible and what is therefore open.
      The process is then as it was, since everything is tried in a forked child first.
    """
    if not sys.platform.startswith("linux"):
        return _sentence(f"{sys.platform} has no network namespaces")
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        return _sentence(f"the process already has {threads} threads")
    reason = _tried_in_child() or _reason(_enter)
    return None if reason is None else _sentence(reason)


def _sentence(reason: str) -> str:
    return f"no private network namespace ({reason}): {_OPEN}"


def _reason(action: Callable[[], None]) -> str | None:
    try:
        action()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return None


def _tried_in_child() -> str | None:
    """Enters and connects over loopback in a forked child; returns why that failed, or None."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        reason: str | None = "the attempt failed"
        try:
            os.close(read)
            reason = _reason(_enter) or _reason(_connect_over_loopback)
            os.write(write, (reason or "").encode())
        finally:
            os._exit(0 if reason is None else 1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    return None if status == 0 else text or f"the attempt ended with status {status}"


def _enter() -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        _unshare(_CLONE_NEWNET)
    except OSError:  # no right to it as we are; a user namespace gives it
        _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
        for name, text in maps.items():
            Path("/proc/self", name).write_text(text, encoding="utf-8")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:  # raises loopback
        request = fcntl.ioctl(handle, _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0))
        flags = _IFREQ.unpack(request)[1]
        fcntl.ioctl(handle, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP))


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare")


def _connect_over_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.settimeout(1)
        client.connect(server.getsockname())
