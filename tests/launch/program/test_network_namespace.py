"""Entering a network namespace, each time in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")

ROOT = pathlib.Path(__file__).resolve().parents[3]

# Enters (after BEFORE), then reports what can be seen from inside.
PROBE = """
import ctypes, json, os, socket, subprocess, sys, threading
from launch.program.network_namespace import enter_network_namespace

def over_loopback(family, address):
    try:
        with socket.create_server((address, 0), family=family) as server:
            client = socket.socket(family)
            client.connect(server.getsockname())
            with client, server.accept()[0] as accepted:
                accepted.sendall(b"hello")
                return client.recv(5).decode()
    except OSError as error:
        return str(error)

BEFORE
space = os.readlink("/proc/self/ns/net")
user = os.getuid(), os.getgid()
reason = enter_network_namespace()
print(json.dumps({
    "reason": reason,
    "changed": os.readlink("/proc/self/ns/net") != space,
    "same_user": (os.getuid(), os.getgid()) == user,
    "interfaces": [name for _, name in socket.if_nameindex()],
    "loopback": over_loopback(socket.AF_INET, "127.0.0.1"),
    "child": os.readlink("/proc/self/ns/net") == subprocess.run(
        ["readlink", "/proc/self/ns/net"], capture_output=True, text=True).stdout.strip(),
}))
"""
AS_NOBODY = """
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self is this user's again
"""
FORBIDDEN = """
class Libc:
    def unshare(self, flags):
        ctypes.set_errno(1)
        return -1
ctypes.CDLL = lambda *_, **__: Libc()
"""
NO_LOOPBACK = """
import fcntl
def refuse(*_):
    raise PermissionError(1, "Operation not permitted")
fcntl.ioctl = refuse
"""


def probe(before: str = "") -> dict[str, Any]:
    command = [sys.executable, "-c", PROBE.replace("BEFORE", before)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def assert_says_what_is_open(seen: dict[str, Any]) -> None:
    assert not seen["changed"]
    assert seen["loopback"] == "hello"  # nothing was taken away
    assert seen["reason"].startswith("no private network namespace (")
    assert "Courier and Reverb will listen on every interface without auth" in seen["reason"]
    assert "\n" not in seen["reason"]


@pytest.mark.parametrize("user", ["self", "nobody"])
def test_inside_there_is_loopback_and_nothing_else(user: str) -> None:
    if user == "nobody" and os.geteuid() != 0:
        pytest.skip("only root can become another user; the ordinary user is tested as self")
    seen = probe(AS_NOBODY if user == "nobody" else "")
    assert seen["same_user"] and seen["child"]
    if seen["reason"] is not None:  # this kernel or container forbids it
        assert_says_what_is_open(seen)
        return
    assert seen["changed"]
    assert seen["interfaces"] == ["lo"]
    assert seen["loopback"] == "hello"


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (FORBIDDEN, "unshare: Operation not permitted"),
        (NO_LOOPBACK, "Operation not permitted"),
        ("threading.Thread(target=threading.Event().wait, daemon=True).start()", "2 threads"),
        ("sys.platform = 'darwin'", "darwin has no network namespaces"),
    ],
)
def test_where_it_is_impossible_one_sentence_says_what_is_open(before: str, why: str) -> None:
    seen = probe(before)
    assert_says_what_is_open(seen)
    assert why in seen["reason"]
