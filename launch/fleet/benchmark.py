"""`optimus bench throughput --fleet`: the real program against many workers that only sleep.

Real Courier, Reverb, learner, actors and coordinator; a small model (N = 32, D = 32, 2 encoders),
so that on a few cores what is measured is the distribution and not the network's arithmetic.
"""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.runners import distributed_missing
from optimus.bench.runtime import steps
from optimus.config import Estimator, Layout, Phase, ServedTask, TrainConfig, to_dict
from optimus.errors import UserError, require, require_positive
from optimus.model.config import OptimizerConfig
from optimus.rundir.metrics import read

if TYPE_CHECKING:
    from launch.cli.bench import FleetSpeed

_PER_PROCESS = 100
_REPEATS = 15  # of the step that is timed
_START = 300.0  # s until workers must be busy
_HEAD = ("coordinator", "learner", "stream")


def configuration(workers: int, sleep: float, actors: int, stagger: bool) -> TrainConfig:
    """The run: lanes 1.25 times the workers over all actors, four groups each.

    Args:
      workers: how many.
      sleep: s of each evaluation.
      actors: how many.
      stagger: whether first evaluations differ in length.
    """
    groups = 4
    lanes = math.ceil(1.25 * workers / (actors * groups))
    layout = Layout(actors, groups, lanes, workers, _PER_PROCESS)
    phase = Phase(estimator=Estimator(noise="rademacher"), layout=layout)
    return TrainConfig(
        name=f"fleet-{workers}",
        task=ServedTask(dim=32, sleep=sleep, stagger=stagger),
        updates=10**6,
        synchronous=False,
        optimizer=OptimizerConfig(dim=32, encoders=2, heads=4, b_decay=0.9),
        phases=(phase,),
        checkpoint_every=50,
        call_timeout=max(10.0, 5 * sleep),
    )


def main(options: FleetSpeed, out: Path) -> int:
    """Runs and reports; see `measure`. Writes `fleet.json` into `out`.

    Args:
      options: of the command line.
      out: folder of the run and the result.
    """
    missing = distributed_missing()
    require(missing is None, f"bench throughput --fleet: {missing}")
    for name in ("workers", "sleep", "actors", "measure"):
        require_positive(getattr(options, name), f"bench throughput --fleet: --{name}")
    config = configuration(options.workers, options.sleep, options.actors, options.stagger)
    out.mkdir(parents=True, exist_ok=True)
    run_dir = out.resolve() / time.strftime(f"{config.name}-%H%M%S")
    measured = measure(config, run_dir, options.measure)
    text = json.dumps(measured)
    (out / "fleet.json").write_text(text + "\n", encoding="utf-8")
    rows = (f"{name:<24}{value}" for name, value in measured.items())
    print(text if options.json else "\n".join(rows))
    return 0


