"""The distributed runner: a Launchpad program in threads (local_mt) or processes (local_mp)."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from optimus import rundir
from optimus.config import TrainConfig, to_dict
from optimus.errors import UserError
from optimus.rundir import checkpoint


class RunFailed(UserError, RuntimeError):
    """A node failed; the message is one line with the cause and the log to read."""


def run(
    config: TrainConfig,
    run_dir: Path,
    launch: str,
    base_port: int | None = None,
    advertise: str | None = None,
) -> bool:
    """Trains until done or stopped; True when done. Launchpad handles the signals.

    Args:
      config: what to run.
      run_dir: where.
      launch: "local_mt" or "local_mp".
      base_port: first port of the servers, or None for free ones.
      advertise: name of this host for others that join, or None for this host alone.

    Raises:
      RunFailed, addresses.PortInUse: one clear line each.
    """
    from launch.program import addresses as rosters
    from launch.program import exit_record

    roster = rosters.choose(config, base_port, advertise or "localhost")
    roster.write(run_dir)
    logs = run_dir / "logs"
    os.environ["LAUNCHPAD_LOGGING_DIR"] = str(logs)  # read when launchpad is imported
    from launch.program import program as programs

    began = time.time()
    logs.mkdir(exist_ok=True)
    # What a restarted node runs, whatever becomes of the run's own `config.json` meanwhile.
    checkpoint.write_atomically(logs / rundir.CONFIG, json.dumps(to_dict(config)) + "\n")
    # Launchpad prints; its lines go beside the roles' logs, ours stay readable.
    with open(logs / "launcher.log", "a", encoding="utf-8") as log, _both_redirected(log):
        failure = programs.launch_and_wait(programs.build(config, run_dir, roster), launch)
    if failure:
        raise RunFailed(exit_record.cause_of_failure(str(run_dir), began) or failure)
    found, _ = checkpoint.load_latest(run_dir / "checkpoints")
    return found is not None and found.step >= config.updates


@contextlib.contextmanager
def _both_redirected(log: TextIO) -> Iterator[None]:
    """Sends Python's stdout and the process's stderr (C++ libraries write there) to a log."""
    sys.stderr.flush()
    saved = os.dup(2)
    os.dup2(log.fileno(), 2)
    try:
        with contextlib.redirect_stdout(log):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
