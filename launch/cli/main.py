"""The `optimus` command. Exit codes: 0 ok, 1 work failed, 2 a wrong name or value, 3 stale.

Nothing heavy is imported before the command is known, and JAX only after the environment of
`launch.program.environment` is set.
"""

import functools
import operator
import os
import sys
from typing import Annotated, Any, Protocol

import tyro

from launch import Say
from launch.cli.bench import Bench
from launch.cli.doctor import Doctor
from launch.cli.evaluate import Eval
from launch.cli.export import Export
from launch.cli.fleet import Fleet
from launch.cli.monitor import Monitor, Watch
from launch.cli.render import Render
from launch.cli.report import Report
from launch.cli.sweep import Sweep
from launch.cli.train import Configs, Train
from launch.cli.worker import Actor, Worker
from launch.program import environment
from optimus.errors import UserError, printable


class Command(Protocol):
    """A dataclass of arguments that knows how to run itself."""

    def run(self, say: Say) -> int:
        """The exit code; an error that is one line for the user is raised as a `UserError`."""


COMMANDS: tuple[type[Command], ...] = (
    *(Train, Configs, Sweep, Worker, Actor, Fleet, Watch),
    *(Eval, Report, Export, Monitor, Bench, Render, Doctor),
)


def _say(line: str) -> None:
    print(
        printable(line), file=sys.__stdout__, flush=True
    )  # also while a library's prints are redirected


def parse(argv: list[str] | None) -> Command:
    """The command that the words ask for; ends the process with code 2 at a mistake in them."""
    named = (Annotated[kind, tyro.conf.subcommand(kind.__name__.lower())] for kind in COMMANDS)
    choice: Any = functools.reduce(operator.or_, named)
    about = "Optimus: a learned optimizer and the system that meta-trains it."
    chosen: Command = tyro.cli(choice, prog="optimus", description=about, args=argv)
    return chosen


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    words = sys.argv[1:] if argv is None else argv
    if words == ["--version"]:
        import optimus

        print(f"optimus {optimus.__version__}")
        return
    environment.apply()  # JAX reads these when it is imported
    command = parse(words)
    try:
        code = command.run(_say)
    except UserError as error:
        print(f"optimus: {printable(str(error))}", file=sys.stderr)
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
