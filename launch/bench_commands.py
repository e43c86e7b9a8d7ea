"""`optimus bench ...`: the arguments of each benchmark, and nothing that takes time to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Classical:
    """The paper's Table 4: 15 functions in 8 dimensions, every method from the same starts.

    Resumable: cells already in OUT are not computed again. Example:

      optimus bench classical --functions rosenbrock,levy --dims 2,10 --starts 16
      optimus bench classical --methods optimus,adafactor_mlp,bfgs --model runs/standin
    """

    preset: str = "paper"
    """paper (the protocol behind the printed table), fair-shift or fair-rotate."""
    functions: str = "all"
    """Names with commas between, such as rosenbrock,dixon_price."""
    dims: str = "2,10,20,50,100,250,500,1000"
    """Dimensions with commas between."""
    methods: str = "bfgs,l_bfgs_b,adam,momentum,return_zero"
    """Names with commas between; a wrong one is answered with the list."""
    model: str = "optimus-standin"
    """Weights of optimus and multistart_optimus: a name, a file, a run directory, or untrained."""
    adafactor_model: str = "adafactor-mlp-standin"
    """Weights of adafactor_mlp, likewise."""
    starts: int = 64
    """Random starts per cell."""
    steps: int = 200
    """Iterations per start."""
    seed: int = 0
    """Seed of the starts."""
    out: Path = Path("runs/classical")
    """Where results.csv, tables and pictures go."""

    def run(self) -> int:
        """Exit code of the benchmark."""
        from optimus.bench import classical, plan

        options = dict(vars(self))
        plan.register_learned(options.pop("model"), options.pop("adafactor_model"))
        return classical.main(**options)


@dataclass(frozen=True)
class Runtime:
    """The paper's Fig. 1: time of one optimizer step against N, beside BFGS and L-BFGS.

    Everything is measured in one run, in interleaved rounds, with the function taken out and
    compilation apart, on one thread. Takes a few minutes; run it on a machine that does nothing
    else.
    """

    dims: str = "2,10,20,50,100,250,500,1000"
    """Dimensions with commas between."""
    repeats: int = 15
    """Interleaved rounds; medians are shown."""
    budget: float = 6.0
    """Seconds that a row may be sampled for in each dimension; slow ones get fewer rounds."""
    out: Path = Path("runs/runtime")
    """Where runtime.csv, runtime.md and runtime.png go."""

    def run(self) -> int:
        """Exit code of the benchmark."""
        from optimus.bench import runtime

        return runtime.main(**vars(self))


@dataclass(frozen=True)
class Physics:
    """Motion windows: optimisers judged by the physics loss and by what is seen, at equal cost.

    Rows: optimus, optimus_safeguarded, adafactor_mlp, bfgs, l_bfgs_b, adam; and, optimising
    nothing, kinematic (the data), pd_tracking (PD control along the data), policy. Resumable.
    Test clips are read only by --split test and --split clips, which say so. Examples:

      optimus bench physics --windows 4
      optimus bench physics --split clips             first second of all clips, 300 evaluations
      optimus bench physics --split test --model runs/physics-small --policy controls.npz
    """

    split: str = "validation"
    """train, validation, test, synthetic (optimum 0), clips; aist, human36m (need --data)."""
    windows: int = 8
    """Windows of the split."""
    seconds: float | None = None
    """Length of a window; default 0.5, clips 1."""
    methods: str | None = None
    """Names with commas between; default all."""
    evaluations: int | None = None
    """Loss evaluations per window; default 200, clips 300."""
    model: str = "optimus-standin"
    """Weights of Optimus: a name, file, checkpoint or run directory."""
    adafactor_model: str = "adafactor-mlp-standin"
    """Weights of Adafactor-MLP, likewise."""
    policy: Path | None = None
    """An .npz with `controls`, or a .py (it is run) with act(q, qd, time) -> PD targets."""
    data: Path | None = None
    """Folder with the licensed files: aist/... and human36m/..."""
    control: str = "pd"
    """pd or torque."""
    target_base: str | None = None
    """PD targets at x = 0: initial (first pose held; default) or reference (default of clips)."""
    start: str = "zero"
    """Rule for x0: zero or noise."""
    seed: int = 0
    """Of noise starts and synthetic windows."""
    out: Path = Path("runs/physics-bench")
    """Where results.csv, curves.csv, table.md and pictures go."""

    def run(self) -> int:
        """Exit code of the benchmark."""
        from workers.physics.benchmark.plan import Settings
        from workers.physics.benchmark.run import main

        given = dict(vars(self))
        out = given.pop("out")
        if self.methods is not None:
            given["methods"] = tuple(name.strip() for name in self.methods.split(","))
        return main(Settings(**given), out)


@dataclass(frozen=True)
class Throughput:
    """Physics: milliseconds per loss and gradient, and what a second thread adds. Meta-training:
    inner steps per second of PES, fused, for Optimus and Adafactor-MLP, on one core and on all.

      optimus bench throughput --loss physics             1 s of motion, 840 controls
      optimus bench throughput --loss physics --seconds 0.25 --threads 1,2,4
      optimus bench throughput --meta --n 20 --lanes 40
    """

    loss: Literal["physics"] | None = None
    """Measure losses."""
    meta: bool = False
    """Measure meta-training."""
    n: int = 10
    """Meta: N of the tasks, at least 4."""
    lanes: int = 20
    """Meta: tasks per update, two trajectories each."""
    seconds: float = 1.0
    """Length of the motion, s. Meta: least time per row, beside compilation."""
    repeats: int = 40
    """Interleaved rounds; medians are shown."""
    threads: str = "1,2"
    """Threads of a batch call, with commas between; ratios are to the first."""
    out: Path = Path("runs/throughput")
    """Where physics.csv, physics_threads.csv and physics.md, or meta_throughput.csv and .md go."""

    def run(self) -> int:
        """Exit code of the benchmark."""
        if self.meta:
            from optimus.fused import throughput as meta

            return meta.main(self.n, self.lanes, self.seconds, self.out)
        if self.loss is None:
            raise ValueError("bench throughput: say what to measure: --loss physics, or --meta")
        from workers.physics.benchmark import throughput

        return throughput.main(self.seconds, self.repeats, self.threads, self.out)


@dataclass(frozen=True)
class Bench:
    """Run a benchmark and write its tables and pictures."""

    which: tyro.conf.OmitArgPrefixes[
        Annotated[Classical, tyro.conf.subcommand("classical")]
        | Annotated[Runtime, tyro.conf.subcommand("runtime")]
        | Annotated[Physics, tyro.conf.subcommand("physics")]
        | Annotated[Throughput, tyro.conf.subcommand("throughput")]
    ]


def run(arguments: Bench) -> int:
    """Runs the chosen benchmark; a mistake in its arguments is a `ConfigError`."""
    from optimus.config import ConfigError

    try:
        return arguments.which.run()
    except ValueError as error:
        raise ConfigError(str(error)) from None
