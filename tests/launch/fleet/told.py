"""Hosts that answer whatever a test tells them to, in the place of Ansible."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from launch.fleet import actions, ansible
from launch.fleet.ansible import Answer
from launch.fleet.inventory import Host

HEAD, WORKER = Host("h1", True), Host("w1", False)
RUN = {"run": "r", "role": "head", "workers": 2}
LOOK = {
    "unfit": "",
    "free": 2**40,
    "cores": 4,
    "deployed": "0" * 12,
    "run": RUN,
    "alive": True,
    "programs": {"head": "RUNNING pid 1"},
    "taken": [],
}


def packed(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A gzipped archive; a member is its content, or its header."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            data = content if isinstance(content, bytes) else b""
            info.size = info.size or len(data)
            tar.addfile(info, io.BytesIO(data) if data else None)
    return made.getvalue()


class Told:
    """What `actions` say while hosts answer as they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self.answers: dict[str, Any] = {}
        self.archives: dict[str, bytes] = {}
        self.requests: list[dict[str, Any]] = []
        monkeypatch.setattr(ansible, "call", self._call)

    def _call(
        self,
        hosts: Any,
        requests: Mapping[str, Any],
        *,
        copy: Any = None,
        fetch: Path | None = None,
        timeout: float = 0.0,
    ) -> dict[str, Answer]:
        self.requests += [dict(request) for request in requests.values()]
        for host, archive in self.archives.items():
            if fetch and host in requests:
                (fetch / f"{host}.tar.gz").write_bytes(archive)
        texts = {host: self.answers.get(host, {"error": "gone"}) for host in requests}
        return {
            host: text if isinstance(text, Answer) else Answer(str(text.get("error", "")), text)
            for host, text in texts.items()
        }

    def holds(self, host: Host, run: Any, members: Mapping[str, Any], **more: Any) -> None:
        self.answers[host.name] = {"run": run, "file": "/somewhere", **more}
        self.archives[host.name] = packed(members)

    def collect(self, *hosts: Host, name: str | None = None, into: Path | None = None) -> bool:
        return actions.collect(list(hosts or (HEAD, WORKER)), name, into, self.lines.append)

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)
