"""One run on many hosts, placed by tools that operators already trust: Ansible over SSH with
supervisord on each host, Slurm, Kubernetes. docs/fleets.md takes a reader through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimus.config import TrainConfig


def configuration(name: str, changes: Sequence[str]) -> TrainConfig:
    """A configuration by name or path, with `--set` changes, that can run on many hosts.

    Raises:
      ConfigError: no such configuration or value, or one that runs in one process only.
    """
    from launch.configs import find
    from launch.runners import actors_cannot
    from optimus.config import ConfigError, override

    config = override(find(name), changes)
    if actors_cannot(config):
        raise ConfigError(f"{config.name!r} runs fused, in one process: use optimus train")
    return config
