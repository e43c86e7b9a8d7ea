"""A sweep: one configuration with named changes, several seeds, and one budget for all.

A cell is one change (an `Arm`) with one seed. It is an ordinary fused run in a directory of its
own, so it resumes like one and `optimus watch` and `optimus.load` understand it. The cells of a
sweep are judged on the same validation tasks after the same number of inner steps (or updates).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimus.config import Phase, TrainConfig, config_hash, override, to_dict
from optimus.errors import ConfigError, require

BASE = "base"  # the arm without changes, where there is one
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*")  # names of arms are names of directories


@dataclass(frozen=True)
class Arm:
    """Changes to the base configuration: dotted paths, as in `--set`, to JSON values."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    study: str = ""  # arms of one study share a table and a panel


@dataclass(frozen=True)
class Axis:
    """A value and what it may be; `paths` are all set to it where it is not just `name`."""

    name: str
    values: Sequence[Any]
    paths: tuple[str, ...] = ()

    def arm(self, value: Any, study: str) -> Arm:
        """The arm with this value alone changed."""
        changes = dict.fromkeys(self.paths or (self.name,), value)
        shown = value if isinstance(value, str) else json.dumps(value)
        return Arm(f"{self.name.rpartition('.')[2]}={shown}", changes, study)


def grid(*axes: Axis) -> tuple[Arm, ...]:
    """Every combination of the axes' values."""
    arms = []
    for values in itertools.product(*(axis.values for axis in axes)):
        parts = [axis.arm(value, "") for axis, value in zip(axes, values)]
        changes = {path: value for part in parts for path, value in part.changes.items()}
        arms.append(Arm(",".join(part.name for part in parts), changes, "grid"))
    return tuple(arms)


def one_at_a_time(base: TrainConfig, *axes: Axis) -> tuple[Arm, ...]:
    """The base, and every other value of each axis with the rest left as it is; a study an axis."""
    arms = [Arm(BASE)]
    for axis in axes:
        found = [axis.arm(value, axis.name.rpartition(".")[2]) for value in axis.values]
        arms += [arm for arm in found if _changed(base, arm.changes) != base]
    return tuple(arms)


@dataclass(frozen=True)
class Sweep:
    """What to compare; exactly one of `inner_steps` and `updates` is the budget of every cell.

    The budget stretches or shrinks the phases of a cell in proportion; where a phase has a cosine,
    the cosine ends with the phase. Inner steps are counted over all lanes and signs.
    """

    name: str
    base: TrainConfig
    arms: tuple[Arm, ...]
    inner_steps: int = 0
    updates: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)
    validations: int = 10  # per cell, besides the one at the start

    def __post_init__(self) -> None:
        for valid, problem in (
            (bool(_PLAIN.fullmatch(self.name)), "want a name of letters, digits and ._=+-"),
            ((self.inner_steps > 0) != (self.updates > 0), "want one of inner_steps and updates"),
            (bool(self.arms) and bool(self.seeds), "want at least one arm and one seed"),
            (len(set(self.seeds)) == len(self.seeds), f"a seed twice in {self.seeds}"),
            (self.validations >= 1, f"validations: got {self.validations}, want >= 1"),
        ):
            require(valid, f"sweep {self.name}: {problem}")
        names: dict[str, str] = {}  # hash of a configuration -> name of its arm
        for arm in self.arms:
            good = _PLAIN.fullmatch(arm.name) and arm.name not in names.values()
            want = "want a name of letters, digits and ._=,+- that no other arm has"
            require(bool(good), f"sweep {self.name}, arm {arm.name!r}: {want}")
            config = dataclasses.replace(self.config(arm, self.seeds[0]), name="same")
            other = names.setdefault(config_hash(config), arm.name)
            same = f"arms {other} and {arm.name} are the same"
            require(other == arm.name, f"sweep {self.name}: {same}")

    def config(self, arm: Arm, seed: int) -> TrainConfig:
        """The run of a cell; raises `ConfigError`."""
        where = f"sweep {self.name}, arm {arm.name}"
        try:
            config = _changed(self.base, arm.changes)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        for part in ("task", "evaluation"):
            same = getattr(config, part) == getattr(self.base, part)
            changes = f"{where}: changes {part}, which decides the validation tasks"
            require(same, f"{changes}; want the same for all arms, else they cannot be compared")
        config = dataclasses.replace(config, name=f"{self.name}-{arm.name}-{seed}", seed=seed)
        return _budgeted(config, self.inner_steps, self.updates, self.validations)

    def cells(self, out: Path) -> list[Cell]:
        """All cells, a whole seed before the next: a sweep cut short has compared all arms."""
        return [
            Cell(arm, seed, self.config(arm, seed), out / "cells" / arm.name / f"seed-{seed}")
            for seed in self.seeds
            for arm in self.arms
        ]


@dataclass(frozen=True)
class Cell:
    """An arm with a seed: its run and where that lives."""

    arm: Arm
    seed: int
    config: TrainConfig
    run_dir: Path = field(compare=False)

    @property
    def label(self) -> str:
        """For progress lines."""
        return f"{self.arm.name}, seed {self.seed}"


def inner_steps_at(config: TrainConfig, step: int) -> int:
    """Inner steps of a run's first `step` updates."""
    lengths = dataclasses.replace(config, updates=max(1, step)).lengths if step else ()
    return sum(updates * phase.inner_steps for phase, updates in zip(config.phases, lengths))


def _budgeted(config: TrainConfig, inner_steps: int, updates: int, validations: int) -> TrainConfig:
    """The run with as many updates as the budget allows, and its validations spread over them."""
    whole = inner_steps_at(config, config.updates)
    share = inner_steps / whole if inner_steps else updates / config.updates
    lengths = [max(1, round(each * share)) for each in config.lengths]
    phases: list[Phase] = []
    for phase, length in zip(config.phases, lengths):
        warmup, cosine = min(phase.meta.warmup, length), length if phase.meta.cosine else 0
        meta = dataclasses.replace(phase.meta, warmup=warmup, cosine=cosine)
        last = len(phases) == len(lengths) - 1
        phases.append(dataclasses.replace(phase, updates=None if last else length, meta=meta))
    total = sum(lengths)
    every = math.ceil(total / validations)
    return dataclasses.replace(config, phases=tuple(phases), updates=total, checkpoint_every=every)


def _changed(base: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    return override(base, [f"{path}={json.dumps(value)}" for path, value in changes.items()])


def phases_of(*phases: Phase) -> dict[str, Any]:
    """Phases as changes; their updates, the last one's included, are shares of the budget."""
    lasts = dataclasses.replace(phases[-1], updates=None)
    return {
        "phases": [to_dict(phase) for phase in (*phases[:-1], lasts)],
        "updates": sum(phase.updates or 0 for phase in phases),
    }
