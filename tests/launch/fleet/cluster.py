"""A real Slurm on one machine: munged, slurmctld, and a slurmd for each node, each with a process
space of its own that can be ended as a whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.launch.network_tools import Unavailable

_TOOLS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "srun": "slurm-client",
    "unshare": "util-linux",
}
_CONF = """\
ClusterName=optimus
SlurmctldHost={here}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=15
KillWait=5
SlurmdParameters=config_overrides
NodeName={names} NodeHostname={here} NodeAddr=127.0.0.1 Port={ports} CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """Nodes n1, n2, ...

    Raises:
      Unavailable: not root, a package is missing, or it does not start.
    """

    def __init__(self, folder: Path, nodes: int) -> None:
        if os.geteuid() != 0:
            raise Unavailable("a Slurm controller and its nodes need root here")
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        for tool, package in _TOOLS.items():
            if shutil.which(tool, path=path) is None:
                raise Unavailable(f"there is no {tool} (package {package})")
        self.folder, self._processes = folder, {}  # type: Path, dict[str, subprocess.Popen[bytes]]
        here = socket.gethostname().partition(".")[0]
        ports = _free_ports(1 + nodes)
        conf = folder / "slurm.conf"
        conf.write_text(
            _CONF.format(
                here=here,
                folder=folder,
                port=ports[0],
                names=f"n[1-{nodes}]",
                ports=f"[{ports[1]}-{ports[-1]}]",
            )
        )
        (folder / "state").mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": path}
        try:
            self._start(
                "munged",
                [
                    "munged",
                    "--foreground",
                    "--force",
                    "--key-file",
                    str(key),
                    "--socket",
                    f"{folder}/munge.socket",
                    "--pid-file",
                    f"{folder}/munged.pid",
                    "--seed-file",
                    f"{folder}/seed",
                    "--log-file",
                    f"{folder}/munged.log",
                ],
            )
            self._wait(lambda: (folder / "munge.socket").exists(), "munged")
            self._start("slurmctld", ["slurmctld", "-D", "-f", str(conf)])
            for k in range(nodes):
                self.boot(f"n{k + 1}")
            self._wait(
                lambda: self.tell("sinfo", "-h", "-t", "idle", "-o", "%D") == str(nodes),
                "idle nodes",
            )
        except BaseException:
            self.close()
            raise

    def _start(self, name: str, command: list[str]) -> None:
        with open(self.folder / f"{name}.out", "ab") as out:
            self._processes[name] = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _wait(self, condition, what: str) -> None:  # type: ignore[no-untyped-def]
        deadline = time.monotonic() + 40
        while not condition():
            if time.monotonic() > deadline:
                logs = [f.read_text()[-500:] for f in sorted(self.folder.glob("slurm*.log"))]
                raise Unavailable(f"Slurm: no {what} within 40 s: {' | '.join(logs)}")
            time.sleep(0.2)

    def boot(self, node: str) -> None:
        """Switches a node on."""
        (self.folder / f"spool-{node}").mkdir(exist_ok=True)
        self._start(
            node,
            [
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount",
                "--mount-proc",
                "slurmd",
                "-D",
                "-N",
                node,
            ],
        )

    def kill(self, node: str) -> None:
        """Pulls a node's plug."""
        process = self._processes.pop(node)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def tell(self, *command: str) -> str:
        """What a command of Slurm's prints; empty when it fails."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def job(self, number: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        words = self.tell("scontrol", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def close(self) -> None:
        """Ends everything."""
        for name in reversed(list(self._processes)):
            self.kill(name)


def _free_ports(count: int) -> list[int]:
    """Consecutive ones."""
    for first in range(17000, 19000, 16):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return list(range(first, first + count))
    raise Unavailable("no free ports for Slurm")
