"""Time of the fleet commands against the number of hosts.

    python -m benchmarks.fleet_startup [--hosts 1,2,4,8] [--rounds 3]

Hosts are network namespaces of this machine, each with a real sshd (`tests.launch.fleet.hosts`), so
they share its cores: what grows with their number here is mostly Python starting on them. Needs
root and the packages of `.ci/run`. Rounds go through all sizes in turn; medians are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from launch.fleet import wheelhouse
from optimus.config import Layout, to_dict
from tests.launch import fault_tools
from tests.launch.fleet.hosts import Hosts
from tests.launch.network_tools import Unavailable


def main() -> int:
    """Prints a table; exit code 1 where such hosts cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", default="1,2,4,8", help="sizes, with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.hosts.split(",")]
    house = wheelhouse.build(wheelhouse.REPOSITORY / "build/fleet", print)
    with tempfile.TemporaryDirectory(prefix="fleet-startup-") as name:
        folder = Path(name)
        try:
            hosts = Hosts(folder)
        except Unavailable as error:
            print(error, file=sys.stderr)
            return 1
        try:
            _measure(hosts, folder, house, sizes, arguments.rounds)
        finally:
            hosts.close()
    return 0


def _measure(
    hosts: Hosts, folder: Path, house: wheelhouse.Wheelhouse, sizes: list[int], rounds: int
) -> None:
    names = [f"h{k + 1}" for k in range(max(sizes))]
    for name in names:
        hosts.add(name)
    layout = Layout(actors=1, groups=2, lanes=3, workers=1, per_process=1, restarts=1000)
    config = folder / "config.json"
    config.write_text(json.dumps(to_dict(fault_tools.config(name="startup", layout=layout))))
    inventories = {
        size: hosts.inventory(*names[:size], file=f"hosts-{size}.yaml") for size in sizes
    }

    def timed(size: int, *words: str) -> float:
        began = time.perf_counter()
        done = hosts.optimus("fleet", *words, "--inventory", str(inventories[size]))
        took = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"optimus fleet {' '.join(words)}: {done.stdout}{done.stderr}")
        return took

    before = 0
    for size in sorted(sizes):
        seconds = timed(size, "deploy", "--wheelhouse", str(house.path))
        print(f"deploy to {size - before} new hosts of {size}: {seconds:.1f} s", flush=True)
        before = size
    found: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds):
        for size in sizes:
            run = f"r{number}-{size}"
            for command in (
                ("start", str(config), "--run", run),
                ("status",),
                ("stop", "--no-collect"),
            ):
                found.setdefault((command[0], size), []).append(timed(size, *command))
    print(f"\nmedians of {rounds} rounds, s; {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}")
    print("| hosts | " + " | ".join(("start", "status", "stop")) + " |\n|---|---|---|---|")
    for size in sizes:
        cells = (
            f"{statistics.median(v):.1f} ({min(v):.1f}-{max(v):.1f})"
            for v in (found[command, size] for command in ("start", "status", "stop"))
        )
        print(f"| {size} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
