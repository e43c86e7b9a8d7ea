"""The cost of metrics: share of the learner's time, and what watching and reporting take.

    python -m benchmarks.metrics_overhead [--updates 200] [--repeats 3]

Share: the learner's loop on the `smoke` configuration, in process, with a writer that is timed from
within, and with the actor's clock (`TimeIn`) timed the same way. Smoke's updates are the
shortest there are, so any other run's share is smaller. As a check from outside the same runs are
repeated with a writer that does nothing, interleaved, and the ratio of their times is printed; on a
shared machine that ratio is noise around the share. Memory: resident size (RSS) of a process of its
own before a look at a file of 1 GiB, and at its highest afterwards.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from launch.program import environment

environment.apply()

from launch import configs  # noqa: E402
from launch.monitoring.prometheus import exposition  # noqa: E402
from launch.monitoring.report.data import collect  # noqa: E402
from launch.monitoring.status import read_status  # noqa: E402
from launch.runners import inprocess  # noqa: E402
from optimus import rundir  # noqa: E402
from optimus.config import override  # noqa: E402
from optimus.rundir.metrics import MetricsWriter, TimeIn  # noqa: E402


def _run(updates: int, mode: str) -> tuple[float, float, int]:
    """(s of the loop, s of them in `write`, records) of one run; `mode`: "timed" or "none"."""
    spent, records = [0.0], [0]
    real, enter = MetricsWriter.write, TimeIn.enter

    def timed(self: MetricsWriter, event: str, **values: Any) -> None:
        began = time.perf_counter()
        real(self, event, **values)
        spent[0] += time.perf_counter() - began
        records[0] += 1

    def timed_enter(self: TimeIn, activity: str) -> None:
        began = time.perf_counter()
        enter(self, activity)
        spent[0] += time.perf_counter() - began

    def nothing(self: MetricsWriter, event: str, **values: Any) -> None:
        pass

    MetricsWriter.write = timed if mode == "timed" else nothing  # type: ignore[method-assign]
    if mode == "timed":
        TimeIn.enter = timed_enter  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            changes = [f"updates={updates}", f"checkpoint_every={updates}"]
            config = override(configs.find("smoke"), changes)
            run_dir = Path(folder) / "run"
            rundir.prepare(run_dir, config)
            began = time.perf_counter()
            inprocess.run(config, run_dir, threading.Event(), lambda _: None)
            return time.perf_counter() - began, spent[0], records[0]
    finally:
        MetricsWriter.write = real  # type: ignore[method-assign]
        TimeIn.enter = enter  # type: ignore[method-assign]


def _rss() -> float:
    """Resident memory of this process now, MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


LOOKS = {
    "watch": read_status,
    "a scrape": lambda run_dir: exposition(read_status(run_dir), run_dir),
    "a report's data": collect,
}


def _look(name: str, run_dir: Path) -> None:
    """In a process of its own: what one look takes."""
    before, began = _rss(), time.perf_counter()
    LOOKS[name](run_dir)
    seconds = time.perf_counter() - began
    with open("/proc/self/status") as file:  # getrusage's maximum would be the parent's
        peak = next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    words = f"{seconds:.3f} s, RSS {before:.1f} MiB before, at most {peak:.1f} MiB"
    print(f"{name}: {words}", flush=True)


def _huge(megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        (run_dir / "config.json").write_text("{}")
        writer = MetricsWriter(run_dir, "learner")
        for step in range(20_000):
            writer.write(
                "update",
                step=step,
                meta_loss=-0.1,
                seconds=1.0,
                waiting=0.5,
                epoch=1,
                evaluations=80 * step,
                refused={"stale": 1},
                accepted=20 * step,
            )
        writer.close()
        path = run_dir / "metrics" / "learner-0.jsonl"
        block = path.read_bytes()
        with open(path, "ab") as file:
            while file.tell() < megabytes << 20:
                file.write(block)
        size = os.path.getsize(path) / 2**20
        print(f"a metrics file of {size:.0f} MiB", flush=True)
        spawn = multiprocessing.get_context("spawn")
        for name in LOOKS:
            process = spawn.Process(target=_look, args=(name, run_dir))
            process.start()
            process.join(300)
            assert process.exitcode == 0, f"{name}: code {process.exitcode}"


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1024)
    chosen = parser.parse_args()
    _run(10, "none")  # compiles
    shares, ratios = [], []
    for _ in range(chosen.repeats):
        seconds, spent, records = _run(chosen.updates, "timed")
        without, _, _ = _run(chosen.updates, "none")
        shares.append(spent / seconds)
        ratios.append(seconds / without)
        each = f"{1e6 * spent / records:.0f} us each with clocks, {spent / seconds:.3%} of the loop"
        print(
            f"{records} records in {seconds:.2f} s: {each}; "
            f"with / without writing {seconds / without:.3f}"
        )
    print(json.dumps({"share": max(shares), "ratios": ratios, "updates": chosen.updates}))
    _huge(chosen.megabytes)


if __name__ == "__main__":
    main()
