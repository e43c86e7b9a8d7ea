"""One node of a running program.

    python -m launch.program.node --role actor --index 0 --run-dir DIR

Started by `launch.program.supervisor` in local runs. Rebuilds the program from the run directory's
`config.json` and `roster.json` and runs its own node of it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from pathlib import Path

from launch.program import exit_record
from launch.program.supervisor import FINAL
from optimus.errors import UserError


def main() -> None:
    """Never returns: ends by `os._exit`, since a pending Courier call would keep the process."""
    parser = argparse.ArgumentParser(prog="python -m launch.program.node", description=__doc__)
    parser.add_argument("--role", required=True, help="label in the program, e.g. learner")
    parser.add_argument("--index", required=True, type=int, help="index within the role")
    parser.add_argument("--run-dir", required=True, type=Path, help="the run's directory")
    parser.add_argument(
        "--launcher", required=True, type=int, help="process to send SIGTERM when the run is done"
    )
    arguments = parser.parse_args()
    code = 0
    logging.basicConfig(format="%(message)s")  # warnings and worse, into this role's log
    try:
        from launch.program import addresses
        from launch.program.program import build, run_node
        from optimus.rundir import CONFIG, load_config

        run_dir = arguments.run_dir
        config = load_config(run_dir / CONFIG)
        program = build(config, run_dir, addresses.read(run_dir))
        run_node(
            program,
            arguments.role,
            arguments.index,
            stop=lambda: os.kill(arguments.launcher, signal.SIGTERM),
        )
    except BaseException as error:
        traceback.print_exc()
        message = str(error).splitlines()
        cause = f"{type(error).__name__}: {message[0] if message else ''}"
        path = exit_record.path_of(str(arguments.run_dir), arguments.role, arguments.index)
        exit_record.add_cause(path, cause)
        code = FINAL if isinstance(error, UserError) and error.final else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
