"""One run on many hosts, placed by tools that operators already trust: Ansible over SSH with
supervisord on each host, Slurm, Kubernetes. docs/how-to/ssh.md takes a reader through them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from optimus.errors import ConfigError, require

if TYPE_CHECKING:
    from optimus.config import TrainConfig


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


def require_match(pattern: str, text: str, flag: str, wanted: str) -> None:
    """Raises `ConfigError` unless the text of a flag has the pattern.

    Args:
      pattern: a regular expression for the whole text.
      text: what was given.
      flag: such as --time.
      wanted: what would be right.
    """
    require(re.fullmatch(pattern, text) is not None, f"{flag} {text}: want {wanted}")


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with each @NAME@ that is among the values replaced."""
    return re.sub(f"@({'|'.join(values)})@", lambda found: str(values[found[1]]), template)
