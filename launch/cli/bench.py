"""`optimus bench ...`: the arguments of each benchmark, and nothing that takes time to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from launch import Say
from optimus.errors import ConfigError, UserError, require, require_positive, require_whole
from optimus.files import folder_of, refused


@dataclass(frozen=True)
class Classical:
    """The paper's Table 4: 15 functions in 8 dimensions, every method from the same starts.

    Resumable: cells already in OUT are not computed again. Example:

      optimus bench classical --functions rosenbrock,levy --dims 2,10 --starts 16
      optimus bench classical --methods optimus,adafactor_mlp,bfgs --model runs/mine
      optimus bench classical --methods optimus:NAME,optimus_safeguarded:NAME-s*,bfgs
      optimus bench classical --methods heldout:PREFIX     by PREFIX-quadratic, PREFIX-power, ...
    """

    preset: Literal["paper", "fair-shift", "fair-rotate"] = "paper"
    """paper: the protocol behind the printed table; fair-...: optima moved, and rotated."""
    functions: str = "all"
    """Names with commas between, such as rosenbrock,dixon_price."""
    dims: str = "2,10,20,50,100,250,500,1000"
    """Dimensions with commas between."""
    methods: str = "bfgs,l_bfgs_b,adam,momentum,return_zero"
    """Names with commas between; a wrong one is answered with the list. KIND:MODEL: a learned one
    with weights of its own."""
    model: str = "optimus-classical"
    """Weights of the optimus methods: a name, a file, a run directory, or untrained."""
    adafactor_model: str = "adafactor-mlp-classical"
    """Weights of adafactor_mlp, likewise."""
    starts: int = 64
    """Random starts per cell."""
    steps: int = 200
    """Iterations per start."""
    seed: int = 0
    """Seed of the starts."""
    split: Literal["held-out", "any"] = "held-out"
    """What weights trained without some groups of functions are scored on: those groups, or any
    function. All other weights are scored on every function."""
    out: Path = Path("runs/classical")
    """Where results.csv, tables and pictures go."""

    def run(self) -> int:
        """Exit code of the benchmark."""
        from optimus.bench.classical import run as classical

        return classical.main(**vars(self))


@dataclass(frozen=True)
class Suite:
    """Unconstrained smooth problems of other libraries, which nothing was trained on, in float64.

    Needs the libraries (pip install sif2jax coco-experiment). Resumable. Examples:

      optimus bench suite --suite sif2jax --methods l_bfgs_b,adam,optimus,optimus_safeguarded
      optimus bench suite --suite coco --starts 5 --most-dim 20 --out runs/coco
    """

    suite: Literal["sif2jax", "coco"] = "sif2jax"
    """sif2jax (CUTEst) or coco (BBOB by central differences; a start is an instance)."""
    methods: str = "l_bfgs_b,adam,optimus,optimus_safeguarded"
    """bfgs, l_bfgs_b, optax_lbfgs, adam, momentum (one rate for all), and learned ones as in
    bench classical."""
    problems: str = "all"
    """Names with commas between."""
    least_dim: int = 2
    """Fewest variables."""
    most_dim: int = 100
    """Most variables."""
    model: str = "optimus-classical"
    """Weights of the optimus methods: a name, a file, a run directory, or untrained."""
    adafactor_model: str = "adafactor-mlp-classical"
    """Weights of adafactor_mlp, likewise."""
    starts: int = 1
    """Starts per problem; the first is the suite's own."""
    steps: int = 200
    """Evaluations per start."""
    seed: int = 0
    """Of the other starts."""
    out: Path = Path("runs/suite")
    """Where results.csv, tables and profiles go."""

    def run(self) -> int:
        """Exit code of the benchmark."""
        from optimus.bench.suite import run as suite

        return suite.main(**vars(self))


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
        from optimus.bench.runtime import run as runtime

        return runtime.main(**vars(self))


