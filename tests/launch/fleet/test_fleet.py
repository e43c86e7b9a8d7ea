"""`optimus fleet` on four hosts that share nothing, each with a real sshd, while they fail."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.runners import distributed_missing
from optimus.config import Layout, to_dict
from optimus.rundir import checkpoint
from tests.launch import fault_tools
from tests.launch import run_tools as tools
from tests.launch.fleet.hosts import Hosts
from tests.launch.network_tools import Unavailable

pytestmark = [
    pytest.mark.skipif(distributed_missing() is not None, reason=str(distributed_missing())),
    pytest.mark.skipif(
        importlib.util.find_spec("ansible") is None, reason="ansible-core is not installed"
    ),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


class Fleet:
    """Some hosts, and the command with a transcript of it (pytest -s shows it)."""

    def __init__(self, folder: Path) -> None:
        from launch.fleet import wheelhouse

        self.began = time.monotonic()
        self.hosts = Hosts(folder)
        try:
            self.house = wheelhouse.build(wheelhouse.REPOSITORY / "build/fleet", self.note)
            for name in ("h1", "w1", "w2"):
                self.hosts.add(name)
            self.config = folder / "config.json"
            layout = Layout(actors=1, groups=2, lanes=3, workers=1, per_process=1, restarts=1000)
            configuration = fault_tools.config(name="fleet", layout=layout)
            self.config.write_text(json.dumps(to_dict(configuration)))
            self.inventory = self.hosts.inventory("h1", "w1", "w2")
            self.deploy()
        except BaseException:
            self.hosts.close()
            raise

    def note(self, line: str) -> None:
        print(f"[{time.monotonic() - self.began:6.1f} s] {line}", flush=True)

    def run(self, *words: str, code: int = 0, inventory: Path | None = None) -> str:
        began = time.monotonic()
        done = self.hosts.optimus("fleet", *words, "--inventory", str(inventory or self.inventory))
        text = done.stdout + done.stderr
        took = time.monotonic() - began
        shown = " ".join(word.rpartition("/")[2] for word in words)
        self.note(f"$ optimus fleet {shown}   ({took:.1f} s, exit code {done.returncode})")
        for line in text.splitlines():
            self.note(f"    {line}")
        assert done.returncode == code, text
        assert "Traceback" not in text
        return text

    def deploy(self, code: int = 0, inventory: Path | None = None) -> str:
        house = str(self.house.path)
        return self.run("deploy", "--wheelhouse", house, code=code, inventory=inventory)

    def run_dir(self) -> Path:
        return self.hosts.all["h1"].private / "fleet/runs/fleet"

    def updates(self) -> int:
        path = self.run_dir() / "metrics/learner-0.jsonl"
        return path.read_text().count('"event": "update"') if path.exists() else 0

    def progress(self, count: int, seconds: float = 60.0) -> None:
        before = self.updates()
        tools.wait_until(lambda: self.updates() >= before + count, seconds, f"{count} updates more")
        self.note(f"(update {self.updates()} written)")

    def workers(self) -> int:
        lines = (self.run_dir() / "metrics/coordinator-0.jsonl").read_text().splitlines()
        return int(json.loads(lines[-1])["workers"])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    try:
        made = Fleet(tmp_path_factory.mktemp("fleet"))
    except Unavailable as error:
        pytest.skip(str(error))
    yield made
    made.hosts.close()


def test_bad_hosts_are_named_in_one_line_each_and_left_alone(fleet: Fleet) -> None:
    hosts = fleet.hosts
    hosts.add("full", megabytes=64)
    wrong = hosts.folder / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong)], check=True)
    one, two = hosts.all["w1"].address, hosts.all["w2"].address
    inventory = hosts.inventory(
        "h1",
        "locked",
        "snakeless",
        "full",
        "gone",
        "w1",
        file="bad.yaml",
        locked={"ansible_host": one, "ansible_ssh_private_key_file": str(wrong)},
        snakeless={"ansible_host": two, "optimus_python": "/nowhere/python"},
    )
    text = fleet.deploy(code=1, inventory=inventory)
    lines = {line.split(":")[0]: line for line in text.splitlines()}
    assert "Permission denied" in lines["locked"]
    assert "No route to host" in lines["gone"] or "timed out" in lines["gone"]
    assert "GB free" in lines["full"] and "left as it was" in lines["full"]
    assert "no CPython 3.10 there (looked for /nowhere/python)" in lines["snakeless"]
    assert lines["h1"].endswith("already") and lines["w1"].endswith("already")
    assert not (hosts.all["full"].private / "fleet").exists()

    headless = hosts.inventory("gone", "w1", file="headless.yaml")
    assert "a fleet needs its head" in fleet.deploy(code=1, inventory=headless)
    nobody = hosts.folder / "nobody.yaml"
    nobody.write_text("all: {hosts: {w1: }}")
    text = fleet.run("status", code=2, inventory=nobody)
    assert "want one host in the group head, got none" in text
    missing = hosts.folder / "absent.yaml"
    assert "no such file" in fleet.run("status", code=2, inventory=missing)
    hosts.all.pop("full").kill()


def test_a_start_that_cannot_be_changes_nothing(fleet: Fleet) -> None:
    head, other = fleet.hosts.all["h1"], fleet.hosts.all["w1"]
    code = "import socket, time; s = socket.create_server(('', 20101)); print(1, flush=True); "
    taken = subprocess.Popen(
        head.inside(sys.executable, "-c", code + "time.sleep(100)"), stdout=subprocess.PIPE
    )
    try:
        assert taken.stdout is not None and taken.stdout.readline()
        text = fleet.run("start", str(fleet.config), code=1)
        assert "h1: port 20101 is in use there" in text and "nothing was changed" in text
    finally:
        taken.kill()
        taken.communicate()
    link = other.private / "fleet/current"
    whole = link.readlink()
    link.unlink()
    try:
        text = fleet.run("start", str(fleet.config), code=1)
        assert "w1: nothing is installed" in text and "nothing was changed" in text
        old = other.private / "fleet/env-0123456789ab"
        old.mkdir()
        (old / ".complete").touch()
        link.symlink_to(old.name)
        text = fleet.run("start", str(fleet.config), code=1)
        assert "w1: has version 0123456789ab, the head " in text and "nothing was changed" in text
    finally:
        link.unlink(missing_ok=True)
        link.symlink_to(whole)
        shutil.rmtree(other.private / "fleet/env-0123456789ab", ignore_errors=True)
    wrong = fleet.run("start", "smoke", "--set", "updates=-1", code=2)
    assert "updates" in wrong
    for host in fleet.hosts.all.values():
        assert not (host.private / "fleet/fleet.json").exists()
        assert not host.processes()


def test_a_run_outlives_its_hosts(fleet: Fleet) -> None:
    """Kill a host, cut a cable, add a host."""
    hosts, config = fleet.hosts, str(fleet.config)
    fleet.run("start", config)
    fleet.progress(5)
    fleet.run("start", config)  # twice is safe
    fleet.run("status")
    text = fleet.run("start", config, "--run", "another", code=1)
    assert "h1: works for the run 'fleet'" in text and "nothing was changed" in text
    text = fleet.run("start", config, "--port", "20200", code=1)
    assert "started with port 20100" in text

    fleet.note("(w2 loses its power)")
    hosts.all["w2"].kill()
    fleet.progress(20)
    text = fleet.run("status", code=1)
    assert "w2: not reached" in text and "w1: 'fleet': 2 workers; 1 of 1" in text

    fleet.note("(w1's cable is cut)")
    hosts.all["w1"].cut()
    time.sleep(12)
    fleet.progress(10)
    assert fleet.workers() == 1  # the head's own
    hosts.all["w1"].restore()
    fleet.note("(and plugged in again)")
    tools.wait_until(lambda: fleet.workers() == 3, 60.0, "w1's workers registered again")

    fleet.note("(w2 is replaced by w3)")
    hosts.add("w3")
    fleet.inventory = hosts.inventory("h1", "w1", "w3")
    fleet.deploy()
    fleet.run("start", config)
    tools.wait_until(lambda: fleet.workers() == 5, 60.0, "w3's workers registered")


def test_a_run_outlives_the_learners_host(fleet: Fleet) -> None:
    hosts, config = fleet.hosts, str(fleet.config)
    if not fleet.run_dir().exists():  # this test alone
        fleet.run("start", config)
        fleet.progress(5)
        tools.wait_until(lambda: fleet.workers() == 5, 60.0, "all workers registered")
    before = fleet.updates()
    fleet.note("(the learner's host loses its power)")
    hosts.all["h1"].kill()
    assert "h1: not reached" in fleet.run("status", code=1)
    hosts.all["h1"].boot()
    assert "no process (rebooted?)" in fleet.run("status", code=1)
    fleet.run("start", config)
    fleet.progress(10)
    assert fleet.updates() >= before  # every line ever written is still there
    tools.wait_until(lambda: fleet.workers() == 5, 90.0, "all workers found the coordinator")


def test_it_scales_stops_resumes_and_ends_with_nothing_left(fleet: Fleet) -> None:
    hosts, config = fleet.hosts, str(fleet.config)
    if "w3" not in hosts.all:  # this test alone
        hosts.add("w3")
        fleet.inventory = hosts.inventory("h1", "w1", "w3")
        fleet.deploy()
    fleet.run("start", config)
    fleet.run("scale", "2")
    tools.wait_until(lambda: fleet.workers() == 3, 60.0, "two workers beside the head's own")
    fleet.run("scale", "6")
    tools.wait_until(lambda: fleet.workers() == 7, 60.0, "six workers beside the head's own")

    folder = hosts.folder / "collected"
    fleet.run("stop", "--run-dir", str(folder))
    for host in hosts.all.values():
        assert not host.processes()
    found, _ = checkpoint.load_latest(folder / "checkpoints")
    assert found is not None
    goal = found.step + 40
    fleet.run("start", config, "--set", f"updates={goal}")
    newest = fleet.run_dir() / "checkpoints/LATEST"
    tools.wait_until(lambda: newest.read_text().strip() == str(goal), 90.0, f"update {goal}")

    def ended() -> bool:
        lines = [line for name in ("w1", "w3") for line in hosts.all[name].processes()]
        return not any("--coordinator" in line for line in lines)

    tools.wait_until(ended, 30.0, "the workers hear of the end and leave")
    fleet.run("stop", "--run-dir", str(folder))
    fleet.run("stop", "--no-collect")  # twice is safe
    found, problems = checkpoint.load_latest(folder / "checkpoints")
    assert found is not None and found.step == goal and not problems
    assert (folder / "logs/w3/worker-0.log").is_file()
    for host in hosts.all.values():
        assert not host.processes()
    assert "is finished at update" in fleet.run("start", config, "--set", f"updates={goal}")
    assert not any(host.processes() for host in hosts.all.values())


def test_a_port_probe_sees_what_listens() -> None:
    from launch.fleet.host import _free

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not _free(port)
    assert _free(port)
