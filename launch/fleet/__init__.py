"""One run on many hosts, placed by tools that operators already trust: Ansible over SSH with
supervisord on each host, Slurm, Kubernetes. docs/how-to/ssh.md takes a reader through them.

What a user, an inventory or a host names ends up in paths, scripts and configuration files of other
tools. The patterns here say what such names may be; none lets a line end or an option begin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from optimus.errors import ConfigError, require

if TYPE_CHECKING:
    from launch import Say
    from optimus.config import TrainConfig

# (regular expression for the whole text, the same in words)
Pattern = tuple[str, str]
RUN: Pattern = (r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "letters, digits, points and dashes")
HOST: Pattern = (r"[A-Za-z0-9_:\[][A-Za-z0-9_.:%\[\]-]{0,252}", "a name or address of a host")
PATH: Pattern = (r"[\w./+@:,=-]+", "letters, digits and ./+@:,=- in it only")


def configuration(name: str, changes: Sequence[str]) -> TrainConfig:
    """A configuration by name or path, with `--set` changes, that can run on many hosts.

    Raises:
      ConfigError: no such configuration or value, or one that runs in one process only.
    """
    from launch.configs import find
    from launch.runners import actors_cannot
    from optimus.config import override

    config = override(find(name), changes)
    if actors_cannot(config):
        raise ConfigError(f"{config.name!r} runs fused, in one process: use optimus train")
    return config


def require_match(pattern: Pattern, text: str, flag: str) -> None:
    """Raises `ConfigError` unless the text of a flag is printable and has the pattern."""
    shown = text if text.isprintable() else ascii(text)
    fits = shown is text and re.fullmatch(pattern[0], text) is not None
    require(fits, f"{flag} {shown}: want {pattern[1]}")


def usable_workers(config: TrainConfig) -> int:
    """How many loss workers can be busy at once: a lane waits for one loss of each trajectory."""
    most = max(phase.layout.total_lanes * phase.estimator.signs for phase in config.phases)
    return most if config.served else 0


def compare_workers(workers: int, usable: int, say: Say) -> None:
    """Says so where more loss workers are asked for than can be busy, 0: where no loss is served.

    No error: spare ones replace those that are preempted, and actors that join use more.
    """
    if workers > usable > 0:
        most = f"the lanes of this configuration never wait for more than {usable} losses at once"
        idle = f"{usable} would be used, {workers - usable} idle"
        say(f"warning: {workers} loss workers, but {most}: {idle}")


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with each @NAME@ that is among the values replaced."""
    return re.sub(f"@({'|'.join(values)})@", lambda found: str(values[found[1]]), template)
