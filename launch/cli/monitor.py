"""`optimus watch` and `optimus monitor`: the state of a run, read from its files alone."""

import contextlib
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

import tyro

from launch import Say, command, stop_on_signals
from optimus.errors import require, require_within
from optimus.installation import extra_command


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

    def run(self, say: Say) -> int:
        """Exit code 0 or 3; `NotARun` when the path is no run directory."""
        from launch.monitoring.watch import watch

        require_within(self.max_age, 0.0, math.inf, "--max-age")
        return watch(self.run_dir, self.once, self.json, self.max_age)


@dataclass(frozen=True)
class Monitor:
    """Serve a run's metrics to Prometheus, and mirror them as TensorBoard events.

    A process of its own that reads the run directory: start and stop it whenever you like, on any
    machine that sees the files. Examples:

      optimus monitor runs/physics-small
      optimus monitor runs/physics-small --host 0.0.0.0 --port 9464
      tensorboard --logdir runs/physics-small/tensorboard
    """

    run_dir: tyro.conf.Positional[Path]
    """The run's directory."""
    port: int = 9464
    """Of http://HOST:PORT/metrics (and /healthz); 0 for a free one, -1 for no endpoint."""
    host: str = "127.0.0.1"
    """Interface to listen on; 0.0.0.0 for all of them."""
    tensorboard: bool = True
    """Write RUN_DIR/tensorboard."""
    max_age: float = 600.0
    """Age of the newest checkpoint, in seconds, from which a running run counts as stale."""

    def run(self, say: Say) -> int:
        """Exit code; ends with Ctrl-C or SIGTERM."""
        from launch.monitoring import prometheus, tensorboard
        from launch.monitoring.status import read_status

        read_status(self.run_dir)  # `NotARun`: a wrong path is answered at once
        require_within(self.max_age, 0.0, math.inf, "--max-age")
        require(-1 <= self.port <= 65535, f"--port {self.port}: want -1 ... 65535")
        stop = stop_on_signals()
        with contextlib.ExitStack() as stack:
            if self.port >= 0:
                server = prometheus.open_server(self.run_dir, self.port, self.host, self.max_age)
                stack.enter_context(prometheus.serving(server))
                say(f"http://{self.host}:{server.server_address[1]}/metrics")
            if self.tensorboard and importlib.util.find_spec("tensorboardX") is not None:
                say(command("tensorboard", "--logdir", self.run_dir / tensorboard.FOLDER))
                tensorboard.follow(self.run_dir, stop, say=say)
            elif self.tensorboard:
                say(f"no TensorBoard events: {extra_command('monitor')}")
            stop.wait()
        return 0
