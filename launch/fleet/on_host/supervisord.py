"""supervisord on a host: its file, and what it is told and says."""

import contextlib
import socket
import string
import subprocess
from pathlib import Path
from typing import Any

from launch.fleet.on_host.state import python_of

# `on_host.program` puts the text itself here, since only the program is sent.
_TEMPLATE = (Path(__file__).parent / "supervisord.conf").read_bytes().decode()
_SUPERVISORD, _PROGRAM = map(string.Template, _TEMPLATE.split("\n; -- for each program --\n"))


def configuration(root: Path, run: dict[str, Any]) -> str:
    """supervisord.conf: the head's program, or one program for every few workers."""
    env, logs = root / f"env-{run['id']}", root / "logs" / run["run"]
    common = {"env": env, "logs": logs, "address": run["address"]}
    programs = []
    if run["role"] == "head":
        folder = root / "runs" / run["run"]
        command = f"train {folder}/request.json --run-dir {folder} --launch local_mp"
        final = "0,2"  # 2: a mistake in its arguments, which another start would not mend
        own = {"name": "head", "port": run["port"], "final": final, "patience": 40}
        programs.append({"command": command, **own})
    for first in range(0, run["workers"], run["per_process"]):
        count = min(run["per_process"], run["workers"] - first)
        command = f"worker --coordinator {run['coordinator']} --count {count}"
        own = {"name": f"worker-{first}", "port": run["worker_port"] + first}
        programs.append({"command": command, **own, "final": "0", "patience": 15})
    texts = [_PROGRAM.substitute(common, **program) for program in programs]
    return _SUPERVISORD.substitute(common, root=root) + "".join(texts).replace("%", "%%")


def control(root: Path, *words: str, timeout: float = 60.0) -> str:
    """What supervisorctl says to these words."""
    command = [python_of(root), "-m", "supervisor.supervisorctl"]
    command += ["-c", str(root / "supervisord.conf"), *words]
    done = subprocess.run(command, capture_output=True, errors="replace", timeout=timeout)
    return done.stdout + done.stderr


def supervisor_pid(root: Path) -> int | None:
    """Of the supervisord that answers at our socket."""
    if not (root / "supervisord.sock").exists() or not (root / "supervisord.conf").exists():
        return None
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(str(root / "supervisord.sock"))
    except OSError:
        return None
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        return int(control(root, "pid").strip())
    return None


def programs(root: Path) -> dict[str, str]:
    """What supervisord says of each program: RUNNING pid 7, uptime 0:01:02."""
    lines = (line.split(None, 1) for line in control(root, "status").splitlines())
    return {words[0]: words[1].strip() for words in lines if len(words) == 2}
