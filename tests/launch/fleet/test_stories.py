"""What a fleet outlives, refuses and says: stories on up to four hosts while they fail.

In this order each goes on where the last one was; any of them also runs alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from optimus.rundir import checkpoint
from tests.launch import run_tools as tools
from tests.launch.fleet.deployment import Fleet

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]


def test_bad_hosts_are_named_in_one_line_each_and_left_alone(fleet: Fleet) -> None:
    fleet.need("h1", "w1", "w2")
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
    fleet.need("h1", "w1", "w2")
    fleet.quiet()
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
    fleet.need("h1", "w1", "w2")
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
    tools.wait_until(lambda: fleet.workers() == 1, 40.0, "only the head's own worker counts")
    fleet.progress(10)
    hosts.all["w1"].restore()
    fleet.note("(and plugged in again)")
    tools.wait_until(lambda: fleet.workers() == 3, 60.0, "w1's workers registered again")

    fleet.note("(w2 is replaced by w3)")
    fleet.need("h1", "w1", "w3")
    fleet.run("start", config)
    tools.wait_until(lambda: fleet.workers() == 5, 60.0, "w3's workers registered")


def test_a_run_outlives_the_learners_host(fleet: Fleet) -> None:
    hosts, config = fleet.hosts, str(fleet.config)
    fleet.need("h1", "w1", "w3")
    if not hosts.all["h1"].processes():  # this test alone
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
    fleet.need("h1", "w1", "w3")
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
