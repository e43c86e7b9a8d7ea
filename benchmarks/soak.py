"""The soak: random faults against a real program, then its ledger must agree to the last bit.

    python -m benchmarks.soak [--minutes 30] [--faults 210] [--out runs/soak]     # make soak

Seven times a minute one of: kill -9 of a random role (a fifth), a hang by SIGSTOP, a cut of the
cable to a second host (where root may make network namespaces), malformed or foreign messages; and,
all along, episodes whose loss raises, is NaN, or is slow. Writes `soak.json`: faults by kind with
the longest pause between two updates that each made, memory per role over time, and the ledger's
counts.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.launch import fault_tools as faults
from tests.launch import network_tools as network
from tests.launch import run_tools as tools

PROCESSES = {"physics_worker": 2, "actor": 2, "learner": 1, "stream": 1, "coordinator": 1}
ROLES = [role for role, count in PROCESSES.items() for _ in range(count)]  # as often as they are
RATE = 7  # faults per minute
GARBAGE = """
import os, sys
from launch.program import environment
environment.apply()
from launch.adapters import courier
from optimus.wire import Heartbeat
from optimus.wire.membership import PROTOCOL
coordinator, worker = sys.argv[1:]
for _ in range(5):
    courier.Caller(coordinator, 5.0)("heartbeat", os.urandom(300))
    courier.RemoteCoordinator(coordinator).heartbeat(Heartbeat(PROTOCOL, "another config", []))
    courier.Caller(worker, 5.0)("evaluate", b"OPT1" + os.urandom(300))
