"""Hosts on one machine: each a network namespace with an address, a hostname, a process space and a
disk of its own, and a real sshd in it. Nothing but the fleet's commands reaches into them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.launch.network_tools import Unavailable, ip

ROOT = Path(__file__).resolve().parents[3]
NETWORK = "10.88.0"
DISK = "/var/tmp"  # on each host, its own
FLEET = f"{DISK}/fleet"
_NAMES = Path("/run/netns")
_BRIDGE = "bridge"
_TOOLS = {
    "ip": "iproute2",
    "unshare": "util-linux",
    "ssh": "openssh-client",
    "/usr/sbin/sshd": "openssh-server",
}

# Runs as the first process of a host: its own disk over the shared one, then its sshd.
_BOOT = """
set -e
hostname {name}
mount --make-rprivate /
{disk}
mkdir -p {private}/sshd /run/sshd
mount --bind {private} {DISK}
mount -t tmpfs none {ROOT}
mount -t tmpfs none /tmp
for tool in gcc g++ cc c++; do  # hosts need no compiler
    path=$(readlink -f "$(command -v $tool)") && mount --bind /bin/false "$path" || true
done
exec /usr/sbin/sshd -D -e -f {DISK}/sshd/config
"""


class Host:
    """One of `Hosts`; `address` and `name` as the inventory has them."""

    def __init__(self, hosts: Hosts, name: str, number: int, megabytes: int | None) -> None:
        self.name, self.address = name, f"{NETWORK}.{number}"
        self.namespace = f"{hosts.prefix}-{name}"
        self.private = hosts.folder / name
        self._hosts, self._megabytes, self._cable = hosts, megabytes, f"v{number}"
        self._boot: subprocess.Popen[bytes] | None = None
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        ip(
            "-n",
            self.namespace,
            "link",
            "add",
            "eth",
            "type",
            "veth",
            "peer",
            "name",
            self._cable,
            "netns",
            hosts.controller,
        )
        ip("-n", hosts.controller, "link", "set", self._cable, "master", _BRIDGE, "up")
        ip("-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth")
        ip("-n", self.namespace, "link", "set", "eth", "up")
        (self.private / "sshd").mkdir(parents=True)
        self.boot()

    def boot(self) -> None:
        """Switches it on, with the disk it has."""
        sshd = self.private / "sshd"
        if self._megabytes:
            disk = f"mount -t tmpfs -o size={self._megabytes}m none {self.private}"
            disk = f"cp -a {sshd} /tmp/sshd-{self.namespace}; {disk}; "
            disk += f"mv /tmp/sshd-{self.namespace} {self.private}/sshd"
        else:
            disk = "true"
        if not (sshd / "key").exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(sshd / "key")], check=True
            )
        shutil.copy(self._hosts.folder / "key.pub", sshd / "authorized_keys")
        (sshd / "config").write_text(
            f"Port 22\nListenAddress {self.address}\nHostKey {DISK}/sshd/key\n"
            f"AuthorizedKeysFile {DISK}/sshd/authorized_keys\nStrictModes no\nUsePAM no\n"
            f"PermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
        )
        script = _BOOT.format(name=self.name, disk=disk, private=self.private, DISK=DISK, ROOT=ROOT)
        with open(self._hosts.folder / f"{self.name}.log", "ab") as log:
            self._boot = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    self.namespace,
                    "unshare",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--mount",
                    "--mount-proc",
                    "--uts",
                    "sh",
                    "-c",
                    script,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        probe = ["bash", "-c", f"exec 3<>/dev/tcp/{self.address}/22"]
        while subprocess.run([*self._hosts.here, *probe], capture_output=True).returncode:
            log_text = (self._hosts.folder / f"{self.name}.log").read_text()
            if time.monotonic() > deadline or self._boot.poll() is not None:
                raise Unavailable(f"{self.name}: no sshd: {log_text.strip()[-300:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Pulls the plug: every process there is gone at once, the disk stays."""
        if self._boot is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._boot.pid, signal.SIGKILL)
            self._boot.wait()

    def cut(self) -> None:
        """Pulls the cable; nobody is told."""
        ip("-n", self._hosts.controller, "link", "set", self._cable, "down")

    def restore(self) -> None:
        """Plugs it in again."""
        ip("-n", self._hosts.controller, "link", "set", self._cable, "up")

    def inside(self, *command: str) -> list[str]:
        """Puts a command on the host's network, not on its disk."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def processes(self) -> list[str]:
        """Command lines on the host's network, sshd and what it runs for us apart."""
        found = []
        done = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True
        )
        for pid in done.stdout.split():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
                if words and not words.startswith(("sshd", "/usr/sbin/sshd", "unshare", "sh -c")):
                    found.append(words.strip())
        return found


