"""The `optimus` command. Exit codes: 0 ok, 1 work failed, 2 a wrong name or value, 3 stale.

Nothing heavy is imported before the command is known, and JAX only after the environment of
`launch.program.environment` is set.
"""

import contextlib
import dataclasses
import errno
import functools
import io
import operator
import os
import re
import sys
from pathlib import Path
from typing import Any, Protocol

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
from optimus.errors import UserError, printable, require
from optimus.files import path_of, refused


class Command(Protocol):
    """A dataclass of arguments that knows how to run itself."""

    def run(self, say: Say) -> int:
        """The exit code; an error that is one line for the user is raised as a `UserError`."""


COMMANDS: tuple[type[Command], ...] = (
    *(Train, Configs, Sweep, Worker, Actor, Fleet, Watch),
    *(Eval, Report, Export, Monitor, Bench, Render, Doctor),
)


_VALUELESS = re.compile(r"--[\w-]+=")
_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of what takes our lines


def _say(line: str) -> None:
    # Also while a library's prints are redirected.
    print(printable(line), file=sys.__stdout__, flush=True)


def parse(argv: list[str] | None) -> Command:
    """The command that the words ask for; ends the process with code 2 at a mistake in them."""
    choice: Any = functools.reduce(operator.or_, COMMANDS)
    about = "Optimus: a learned optimizer and the system that meta-trains it."
    chosen: Command = tyro.cli(choice, prog="optimus", description=about, args=argv)
    return chosen


def _check(words: Any, name: str = "") -> None:
    """Raises `ConfigError` where a path among the words cannot be one."""
    if isinstance(words, Path):
        path_of(words, f"--{name.replace('_', '-')}")
    elif dataclasses.is_dataclass(words):
        for field in dataclasses.fields(words):
            _check(getattr(words, field.name), field.name)


def _failed(why: object, code: int = 1) -> int:
    with contextlib.suppress(OSError):
        print(f"optimus: {why}", file=sys.stderr)
    return code


def _run(words: list[str]) -> int:
    """The exit code; whatever is wrong is one line on standard error."""
    try:
        for before, word in zip(("optimus", *words), words):
            require(word != "", f"an empty word after {before}: leave it out, or give a value")
            require(not _VALUELESS.fullmatch(word), f"{word}: give a value after the =")
        if words == ["--version"]:
            import optimus

            _say(f"optimus {optimus.__version__}")
            return 0
        command = parse(words)
        _check(command)
        return command.run(_say)
    except UserError as error:
        return _failed(error, error.exit_code)
    except KeyboardInterrupt:
        return _failed("interrupted")
    except OSError as error:
        if error.filename is not None:
            found = refused(error.filename, error)
            return _failed(found, found.exit_code)
        if error.errno not in _OUTPUT:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno == errno.EPIPE:  # who read our lines has enough of them
            return 1
        return _failed(f"cannot write this: {error.strerror}")


def _open_standard_streams() -> None:
    """Those that were closed, as a daemon's are, lead nowhere; no other file gets their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)  # processes of a run have them too
            stream = os.fdopen(number, mode, encoding="utf-8")
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    words = sys.argv[1:] if argv is None else argv
    _open_standard_streams()
    for stream in {sys.stdout, sys.stderr, sys.__stdout__}:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale cannot write
    environment.apply()  # JAX reads these when it is imported
    code = _run(words)
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:  # a run that went on without anybody to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    # Launchpad's and Courier's threads and pending calls would keep the interpreter from ending.
    served = {"launchpad", "courier"} & sys.modules.keys()
    os._exit(code) if served else sys.exit(code)


if __name__ == "__main__":
    main()