os._exit(0)
"""
GONE = (IndexError, psutil.NoSuchProcess)  # the victim ended, or had just ended, by itself


@dataclass(frozen=True)
class Scene:
    """The run, and the second host if there is one: two workers in a process of their own."""

    run: faults.Run
    hosts: network.Hosts | None
    member: subprocess.Popen[str] | None


def kill(scene: Scene, rng: random.Random) -> str:
    role = rng.choice(ROLES)
    _whole(scene, role)
    scene.run.kill(role, rng.randrange(PROCESSES[role]))
    return f"kill {role}"


def hang(scene: Scene, rng: random.Random) -> str:
    role = rng.choice(ROLES)
    _whole(scene, role)
    victim = rng.choice(scene.run.nodes(role))
    victim.send_signal(signal.SIGSTOP)
    try:
        time.sleep(rng.uniform(0.5, 4.0))
    finally:
        victim.send_signal(signal.SIGCONT)
    return f"hang {role}"


def cut(scene: Scene, rng: random.Random) -> str:
    assert scene.hosts is not None
    scene.hosts.cut()
    try:
        time.sleep(rng.uniform(0.5, 8.0))
    finally:
        scene.hosts.restore()
    return "cut the cable to the other host"


def garbage(scene: Scene, rng: random.Random) -> str:
    where = scene.run.roster()
    prefix = scene.hosts.head if scene.hosts else []
    done = subprocess.run(
        [
            *prefix,
            sys.executable,
            "-c",
            GARBAGE,
            where["coordinator"][0],
            rng.choice(where["physics_worker"]),
        ],
        cwd=faults.ROOT,
        timeout=60,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    name = "malformed and foreign messages"
    return name if done.returncode == 0 else f"{name}, not all delivered"


def _whole(scene: Scene, role: str) -> None:
    want = PROCESSES[role]
    tools.wait_until(lambda: len(scene.run.nodes(role)) == want, 60.0, f"{want} x {role}")


def memory(run: faults.Run) -> dict[str, float]:
    """Resident megabytes of the largest process of each role."""
    found = {}
    for role in PROCESSES:
        sizes = [process.memory_info().rss / 2**20 for process in run.nodes(role)]
        if sizes:
            found[role] = round(max(sizes), 1)
    return found


def rises(values: Iterable[int]) -> int:
    """Total of a counter that begins at 0 again with each life of its process."""
    total = last = 0
    for value in values:
        total += value - last if value >= last else value
        last = value
    return total


def longest_pause(times: list[float], start: float, end: float) -> float:
    """Longest interval between two neighbours of `times` (sorted) that touches start ... end."""
    first = max(0, bisect.bisect_left(times, start) - 1)
    near = times[first : bisect.bisect_right(times, end) + 1]
    return max((after - before for before, after in itertools.pairwise(near)), default=0.0)


def _open(out: Path) -> tuple[Scene, str]:
    """The started program, and where no cable can be cut, why."""
    why, hosts, member = "", None, None
    try:
        hosts = network.Hosts()
    except network.Unavailable as error:
        why = f"no cuts: {error}"
    prefix, arguments = (hosts.head if hosts else []), list[str]()
    if hosts:
        arguments = ["--advertise", network.HEAD, "--port", "20100"]
    out.mkdir(parents=True, exist_ok=True)
    run = faults.Run(out, faults.config(), *arguments, prefix=[*prefix, *_into(out / "train.log")])
    try:
        run.progress(5, 240.0)
        if hosts:
            member = tools.start(
                "worker",
                "--coordinator",
                run.roster()["coordinator"][0],
                "--count",
                "2",
                prefix=[*hosts.other, *_into(out / "member.log")],
            )
    except BaseException:
        _close(Scene(run, hosts, member))
        raise
    return Scene(run, hosts, member), why


def _into(log: Path) -> list[str]:
    """Put before a command, its output goes to a file: nobody empties a pipe for half an hour."""
    return ["sh", "-c", 'exec "$@" > "$0" 2>&1', str(log)]


def _close(scene: Scene) -> None:
    if scene.member is not None and scene.member.poll() is None:
        scene.member.kill()
        scene.member.wait()
    tools.finish(scene.run.process, scene.run.run_dir)
    if scene.hosts is not None:
        scene.hosts.close()


def soak(minutes: float, count: int, out: Path, seed: int) -> dict:
    """`count` faults over `minutes`; the record for `soak.json`."""
    rng = random.Random(seed)
    spans: list[tuple[str, float, float]] = []  # name, s since 1970 from fault to next update
    sizes = []
    scene, why = _open(out)
    run = scene.run
    others = (hang, hang, garbage, cut) if scene.hosts else (hang, hang, garbage)
    try:
        began, interval = time.monotonic(), 60.0 * minutes / count
        for k in range(count):
            time.sleep(max(0.0, began + k * interval - time.monotonic()))
            fault, name = (kill if k % 5 == 0 else rng.choice(others)), ""
            while not name:
                at, before = time.time(), run.updates()
                try:
                    name = fault(scene, rng)
                except GONE:
                    continue
            tools.wait_until(lambda b=before: run.updates() > b, 120.0, f"an update after {name}")
            spans.append((name, at, time.time()))
            if k % 10 == 0:
                sizes.append(memory(run))
                print(f"{k + 1}/{count} {name}: {run.updates()} updates, {sizes[-1]}", flush=True)
        lasted = time.monotonic() - began
        stop_seconds, _ = run.stop()
        if scene.member is not None:
            assert scene.member.wait(timeout=30) == 0, (out / "member.log").read_text()
        ledger = run.check_ledger()
        updates = run.events("learner-0", "update")
        given_up = sum(len(run.events(f"actor-{k}", "given_up")) for k in (0, 1))
        refused = rises(record["refused"] for record in run.events("coordinator-0", "alive"))
    finally:
        _close(scene)
    pauses: dict[str, list[float]] = defaultdict(list)
    for name, start, end in spans:
        pauses[name].append(longest_pause([update["time"] for update in updates], start, end))
    kills = sum(name.startswith("kill") for name, _, _ in spans)
    return {
        "seed": seed,
        "minutes": round(lasted / 60, 2),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "faults": count,
        "kills": kills,
        "cuts": why or "yes",
        "stop_seconds": round(stop_seconds, 2),
        "ledger": ledger,
        "pauses": {
            name: {
                "count": len(each),
                "median_s": round(statistics.median(each), 2),
                "longest_s": round(max(each), 2),
            }
            for name, each in sorted(pauses.items())
        },
        "samples_refused_since_last_start": updates[-1]["refused"],
        "messages_refused": refused,
        "episodes_given_up": given_up,
        "memory_mb": sizes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--faults", type=int, help="a fifth are kills; default: 7 a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    options = parser.parse_args()
    count = options.faults or max(1, round(RATE * options.minutes))
    out = (options.out / time.strftime("%Y%m%d-%H%M%S")).resolve()
    result = soak(options.minutes, count, out, options.seed)
    (out / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
