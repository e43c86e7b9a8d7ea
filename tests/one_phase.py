"""Configurations of one phase, in one line."""

import dataclasses
from typing import Any

from optimus.config import Phase, TrainConfig


def one_phase(**values: Any) -> TrainConfig:
    """A `TrainConfig`; `estimator`, `meta` and `layout` are those of its only phase."""
    groups = {key: values.pop(key) for key in ("estimator", "meta", "layout") if key in values}
    if groups and "phases" not in values:
        values["phases"] = (Phase(**groups),)
    return TrainConfig(**values)


def with_phase(config: TrainConfig, **changes: Any) -> TrainConfig:
    """The configuration with fields of its only phase changed."""
    (phase,) = config.phases
    return dataclasses.replace(config, phases=(dataclasses.replace(phase, **changes),))
