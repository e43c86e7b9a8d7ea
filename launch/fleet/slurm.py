"""`optimus fleet slurm`: one sbatch script out of a configuration. docs/how-to/slurm.md."""

import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from launch import Say, command, fleet
from launch.fleet import require_match
from optimus.errors import require
from optimus.files import folder_of, refused

_TEMPLATE = Path(__file__).with_name("run.sbatch")
_TIME = (r"([0-9]+-)?[0-9]+(:[0-9]+){0,2}", "Slurm's format, such as 24:00:00 or 2-00")
_OPTION = ("--[a-z].*", "an option such as --partition=spot, in one line")


@dataclass(frozen=True)
class Slurm:
    """Write an sbatch script that runs a configuration on a Slurm cluster.

    This environment and the run directory must lie on a disk that all nodes share, as they usually
    do there. docs/how-to/slurm.md says more. Example:

      optimus fleet slurm physics-flagship --nodes 2 --cpus 16 --run-dir /shared/runs/flagship
      sbatch /shared/runs/flagship/run.sbatch
    """

    config: tyro.conf.Positional[str]
    """As for `optimus train`: a name, or the path of a config.json."""
    run_dir: Path | None = None
    """Where the run lives, the script in it; default runs/<config>."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Override one value: --set meta.batch=8 (repeatable)."""
    nodes: int = 2
    """One for the head, the others for loss workers."""
    cpus: int = 8
    """Cores that are asked for on each node."""
    workers: int | None = None
    """Loss workers on each node but the head's; default: one for each core."""
    time: str = "24:00:00"
    """Time limit of one start; the job goes back into the queue until the run is finished."""
    port: int = 20100
    """First port on the head's node: coordinator, learner, stream, then its own workers."""
    address: str | None = None
    """Name under which the others reach the head's node; default: what Slurm calls it."""
    sbatch: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A line for Slurm, such as --sbatch=--partition=spot (repeatable)."""

    def run(self, say: Say) -> int:
        """Writes `request.json` and `run.sbatch` into the run directory."""
        from optimus import rundir
        from optimus.config import to_dict
        from optimus.rundir import checkpoint

        config = fleet.configuration(self.config, self.set)
        run_dir = folder_of(self.run_dir or f"runs/{config.name}", "--run-dir").resolve()
        unserved = f"no worker serves the loss of {config.name!r}: --nodes 1"
        require(config.served or self.nodes <= 1, unserved)
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            script = run_dir / "run.sbatch"
            text = self.script(config.name, run_dir, 3 + (config.processes.workers or 0))
            request = json.dumps(to_dict(config), indent=2) + "\n"
            with rundir.owned(run_dir):  # a job that is put back into the queue reads these again
                rundir.check(run_dir, config)
                done = checkpoint.latest_step(run_dir / "checkpoints") or 0
                finished = f"{run_dir} is at update {done} already: want more, --set updates=N"
                require(done < config.updates, finished)
                checkpoint.write_atomically(run_dir / "request.json", request)
                checkpoint.write_atomically(script, text)
        except OSError as error:
            raise refused(run_dir, error) from None
        own, others = config.processes.workers, (self.nodes - 1) * (self.workers or self.cpus)
        fleet.compare_workers(own + others, fleet.usable_workers(config), say)
        say(f"wrote {script}; next: {command('sbatch', script)}")
        say(f"then: {command('optimus', 'watch', run_dir)}, and scancel to stop")
        return 0

    def script(self, name: str, run_dir: Path, ports: int) -> str:
        """The script's text; raises `ConfigError`."""
        require(1 <= self.nodes <= 10_000, f"--nodes {self.nodes}: want 1 ... 10000")
        require(1 <= self.cpus <= 1024, f"--cpus {self.cpus}: want 1 ... 1024")
        workers = self.cpus if self.workers is None else self.workers
        require(1 <= workers <= 1024, f"--workers {workers}: want 1 ... 1024")
        require_match(_TIME, self.time, "--time")
        last = 65535 - ports
        require(1024 <= self.port <= last, f"--port {self.port}: want 1024 ... {last}")
        require_match(fleet.PATH, str(run_dir), "--run-dir")
        if self.address is not None:
            require_match(fleet.HOST, self.address, "--address")
        for line in self.sbatch:
            require_match(_OPTION, line, "--sbatch")
        values = {
            **vars(self),
            "name": re.sub(r"[^\w.-]", "-", name),
            "script": run_dir / "run.sbatch",
            "run_dir": run_dir,
            "extra": "\n".join(f"#SBATCH {line}" for line in self.sbatch),
            "workers": workers,
            "optimus": shlex.quote(str(Path(sys.prefix) / "bin/optimus")),
            "address": shlex.quote(self.address) if self.address else '"$head"',
        }
        return fleet.fill(_TEMPLATE.read_text(encoding="utf-8"), values)
