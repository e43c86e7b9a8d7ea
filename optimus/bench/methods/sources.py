"""Where weights come from, as far as a table must know: their arm, and what they may be scored on.

Arms: `optimus.weights.card.evaluation_split` decides. Weights of arm C
have never seen the functions of one group and are scored on that group only.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from optimus import rundir
from optimus.config import ConfigError, config_hash
from optimus.problems.groups import tag_of
from optimus.rundir import checkpoint
from optimus.weights import LearnedOptimizer
from optimus.weights.card import evaluation_split, held_out_groups

ARMS = ("A", "B", "C")
UNKNOWN = "unknown"  # the card does not say


@dataclass(frozen=True)
class Source:
    """Some weights.

    Attributes:
      name: as in the tables; of a path its last part.
      fingerprint: `LearnedOptimizer.fingerprint`.
      arm: as `evaluation_split` says it.
      config_hash: of the run, where that is known.
      frozen: weights of a file with a card; else a checkpoint, which training may still replace.
    """

    name: str
    fingerprint: str
    arm: str = UNKNOWN
    config_hash: str = ""
    frozen: bool = True


def short_name(name_or_path: str | os.PathLike[str]) -> str:
    """A name as it is; of a path the last part, without suffix, that is not "weights"."""
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        path = path.parent if path.stem == "weights" else path.with_suffix("")
    return path.name


def source_of(model: LearnedOptimizer, name_or_path: str | os.PathLike[str]) -> Source:
    """What is known of loaded weights: from their card, or the configuration of their run."""
    name, card = short_name(name_or_path), model.card
    if "arm" in card or "trained_on" in card:
        known = str(card.get("config_hash", ""))
        arm = str(card.get("arm") or evaluation_split(card["trained_on"]))
        return Source(name, model.fingerprint, arm, known)
    path = Path(name_or_path)
    run_dir = path.resolve().parents[1] if (path / checkpoint.MANIFEST).is_file() else path
    try:
        config = rundir.load_config(run_dir / rundir.CONFIG)
    except ConfigError:
        return Source(name, model.fingerprint)
    arm = evaluation_split(dataclasses.asdict(config.task))
    return Source(name, model.fingerprint, arm, config_hash(config), frozen=False)


def source_for(sources: Mapping[str, Source], function: str) -> Source:
    """The weights that score a function: those of its group's fold, or the only ones."""
    return sources[tag_of(function)] if "" not in sources else sources[""]


def check(
    method: str, sources: Mapping[str, Source], functions: Iterable[str], arm: str = ""
) -> None:
    """Refuses to score weights on what they have seen.

    Args:
      method: name, for the message.
      sources: by group, or under "" for all functions; empty for what is not learned.
      functions: that are to be scored.
      arm: "": arm C on held-out functions only; "A", "B" or "C": and no weights of another arm;
        "any": everything.

    Raises:
      ValueError: one line.
    """
    if arm not in ("", "any", *ARMS):
        raise ValueError(f"unknown arm {arm!r}; known: any, {', '.join(ARMS)}")
    for function in functions if sources and arm != "any" else ():
        source = source_for(sources, function)
        kept, group = held_out_groups(source.arm), tag_of(function)
        if arm and source.arm.partition(":")[0] != arm:
            raise ValueError(f"{method}: {source.name} is of arm {source.arm}, not {arm}")
        if (kept or "" not in sources) and group not in kept:
            raise ValueError(
                f"{method}: {source.name} is of arm {source.arm}, and {function} is of group "
                f"{group}, which it does not hold out; score it on held-out functions, use "
                "heldout:PREFIX, or say --arm any"
            )
