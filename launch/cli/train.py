"""`optimus train`: meta-trains, resumes, or shows a result; `optimus configs`: what there is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from launch import Say
from launch.fleet import HOST, compare_workers, require_match, usable_workers
from launch.program import environment
from optimus.errors import require, require_known
from optimus.files import folder_of

if TYPE_CHECKING:
    from optimus.config import TrainConfig


@dataclass(frozen=True)
class Configs:
    """List the configurations for `optimus train` and the sweeps for `optimus sweep`."""

    def run(self, say: Say) -> int:
        """Exit code 0."""
        from launch import configs

        runs, sweeps = configs.summaries()
        width = max(map(len, (*runs, *sweeps))) + 2
        for title, found in (("optimus train", runs), ("optimus sweep", sweeps)):
            say(f"{title} ...")
            for name, summary in found.items():
                say(f"  {name:<{width}}{summary}")
        return 0


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
    process per role. fused: losses in JAX only, an update is one compiled program.
    Default: the first of local_mp, inprocess and fused that can run the configuration here."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Override one value: --set meta.batch=8 (repeatable; the value is JSON or a bare word)."""
    isolate: bool = True
    """Let a local_mp run enter a network namespace of its own, so that nobody else can reach its
    unauthenticated ports."""
    port: int | None = None
    """First port of the servers; default: free ones."""
    advertise: str | None = None
    """Name or address under which other hosts reach this one, so that they can join by `optimus
    worker`. Opens the ports to all who can reach them: see docs/explanation/fault-tolerance.md."""
    prometheus: str | None = None
    """PORT or HOST:PORT of a Prometheus endpoint that lives as long as the run, with /metrics and
    /healthz; the host is 127.0.0.1 unless given. `optimus monitor` does the same from outside."""

    def run(self, say: Say) -> int:
        """Exit code 0; whatever prevents the run or ends it is raised as a `UserError`."""
        from launch.configs import find
        from launch.runners import train as trains
        from optimus.config import override

        config = override(find(self.config), self.set)
        usable = self.port is None or 1024 <= self.port <= 65535
        require(usable, f"--port {self.port}: want 1024 ... 65535")
        if self.advertise is not None:
            require_match(HOST, self.advertise, "--advertise")
        launch = self._launch_type(config, say)
        if launch == "fused":
            layouts = [phase.layout for phase in config.phases]
            environment.make_devices(max(layout.actors * layout.groups for layout in layouts))
        compare_workers(config.processes.workers, usable_workers(config), say)
        run_dir = folder_of(self.run_dir or f"runs/{config.name}", "--run-dir").resolve()
        with contextlib.ExitStack() as stack:
            if self.prometheus is None:
                self._isolate(launch, say)
            else:
                from launch.monitoring import prometheus

                host, port = prometheus.place(self.prometheus)
                endpoint = prometheus.open_server(run_dir, port, host, max_age=600.0)
                self._isolate(launch, say)  # afterwards, so that scrapers stay outside
                stack.enter_context(prometheus.serving(endpoint))
                say("http://{}:{}/metrics".format(*endpoint.server_address[:2]))
            trains.train(config, run_dir, launch, say, self.port, self.advertise)
        return 0

    def _launch_type(self, config: TrainConfig, say: Say) -> str:
        from launch import runners

        if self.launch is not None:
            require_known(self.launch, runners.LAUNCH_TYPES, "--launch")
            return self.launch
        chosen, missing = runners.default(config), runners.distributed_missing()
        if chosen == "inprocess" and missing:
            say(f"running in process; {missing}")
        return chosen

    def _isolate(self, launch: str, say: Say) -> None:
        from launch.program.network_namespace import enter_network_namespace
        from launch.runners import distributed_missing

        wanted = self.isolate and self.advertise is None and launch == "local_mp"
        if wanted and distributed_missing() is None and (reason := enter_network_namespace()):
            say(reason)