@dataclass(frozen=True)
class Physics:
    """Compare optimisers on motion windows, by loss and joint errors, for equal evaluations.

    Rows: optimus, optimus_safeguarded, optimus_start (weights that never saw physics),
    adafactor_mlp, bfgs, l_bfgs_b, adam; and, optimising nothing, kinematic (the data), pd_tracking
    (PD control along the data), policy. Resumable. Where l_bfgs_b is among the rows, the table also
    says how many evaluations the others need for its last value.
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
    model: str = "optimus-physics"
    """Weights of Optimus: a name, file, checkpoint or run directory."""
    adafactor_model: str = "adafactor-mlp-physics"
    """Weights of Adafactor-MLP, likewise."""
    start_model: str = "optimus-classical"
    """Weights of optimus_start, likewise."""
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
        from workers.physics.benchmark import policy
        from workers.physics.benchmark.plan import Settings
        from workers.physics.benchmark.run import main

        if self.policy is not None:
            policy.read(self.policy)
        there = self.data is None or self.data.is_dir()
        require(there, f"--data {self.data}: no such folder")
        given = dict(vars(self))
        out = given.pop("out")
        if self.methods is not None:
            given["methods"] = tuple(name.strip() for name in self.methods.split(","))
        return main(Settings(**given), out)


@dataclass(frozen=True)
class LossSpeed:
    """Options of --loss: milliseconds per loss and gradient, and what a second thread adds."""

    repeats: int = 40
    """Interleaved rounds; medians are shown."""
    threads: str = "1,2"
    """Threads of a batch call, with commas between; ratios are to the first."""


@dataclass(frozen=True)
class MetaSpeed:
    """Options of --meta: inner steps per second of PES, fused, for Optimus and Adafactor-MLP, on
    one core and on all."""

    n: int = 10
    """N of the tasks, at least 4."""
    lanes: int = 20
    """Tasks per update, two trajectories each."""


@dataclass(frozen=True)
class FleetSpeed:
    """Options of --fleet: the real distributed program with workers that only sleep
    (docs/explanation/fault-tolerance.md)."""

    workers: int = 400
    """How many workers, 100 in a process."""
    sleep: float = 4.0
    """Seconds of each evaluation."""
    actors: int = 1
    """How many actors."""
    stagger: bool = True
    """Let each worker's first evaluation take up to twice as long, so that answers come one by one
    as from a real loss; without it all workers answer at once, every time."""
    measure: float = 60.0
    """Seconds of steady state that are measured."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Throughput:
    """Speed of one of three things, which --loss, --meta or --fleet chooses.

    optimus bench throughput --loss physics             1 s of motion, 840 controls
    optimus bench throughput --loss physics --seconds 0.25 --threads 1,2,4
    optimus bench throughput --meta --n 20 --lanes 40
    optimus bench throughput --fleet --workers 400 --sleep 4 --json
    """

    loss: Literal["physics"] | None = None
    """Measure a loss."""
    meta: bool = False
    """Measure meta-training."""
    fleet: bool = False
    """Measure the distributed program."""
    seconds: float = 1.0
    """Length of the motion, s; with --meta: least time per row, beside compilation."""
    out: Path = Path("runs/throughput")
    """Where physics.csv, physics_threads.csv and physics.md, or meta_throughput.csv and .md, or
    fleet.json go."""
    of_loss: LossSpeed = LossSpeed()
    of_meta: MetaSpeed = MetaSpeed()
    of_fleet: FleetSpeed = FleetSpeed()

    def run(self) -> int:
        """Exit code of the benchmark."""
        require_positive(self.seconds, "--seconds", 3600.0)
        if self.fleet:
            from launch.fleet import benchmark as fleet_bench

            return fleet_bench.main(self.of_fleet, self.out)
        if self.meta:
            require_whole(self.of_meta, "--meta", n=(4, 100_000), lanes=(1, 10**6))
            from optimus.bench import throughput as meta

            return meta.main(self.of_meta.n, self.of_meta.lanes, self.seconds, self.out)
        require(self.loss is not None, "bench throughput: want --loss physics, --meta or --fleet")
        from workers.physics.benchmark import throughput

        options = self.of_loss
        return throughput.main(self.seconds, options.repeats, options.threads, self.out)


@dataclass(frozen=True)
class Bench:
    """Run a benchmark and write its tables and pictures."""

    which: Annotated[
        Classical | Suite | Runtime | Physics | Throughput,
        tyro.conf.OmitArgPrefixes,
        tyro.conf.OmitSubcommandPrefixes,
    ]

    def run(self, say: Say) -> int:
        """Runs the chosen benchmark; a mistake in its arguments is a `ConfigError`, a file that
        cannot be read or written a `UserError`."""
        folder_of(self.which.out, "--out")
        try:
            return self.which.run()
        except UserError:
            raise
        except ValueError as error:
            raise ConfigError(str(error)) from None
        except OSError as error:
            raise refused(Path(error.filename or self.which.out), error) from None
