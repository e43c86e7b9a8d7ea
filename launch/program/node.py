"""One node of a running program.

    python -m launch.program.node --role actor --index 0 --run-dir DIR

Started by `launch.program.supervisor` in local runs. Rebuilds the program from `logs/config.json`,
which is what it was started with, and `roster.json`, and runs its own node of it.
"""

import argparse
import functools
import logging
import os
import signal
import sys
import traceback
from pathlib import Path

from launch import Log
from launch.program import exit_record
from launch.program.supervisor import FINAL
from optimus.errors import UserError


def main() -> None:
    """Never returns: ends by `os._exit`, since a pending Courier call would keep the process."""
    parser = argparse.ArgumentParser(prog="python -m launch.program.node", description=__doc__)
    add = functools.partial(parser.add_argument, required=True)
    add("--role", help="label in the program, e.g. learner")
    add("--index", type=int, help="index within the role")
    add("--run-dir", type=Path, help="the run's directory")
    add("--launcher", type=int, help="process to send SIGTERM when the run is done")
    arguments = parser.parse_args()
    role, index, run_dir = arguments.role, arguments.index, arguments.run_dir
    code = 0
    sys.stdout, sys.stderr = Log(1), Log(2)  # so that no line ends a node whose disk is full
    logging.basicConfig(format="%(message)s")  # warnings and worse, into this role's log
    try:
        from launch.program import addresses
        from launch.program.program import build, run_node
        from optimus.rundir import CONFIG, load_config

        program = build(load_config(run_dir / "logs" / CONFIG), run_dir, addresses.read(run_dir))
        run_node(program, role, index, lambda: os.kill(arguments.launcher, signal.SIGTERM))
    except BaseException as error:
        traceback.print_exc()
        message = str(error).splitlines()
        cause = f"{type(error).__name__}: {message[0] if message else ''}"
        exit_record.add_cause(exit_record.path_of(str(run_dir), role, index), cause)
        code = FINAL if isinstance(error, UserError) and error.final else 1
    os._exit(code)


if __name__ == "__main__":
    main()
