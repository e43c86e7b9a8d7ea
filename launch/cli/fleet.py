"""`optimus fleet ...`: the arguments of each command, and nothing that takes time to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from launch import Say
from launch.fleet import RUN, configuration, require_match
from launch.fleet.kubernetes import Kubernetes
from launch.fleet.slurm import Slurm
from optimus.errors import require


@dataclass(frozen=True)
class _Hosts:
    inventory: Path
    """The hosts: an Ansible inventory whose group `head` holds one of them, or the output of
    `gcloud compute instances list --format=json`."""
    external: bool = False
    """Reach instances of a JSON list at their public addresses."""

    def _load(self):  # type: ignore[no-untyped-def]
        from launch.fleet import inventory

        return inventory.load(self.inventory, self.external)


@dataclass(frozen=True)
class Deploy(_Hosts):
    """Install the pinned environment on every host; hosts that have it are left alone.

    The wheelhouse is built once, here, in a checkout after `make native`. Hosts need CPython 3.10
    and an SSH server: no compiler, no package index. Example:

      optimus fleet deploy --inventory hosts.yaml
    """

    wheelhouse: Path | None = None
    """A wheelhouse that was built before; default: build/fleet/, built when something changed."""

    def run(self, say: Say) -> int:
        """Builds what is missing, then installs."""
        from launch.fleet import actions, wheelhouse

        hosts = self._load()
        if self.wheelhouse:
            house = wheelhouse.read(self.wheelhouse)
        else:
            house = wheelhouse.build(wheelhouse.REPOSITORY / "build/fleet", say)
        return 0 if actions.deploy(hosts, house, say) else 1


@dataclass(frozen=True)
class Start(_Hosts):
    """Start a run on the fleet; again: resume it, and add hosts that are new or were down.

    The host of the group `head` trains (`optimus train --launch local_mp`), the others serve
    losses (`optimus worker`), all under supervisord, which restarts and logs them. Examples:

      optimus fleet start physics-flagship --inventory hosts.yaml
      optimus fleet start physics-small --set layout.lanes=64 --inventory hosts.yaml --run big
    """

    config: tyro.conf.Positional[str] = "physics-small"
    """As for `optimus train`: a name, or the path of a config.json."""
    run_name: Annotated[str | None, tyro.conf.arg(name="run")] = None
    """Name of the run on the hosts; default: the configuration's."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Override one value: --set meta.batch=8 (repeatable)."""
    port: int = 20100
    """First port of the head's servers: coordinator, learner, stream, then its own workers."""
    worker_port: int = 21000
    """First port of the workers on each host."""
    per_process: int = 4
    """Workers in one process."""

    def run(self, say: Say) -> int:
        """Looks at every host, refuses or starts."""
        from launch.fleet import starting

        config = configuration(self.config, self.set)
        name = self.run_name or config.name
        require_match(RUN, name, "--run")
        require(1 <= self.per_process <= 1024, f"--per-process {self.per_process}: want 1 ... 1024")
        ports = (self.port, self.worker_port)
        well = starting.start(self._load(), config, name, *ports, self.per_process, say)
        return 0 if well else 1


@dataclass(frozen=True)
class Status(_Hosts):
    """What every host does and how far the run is; exit code 1 when something is not as started."""

    def run(self, say: Say) -> int:
        """Changes nothing."""
        from launch.fleet import actions

        return 0 if actions.status(self._load(), say) else 1


@dataclass(frozen=True)
class Logs(_Hosts):
    """The newest lines of the logs of every process on every host."""

    host: str | None = None
    """Of this host only."""
    lines: int = 10
    """Of each log."""
    run_name: Annotated[str | None, tyro.conf.arg(name="run")] = None
    """Default: the run that is there."""

    def run(self, say: Say) -> int:
        """Changes nothing."""
        from launch.fleet import actions

        hosts = self._load()
        chosen = [host for host in hosts if self.host in (None, host.name)]
        require(bool(chosen), f"--host {self.host}: not in {self.inventory}")
        require(1 <= self.lines <= 100_000, f"--lines {self.lines}: want 1 ... 100000")
        return 0 if actions.logs(chosen, self.run_name, self.lines, say) else 1


@dataclass(frozen=True, kw_only=True)
class Scale(_Hosts):
    """Change the number of loss workers while the run goes on. Example:

    optimus fleet scale 24 --inventory hosts.yaml
    """

    total: tyro.conf.Positional[int]
    """Workers on all worker hosts together, spread by their cores. 0 leaves the head alone."""

    def run(self, say: Say) -> int:
        """Starts and stops processes; those with as many workers as before go on."""
        from launch.fleet import starting

        require(0 <= self.total <= 100_000, f"scale {self.total}: want 0 ... 100000 workers")
        return 0 if starting.scale(self._load(), self.total, say) else 1


@dataclass(frozen=True)
class Collect(_Hosts):
    """Copy the run directory and all logs here; the run goes on."""

    run_name: Annotated[str | None, tyro.conf.arg(name="run")] = None
    """Default: the run that is there."""
    run_dir: Path | None = None
    """Where to; default runs/<run>."""

    def run(self, say: Say) -> int:
        """Fetches one archive from each host."""
        from launch.fleet import actions

        return 0 if actions.collect(self._load(), self.run_name, self.run_dir, say) else 1


@dataclass(frozen=True)
class Stop(_Hosts):
    """End every process on every host; files stay there, `start` resumes. Collects the run first.

    Machines cost money until they are deleted, with a command of the cloud: docs/how-to/ssh.md.
    """

    collect: bool = True
    """Bring the run directory and the logs here, once all has ended."""
    run_dir: Path | None = None
    """Where to; default runs/<run>."""

    def run(self, say: Say) -> int:
        """Ends the head first, so that the workers hear of it."""
        from launch.fleet import actions

        hosts = self._load()
        name, well = actions.stop(hosts, say)
        if self.collect and name:
            well = actions.collect(hosts, name, self.run_dir, say) and well
        return 0 if well else 1


@dataclass(frozen=True)
class Fleet:
    """One run on many hosts. Over SSH: deploy, start, status, logs, scale, collect, stop.

    Doing any of these twice is safe. Hosts that are down are named and the others go on. Exit code
    1 when a host could not do its part. `slurm` and `kubernetes` write what those take.
    docs/how-to/ssh.md goes from two machines to 400.
    """

    command: Annotated[
        Deploy | Start | Status | Logs | Scale | Collect | Stop | Slurm | Kubernetes,
        tyro.conf.OmitArgPrefixes,
        tyro.conf.OmitSubcommandPrefixes,
    ]

    def run(self, say: Say) -> int:
        """Runs the chosen command."""
        return self.command.run(say)