def measure(config: TrainConfig, run_dir: Path, seconds: float) -> dict[str, Any]:
    """Starts the program, waits for steady state, looks twice, stops it.

    Args:
      config: what to run.
      run_dir: where; must not exist yet.
      seconds: between the looks.

    Returns:
      workers, sleep (s), stagger, actors, lanes: the set-up. seconds: length of the measurement.
      worker_utilisation: share of worker time spent in evaluations, 0 ... 1.
      evaluations_per_second, updates_per_second: rates.
      bytes_per_sample: encoded, before Reverb's framing.
      staleness: updates -> samples.
      cores: role -> CPU seconds per second. head_cores: coordinator + learner + stream.
      pool: what the actors' pools counted (since their start).
      step_seconds: one trajectory's Optimus step, model N = 32, D = 32 (as run here) and N = 840,
        D = 128 (the paper's), on one core.
      step_share: step_seconds at N = 840 over `sleep`. actor_cores: cores that the paper's model
        would need to keep these workers busy.
    """
    run_dir.mkdir(parents=True)
    path = run_dir / "request.json"
    path.write_text(json.dumps(to_dict(config)), encoding="utf-8")
    command = [sys.executable, "-m", "launch.cli.main", "train", str(path)]
    command += ["--run-dir", str(run_dir), "--launch", "local_mp"]
    with open(run_dir / "train.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_busy(config, run_dir, process)
        first = _look(run_dir)
        time.sleep(seconds)
        second = _look(run_dir)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return _fleet(config, first, second)


def _wait_until_busy(config: TrainConfig, run_dir: Path, process: subprocess.Popen[bytes]) -> None:
    """Until every worker has had two evaluations on average, and the learner has updated."""
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError(f"the program ended early; see {run_dir / 'train.log'}")
        now = _look(run_dir)
        if now["evaluations"] >= 2 * config.processes.workers and now["step"] >= 2:
            return
        time.sleep(1.0)
    raise UserError(f"no steady state within {_START:.0f} s; see {run_dir / 'logs'}")


def _look(run_dir: Path) -> dict[str, Any]:
    """Counters now; rates are differences of two looks. Times are those of the records."""
    look: dict[str, Any] = {"evaluations": 0, "busy": {}, "updates": [], "pool": Counter()}
    for path in sorted((run_dir / "metrics").glob("*.jsonl")):
        records, role = list(read(path)), path.stem.rpartition("-")[0]
        look["updates"] += [r for r in records if r["event"] == "update"]
        for last in [record for record in records if record["event"] == "alive"][-1:]:
            if role == "physics_worker":
                look["evaluations"] += last["evaluations"]
                look["busy"][path.stem] = (last["time"], last["busy_seconds"], last["evaluations"])
            elif role == "actor":
                look["pool"].update(last["pool"])
    look["step"] = look["updates"][-1]["step"] if look["updates"] else 0
    look["time"], look["cpu"] = time.monotonic(), _cpu(run_dir)
    return look


def _cpu(run_dir: Path) -> dict[str, float]:
    """CPU seconds so far of each role's processes, out of /proc."""
    tick, spent = os.sysconf("SC_CLK_TCK"), dict[str, float]()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().decode().split("\0")
            if words[1:3] != ["-m", "launch.program.node"] or str(run_dir) not in words:
                continue
            fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
            role = words[words.index("--role") + 1]
            spent[role] = spent.get(role, 0.0) + (int(fields[11]) + int(fields[12])) / tick
        except (OSError, ValueError):
            continue  # it has just ended
    return spent


def _fleet(config: TrainConfig, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    layout, task = config.processes, config.task
    seconds = second["time"] - first["time"]
    assert isinstance(task, ServedTask)
    busy, rate = 0.0, 0.0
    for name, (end, spent, evaluations) in second["busy"].items():
        begin, before, had = first["busy"].get(name, (end - 1.0, 0.0, 0))
        busy += (spent - before) / (end - begin)
        rate += (evaluations - had) / (end - begin)
    new = second["updates"][len(first["updates"]) :]
    staleness: Counter[str] = Counter()
    for record in new:
        staleness.update(record["stalenesses"])
    cores = {
        role: round((spent - first["cpu"].get(role, 0.0)) / seconds, 4)
        for role, spent in sorted(second["cpu"].items())
    }
    timed = {f"N {n}, D {d}": step_seconds(n, d) for n, d in ((32, 32), (840, 128))}
    paper = timed["N 840, D 128"]
    return {
        "workers": layout.workers,
        "sleep": task.sleep,
        "stagger": task.stagger,
        "actors": layout.actors,
        "lanes": layout.total_lanes,
        "seconds": round(seconds, 2),
        "worker_utilisation": round(busy / layout.workers, 4),
        "evaluations_per_second": round(rate, 2),
        "updates_per_second": round(len(new) / seconds, 3),
        "bytes_per_sample": new[-1]["sample_bytes"] if new else float("nan"),
        "staleness": dict(sorted(staleness.items(), key=lambda item: int(item[0]))),
        "cores": cores,
        "head_cores": round(sum(cores.get(role, 0.0) for role in _HEAD), 4),
        "pool": dict(second["pool"]),
        "refused": new[-1]["refused"] if new else {},
        "step_seconds": {name: round(value, 6) for name, value in timed.items()},
        "step_share": round(paper / task.sleep, 5),
        "actor_cores": round(layout.workers * paper / task.sleep, 2),
    }


def step_seconds(n: int, dim: int) -> float:
    """Median seconds of a jitted step at N = n with model width `dim`, compilation apart."""
    paper = OptimizerConfig(b_decay=0.9)
    config = paper if dim == paper.dim else replace(paper, dim=dim, encoders=2, heads=4)
    row = steps.learned(config, n, "call")
    return statistics.median(row.sample() for _ in range(_REPEATS))
