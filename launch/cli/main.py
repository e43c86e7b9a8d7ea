"""The `optimus` command. Exit codes: 0 ok, 1 failure, 2 usage, 3 stale.

Nothing heavy is imported before the command is known, and JAX only after the environment of
`launch.program.environment` is set.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from launch.cli import bench as bench_commands
from launch.cli.evaluate import Eval
from launch.cli.export import Export
from launch.cli.fleet import Fleet
from launch.cli.monitor import Monitor
from launch.cli.render import Render
from launch.cli.report import Report
from launch.cli.sweep import Sweep
from launch.cli.worker import Actor, Worker
from launch.program import environment
from optimus.errors import UserError


@dataclass(frozen=True)
class Train:
    """Meta-train an optimizer.

    The same run directory resumes where the newest complete checkpoint is; a finished run prints
    its result. Examples:

      optimus train smoke
      optimus train physics-small --launch local_mp
      optimus train physics-small --set updates=500 --run-dir runs/longer
    """

    config: tyro.conf.Positional[str]
    """A name (smoke, physics-small, classical, ...) or the path of a resolved config.json."""
    run_dir: Path | None = None
    """Where the run lives; default runs/<config>."""
    launch: str | None = None
    """inprocess: one process, no servers. local_mt: Courier and Reverb in threads. local_mp: a
    process per role, the real thing. fused: losses in JAX only, an update is one compiled program.
    Default: fused for configurations that only it can run; else local_mp where it is installed,
    else inprocess."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Override one value: --set meta.batch=8 (repeatable; the value is JSON or a bare word)."""
    isolate: bool = True
    """Let a local_mp run enter a network namespace of its own, so that nobody else can reach its
    unauthenticated ports."""
    port: int | None = None
    """First port of the servers; default: free ones."""
    advertise: str | None = None
    """Name or address under which other hosts reach this one, so that they can join by `optimus
    worker`. Opens the ports to all who can reach them: see docs/elastic-pool.md."""
    prometheus: str | None = None
    """PORT or HOST:PORT of a Prometheus endpoint that lives as long as the run, with /metrics and
    /healthz; the host is 127.0.0.1 unless given. `optimus monitor` does the same from outside."""


@dataclass(frozen=True)
class Watch:
    """Look at a run: progress, meta-loss, workers alive, age of the newest checkpoint.

    Reads files only: works on a running, finished or copied run directory. Exit code 3 when a
    running run's newest checkpoint is older than --max-age.
    """

    run_dir: tyro.conf.Positional[Path]
    """The run's directory."""
    once: bool = False
    """Print once and end."""
    json: bool = False
    """Print one JSON object and end."""
    max_age: float = 600.0
    """Age of the newest checkpoint, in seconds, from which a running run counts as stale."""


@dataclass(frozen=True)
class Doctor:
    """Load every native library, do one round trip through each engine, say what is wrong."""

    quick: bool = False
    """Leave out the small real run at the end (about 40 s)."""


def _say(line: str) -> None:
    print(line, file=sys.__stdout__, flush=True)  # also while a library's prints are redirected


def _train(arguments: Train) -> int:
    from launch import runners
    from launch.configs import find
    from launch.runners import train as trains
    from optimus.config import override

    config = override(find(arguments.config), arguments.set)
    launch = arguments.launch or runners.default(config)
    missing = runners.distributed_missing()
    if arguments.launch is None and launch == "inprocess" and missing:
        _say(f"running in process; {missing}")
    if launch not in runners.LAUNCH_TYPES:
        print(
            f"optimus: --launch {launch}: want one of {', '.join(runners.LAUNCH_TYPES)}",
            file=sys.stderr,
        )
        return 2
    if launch == "fused":
        layouts = [phase.layout for phase in config.phases]
        environment.deal_to(max(layout.actors * layout.groups for layout in layouts))
    run_dir = (arguments.run_dir or Path("runs") / config.name).resolve()
    endpoint = None
    if arguments.prometheus is not None:  # before the namespace: scrapers stay outside
        from launch.monitoring import prometheus

        host, port = prometheus.place(arguments.prometheus)
        endpoint = prometheus.open_server(run_dir, port, host, max_age=600.0)
    sealed = arguments.isolate and arguments.advertise is None
    if launch == "local_mp" and sealed and missing is None:
        from launch.program.network_namespace import enter_network_namespace

        reason = enter_network_namespace()
        if reason:
            _say(reason)
    with contextlib.ExitStack() as stack:
        if endpoint is not None:
            stack.enter_context(prometheus.serving(endpoint))
            _say(f"http://{host}:{endpoint.server_address[1]}/metrics")
        trains.train(config, run_dir, launch, _say, arguments.port, arguments.advertise)
    return 0


def _dispatch(
    arguments: Train
    | Watch
    | bench_commands.Bench
    | Render
    | Doctor
    | Sweep
    | Worker
    | Actor
    | Eval
    | Report
    | Export
    | Monitor
    | Fleet,
) -> int:
    if isinstance(arguments, Train):
        return _train(arguments)
    if isinstance(arguments, bench_commands.Bench):
        return bench_commands.run(arguments)
    if isinstance(arguments, (Render, Sweep, Worker, Actor, Eval, Report, Export, Monitor, Fleet)):
        return arguments.run(_say)
    if isinstance(arguments, Watch):
        from launch.monitoring.watch import watch

        return watch(arguments.run_dir, arguments.once, arguments.json, arguments.max_age)
    from launch.doctor import doctor

    return doctor(quick=arguments.quick)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    environment.apply()  # JAX reads these when it is imported
    arguments = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Sweep, tyro.conf.subcommand("sweep")]
        | Annotated[Worker, tyro.conf.subcommand("worker")]
        | Annotated[Actor, tyro.conf.subcommand("actor")]
        | Annotated[Fleet, tyro.conf.subcommand("fleet")]
        | Annotated[Watch, tyro.conf.subcommand("watch")]
        | Annotated[Eval, tyro.conf.subcommand("eval")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Export, tyro.conf.subcommand("export")]
        | Annotated[Monitor, tyro.conf.subcommand("monitor")]
        | Annotated[bench_commands.Bench, tyro.conf.subcommand("bench")]
        | Annotated[Render, tyro.conf.subcommand("render")]
        | Annotated[Doctor, tyro.conf.subcommand("doctor")],  # type: ignore[arg-type]
        prog="optimus",
        description="Optimus: a learned optimizer and the system that meta-trains it.",
        args=argv,
    )
    try:
        code = _dispatch(arguments)  # type: ignore[arg-type]
    except UserError as error:
        print(f"optimus: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("optimus: interrupted", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Launchpad's and Courier's threads and pending calls would keep the interpreter from ending.
    served = {"launchpad", "courier"} & sys.modules.keys()
    os._exit(code) if served else sys.exit(code)


if __name__ == "__main__":
    main()
