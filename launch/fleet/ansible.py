"""Ansible, by which all fleet commands reach hosts: one call, one answer from each host."""

import base64
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launch import run_alone
from launch.fleet import on_host
from launch.fleet.answers import Answer, parsed
from optimus.errors import ConfigError, UserError, printable
from optimus.installation import extra_command

_HERE = Path(__file__).resolve().parent
# A host that vanished is noticed after 10 s of trying or 15 s of silence.
_SSH = (
    "-o ControlMaster=auto -o ControlPersist=10s -o BatchMode=yes "
    "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
)
FORKS = 50  # hosts spoken to at once


class FleetError(UserError, RuntimeError):
    """A fleet command cannot do what it was asked; the message is one line for each cause."""

    def __str__(self) -> str:
        return printable(Exception.__str__(self))


def call(
    hosts: Mapping[str, Mapping[str, Any]],
    requests: Mapping[str, Mapping[str, Any]],
    *,
    copy: tuple[Path, str] | None = None,
    fetch: Path | None = None,
    timeout: float = 300.0,
) -> dict[str, Answer]:
    """Runs `on_host.program` on hosts, all at once.

    Args:
      hosts: Ansible variables by host.
      requests: what each host is asked, its `root` among it; those without are left alone.
      copy: (file here, its name in the root there) brought before.
      fetch: folder into which the file that the answer names comes as HOST.tar.gz.
      timeout: s for all together.

    Returns:
      An answer for each host in `requests`.

    Raises:
      FleetError: Ansible is not here or does not run.
    """
    if not requests:
        return {}
    with tempfile.TemporaryDirectory(prefix="optimus-fleet-") as name:
        folder = Path(name)
        (folder / "program.py").write_text(on_host.program(), encoding="utf-8")
        variables: dict[str, Any] = {"fleet_program": str(folder / "program.py")}
        if copy:
            variables |= {"fleet_copy_from": str(copy[0]), "fleet_copy_name": copy[1]}
        if fetch:
            variables["fleet_fetch_to"] = str(fetch)
        asked = {
            host: {**hosts[host], "fleet_request": _sealed(request), "fleet_root": request["root"]}
            for host, request in requests.items()
        }
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": asked}}), encoding="utf-8")
        (folder / "vars.json").write_text(json.dumps(variables), encoding="utf-8")
        environment = {
            "ANSIBLE_CALLBACK_PLUGINS": str(_HERE / "plugins"),
            "ANSIBLE_STDOUT_CALLBACK": "optimus_results",
            "ANSIBLE_INJECT_FACT_VARS": "false",  # a host must not name our variables as its facts
            "ANSIBLE_SSH_ARGS": os.environ.get("ANSIBLE_SSH_ARGS", _SSH),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
            "OPTIMUS_FLEET_RESULTS": str(folder / "results"),
        }
        words = ["-i", "hosts.json", "-e", "@vars.json", "-f", str(FORKS), "-T", "10"]
        words.append(str(_HERE / "call.yaml"))
        ended, text = _run("playbook", words, folder, environment, timeout)
        answers = dict(_answers(folder / "results"))
    if not answers and ended:
        raise FleetError(f"ansible-playbook: {_last_line(text)}")
    late = f"no answer within {timeout:.0f} s"
    return {host: answers.get(host, Answer(late)) for host in requests}


def _sealed(request: Mapping[str, Any]) -> str:
    """JSON in base64: Ansible would make a Python literal of plain JSON, or a template."""
    return base64.b64encode(json.dumps(request).encode()).decode()


def inventory_of(path: Path) -> dict[str, Any]:
    """What `ansible-inventory --list` makes of any inventory that Ansible reads."""
    with tempfile.TemporaryDirectory(prefix="optimus-fleet-") as name:
        words = ["-i", str(path.resolve()), "--list", "--output", "out.json"]
        environment = {"ANSIBLE_INVENTORY_UNPARSED_FAILED": "true"}
        code, text = _run("inventory", words, Path(name), environment, 60.0)
        if code:
            raise ConfigError(f"--inventory {path}: {_last_line(text)}")
        return dict(json.loads((Path(name) / "out.json").read_text(encoding="utf-8")))


def _run(
    tool: str, words: list[str], folder: Path, extra: dict[str, str], timeout: float
) -> tuple[int, str]:
    """(exit code, output) of an Ansible tool of this environment, in a session of its own."""
    if importlib.util.find_spec("ansible") is None:
        raise FleetError(f"ansible-core is not installed: {extra_command('fleet')}")
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "LC_ALL": "C.UTF-8",
        **extra,
    }
    command = [sys.executable, "-m", f"ansible.cli.{tool}", *words]
    code, text = run_alone(command, timeout, cwd=folder, env=environment)
    return (1, f"no answer within {timeout:.0f} s") if code is None else (code, text)


def _answers(path: Path) -> Iterator[tuple[str, Answer]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # half written when the time was up
        host, text = record["host"], record["text"]
        why = "not reached" if record["state"] == "unreachable" else f"{record['task']} failed"
        well = record["state"] == "ok"
        yield host, parsed(text) if well else Answer(f"{why}: {_last_line(text)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = printable(lines[-1], keep="") if lines else "no reason given"
    return line.removeprefix("Failed to connect to the host via ssh: ").removeprefix("ssh: ")
