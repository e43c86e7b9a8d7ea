"""A fleet of `hosts.Hosts` with the program deployed, and the command with a transcript of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from optimus.config import Layout, to_dict
from tests.launch import fault_tools
from tests.launch import run_tools as tools
from tests.launch.fleet.hosts import Hosts


class Fleet:
    """Some hosts, and the command with a transcript of it (pytest -s shows it)."""

    def __init__(self, folder: Path) -> None:
        from launch.fleet import wheelhouse

        self.began = time.monotonic()
        self.hosts = Hosts(folder)
        try:
            self.house = wheelhouse.build(wheelhouse.REPOSITORY / "build/fleet", self.note)
            for name in ("h1", "w1"):
                self.hosts.add(name)
            self.config = folder / "config.json"
            layout = Layout(actors=1, groups=2, lanes=3, workers=1, per_process=1, restarts=1000)
            configuration = fault_tools.config(name="fleet", layout=layout)
            self.config.write_text(json.dumps(to_dict(configuration)))
            self.inventory = self.hosts.inventory("h1", "w1")
            self.deployed: tuple[str, ...] = ("h1", "w1")
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

    def need(self, *names: str) -> None:
        """Makes the fleet consist of these hosts, the head first; deploys to new ones."""
        for name in set(names) - set(self.hosts.all):
            self.hosts.add(name)
        inventory = self.hosts.inventory(*names)
        if self.deployed != names:
            self.inventory, self.deployed = inventory, names
            self.deploy()

    def quiet(self) -> None:
        """Stops what an earlier story may have left."""
        if any(host.processes() for host in self.hosts.all.values()):
            self.run("stop", "--no-collect")

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
