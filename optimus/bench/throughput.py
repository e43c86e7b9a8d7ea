"""Inner steps per second of meta-training by PES, for each learned rule, on one core and on all.

Every cell runs in a process of its own, bound to its cores before JAX starts; what is timed is
whole updates of the fused trainer on Rosenbrock's function, compilation apart.
"""

import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal, get_args

from optimus.errors import UserError, require

Rule = Literal["optimus", "adafactor_mlp"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One measurement: a rule, its cores, N, tasks per update (two trajectories each), seconds."""

    rule: Rule
    cores: int
    n: int
    lanes: int
    seconds: float
    dim: int = 32
    encoders: int = 2


def measure(cell: Cell) -> dict[str, Any]:
    """Binds this process to the cell's cores and measures; to be called before JAX is imported."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: cell.cores])
    import jax

    from optimus.config import ClassicalTask, Estimator, Layout, MetaOptimizer, Phase, TrainConfig
    from optimus.meta.fused.trainer import Trainer
    from optimus.model.adafactor_mlp import AdafactorMlpConfig
    from optimus.model.config import PLUS

    plus = dataclasses.replace(PLUS, dim=cell.dim, encoders=cell.encoders)
    rule = plus if cell.rule == "optimus" else AdafactorMlpConfig(hidden=32, step_mult=0.1)
    task = ClassicalTask(functions=("rosenbrock",), sizes=(cell.n,), least_dim=cell.n)
    layout, estimator = Layout(1, 1, cell.lanes, 0), Estimator("pes", truncation=5, horizon=50)
    phase = Phase(estimator=estimator, meta=MetaOptimizer(batch=cell.lanes), layout=layout)
    config = TrainConfig("throughput", task, 1_000_000, phases=(phase,), optimizer=rule)
    trainer = Trainer(config, devices=1)
    for _ in range(2):  # compiles; the second has lanes of the program's own layout
        jax.block_until_ready(trainer.update())
    rates: list[float] = []
    ends = time.monotonic() + cell.seconds
    while len(rates) < 3 or time.monotonic() < ends:
        began, before = time.perf_counter(), trainer.inner_steps
        for _ in range(3):
            found = trainer.update()
        jax.block_until_ready(found)
        rates.append((trainer.inner_steps - before) / (time.perf_counter() - began))
    low, _, high = statistics.quantiles(rates, n=4)
    known = {"rule": cell.rule, "cores": cell.cores, "weights": trainer.rule.layout.size}
    rate, quartiles = round(statistics.median(rates)), f"{low:.0f}-{high:.0f}"
    measured = {"n": cell.n, "lanes": cell.lanes, "inner_steps_per_second": rate}
    return {**known, **measured, "rounds": len(rates), "spread": quartiles}


def in_process_of_its_own(cell: Cell) -> dict[str, Any]:
    """`measure` in a child; raises `UserError` with its last line when it fails."""
    command = [sys.executable, "-m", "optimus.bench.throughput", json.dumps(vars(cell))]
    timeout = 600.0 + 4 * cell.seconds
    done = subprocess.run(command, capture_output=True, errors="replace", timeout=timeout)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UserError(f"throughput of {cell}: {last[0]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(n: int, lanes: int, seconds: float, out: Path) -> int:
    """Measures every rule on one core and on all, prints and writes a table.

    Args:
      n: N of the tasks, at least 4.
      lanes: tasks per update, two trajectories each.
      seconds: least time per row, beside compilation.
      out: folder of `meta_throughput.csv` and `.md`.
    """
    from optimus.bench import cores
    from optimus.bench.storage import markdown_table, write_csv

    possible = n >= 4 and lanes >= 1 and 0 < seconds < math.inf
    require(possible, f"need n >= 4, lanes >= 1, seconds > 0: {n}, {lanes}, {seconds}")
    rows = [
        in_process_of_its_own(Cell(rule, count, n, lanes, seconds))
        for count in sorted({1, cores()})
        for rule in RULES
    ]
    out.mkdir(parents=True, exist_ok=True)
    path = write_csv(out / "meta_throughput.csv", rows)
    text = "\n".join(markdown_table(rows)) + "\n"
    (out / "meta_throughput.md").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{text}wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Cell(**json.loads(sys.argv[1])))) + "\n")