class Hosts:
    """Some hosts and a controller, all on one bridge.

    Raises:
      Unavailable: not Linux, not root, a tool is missing, or the kernel does not allow it.
    """

    def __init__(self, folder: Path) -> None:
        if sys.platform != "linux" or os.geteuid() != 0:
            raise Unavailable("making hosts out of namespaces needs root on Linux")
        for tool, package in _TOOLS.items():
            if shutil.which(tool) is None:
                raise Unavailable(f"there is no {tool} (package {package})")
        self.folder, self.prefix = folder, f"fleet-{os.getpid()}"
        self.controller = f"{self.prefix}-controller"
        self.all: dict[str, Host] = {}
        self._number = 0
        _remove_left_behind()
        try:
            ip("netns", "add", self.controller)
            ip("-n", self.controller, "link", "set", "lo", "up")
            ip("-n", self.controller, "link", "add", _BRIDGE, "type", "bridge")
            ip("-n", self.controller, "address", "add", f"{NETWORK}.254/24", "dev", _BRIDGE)
            ip("-n", self.controller, "link", "set", _BRIDGE, "up")
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")],
                check=True,
            )
        except Unavailable:
            self.close()
            raise

    @property
    def here(self) -> list[str]:
        """Put before a command, it runs on the controller."""
        return ["ip", "netns", "exec", self.controller]

    def add(self, name: str, megabytes: int | None = None) -> Host:
        """One more host; with `megabytes`, its disk is that small."""
        self._number += 1
        self.all[name] = Host(self, name, self._number, megabytes)
        return self.all[name]

    def inventory(self, *names: str, file: str = "hosts.yaml", **changes: dict[str, Any]) -> Path:
        """An inventory of these hosts, the first of them the head; `changes` are variables."""

        def entry(name: str) -> dict[str, Any]:
            host = self.all.get(name)
            python = str(Path(sys.base_prefix).resolve() / "bin/python3.10")
            known = {
                "ansible_host": host.address if host else f"{NETWORK}.99",
                "optimus_python": python,
                "optimus_workers": 2,
            }
            return {**known, **changes.get(name, {})}

        head, *others = names
        common = {
            "ansible_user": "root",
            "optimus_root": FLEET,
            "ansible_remote_tmp": f"{DISK}/ansible",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "ansible_ssh_common_args": " ".join(
                f"-o {each}"
                for each in (
                    "StrictHostKeyChecking=no",
                    "UserKnownHostsFile=/dev/null",
                    "LogLevel=ERROR",
                )
            ),
        }
        path = self.folder / file  # YAML, of which JSON is a part
        path.write_text(
            json.dumps(
                {
                    "all": {
                        "vars": common,
                        "children": {
                            "head": {"hosts": {head: {**entry(head), "optimus_workers": 0}}},
                            "workers": {"hosts": {name: entry(name) for name in others}},
                        },
                    }
                }
            )
        )
        return path

    def optimus(self, *words: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """`optimus WORDS` on the controller."""
        command = [*self.here, sys.executable, "-m", "launch.cli.main", *words]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
        )

    def close(self) -> None:
        """Switches everything off and removes it."""
        for host in self.all.values():
            host.kill()
        # Gigabytes, for which a slow disk takes minutes: nobody waits.
        behind = 'nice rm -rf -- "$@" </dev/null >/dev/null 2>&1 &'
        private = [str(host.private) for host in self.all.values()]
        subprocess.run(["sh", "-c", behind, "rm", *private], check=True)
        for path in _NAMES.glob(f"{self.prefix}-*"):
            ip("netns", "delete", path.name)


def _remove_left_behind() -> None:
    """Namespaces of test runs that were killed."""
    for path in _NAMES.glob("fleet-*-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            ip("netns", "delete", path.name)
