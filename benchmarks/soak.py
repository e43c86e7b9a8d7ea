"""The soak: random faults against a real program, then its ledger must agree to the last bit.

    python -m benchmarks.soak [--minutes 30] [--faults 200] [--out runs/soak]     # make soak

Every few seconds one of: kill -9 of a random role (a fifth), a hang by SIGSTOP, malformed or
foreign messages, and, all along, episodes whose loss raises, is NaN, or is slow. Writes
`soak.json`: faults by kind with the seconds until the next update, memory per role over time, and
the ledger's counts.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from tests.launch import fault_tools as faults
from tests.launch import run_tools as tools

ROLES = ("physics_worker", "physics_worker", "actor", "actor", "learner", "stream", "coordinator")
GARBAGE = """
import os, sys
from launch.adapters import courier
from optimus.wire import Beat
coordinator, worker = sys.argv[1:]
for _ in range(5):
    courier.Caller(coordinator, 5.0)("beat", os.urandom(300))
    courier.RemoteCoordinator(coordinator).beat(Beat(1, "another config", []))
    courier.Caller(worker, 5.0)("evaluate", b"OPT1" + os.urandom(300))
os._exit(0)
"""


def kill(run: faults.Run, rng: random.Random) -> str:
    role = rng.choice(ROLES)
    run.kill(role, rng.randrange(len(run.nodes(role)) or 1))
    return f"kill {role}"


def hang(run: faults.Run, rng: random.Random) -> str:
    role = rng.choice(ROLES)
    nodes = run.nodes(role)
    if not nodes:
        return "none"
    victim = rng.choice(nodes)
    victim.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.5, 4.0))
    victim.send_signal(signal.SIGCONT)
    return f"hang {role}"


def garbage(run: faults.Run, rng: random.Random) -> str:
    where = run.roster()
    command = [sys.executable, "-c", GARBAGE, where["coordinator"][0]]
    subprocess.run(
        [*command, rng.choice(where["physics_worker"])], cwd=faults.ROOT, timeout=60, check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return "malformed and foreign messages"


def memory(run: faults.Run) -> dict[str, float]:
    """Resident megabytes of the largest process of each role."""
    found = {}
    for role in set(ROLES):
        sizes = [process.memory_info().rss / 2**20 for process in run.nodes(role)]
        if sizes:
            found[role] = round(max(sizes), 1)
    return found


def soak(minutes: float, count: int, out: Path, seed: int) -> dict:
    rng = random.Random(seed)
    run = faults.Run(out, faults.config())
    recovery: dict[str, list[float]] = defaultdict(list)
    sizes = []
    try:
        run.progress(5, 240.0)
        began, interval = time.monotonic(), 60.0 * minutes / count
        for k in range(count):
            left = began + k * interval - time.monotonic()
            time.sleep(max(0.0, left))
            fault = kill if k % 5 == 0 else rng.choice((hang, hang, garbage))
            at, before = time.monotonic(), run.updates()
            name = fault(run, rng)
            tools.wait_until(lambda b=before: run.updates() > b, 120.0, f"an update after {name}")
            recovery[name].append(time.monotonic() - at)
            if k % 10 == 0:
                sizes.append(memory(run))
                print(f"{k + 1}/{count} {name}: {run.updates()} updates, {sizes[-1]}", flush=True)
        seconds, _ = run.stop()
        ledger = run.check_ledger()
        last = run.events("learner-0", "update")[-1]
        given_up = sum(len(run.events(f"actor-{k}", "given_up")) for k in (0, 1))
    finally:
        tools.finish(run.process, run.run_dir)
    return {
        "seed": seed, "minutes": minutes, "stop_seconds": round(seconds, 2), "ledger": ledger,
        "faults": {
            name: {"count": len(times), "median_s": round(statistics.median(times), 2),
                   "longest_s": round(max(times), 2)}
            for name, times in sorted(recovery.items())
        },
        "refused_since_last_start": last["refused"], "episodes_given_up": given_up,
        "memory_mb": sizes,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--faults", type=int, default=210, help="a fifth of them are kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    options = parser.parse_args()
    out = (options.out / time.strftime("%Y%m%d-%H%M%S")).resolve()
    result = soak(options.minutes, options.faults, out, options.seed)
    (out / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
