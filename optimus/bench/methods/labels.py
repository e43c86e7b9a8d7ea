"""Names of learned methods in tables: "KIND:MODEL", "heldout:PREFIX", "...-s0" for a seed."""

from __future__ import annotations

import re

HELD_OUT = "heldout"
PRINTED_AS = {
    "optimus": "optimus",
    "multistart_optimus": "optimus",
    "optimus_safeguarded": "optimus",
    "optimus_hopping": "optimus",
    "adafactor_mlp": "adafactor_mlp",
}  # kind -> the column of Table 4 that it is held against
_SEED = re.compile(r"(.*)-s(\d+)$")


def kind_in(label: str) -> str:
    """The kind of method that a label begins with; a name without a colon is its own kind."""
    kind = label.partition(":")[0]
    return "optimus" if kind == HELD_OUT else kind


def learned(label: str) -> bool:
    """Whether it is a learned method."""
    return kind_in(label) in PRINTED_AS


def printed_as(label: str) -> str:
    """The column of Table 4 that a method is held against, if there is one of that name."""
    return PRINTED_AS.get(kind_in(label), label)


def base_and_seed(label: str) -> tuple[str, int | None]:
    """A label without the meta-training seed at its end, and that seed: "x-s2" -> ("x", 2)."""
    found = _SEED.fullmatch(label)
    return (found[1], int(found[2])) if found else (label, None)


def fold_name(prefix: str, group: str) -> str:
    """The weights that hold a group out: PREFIX-GROUP; of PREFIX-s0 PREFIX-GROUP-s0."""
    base, seed = base_and_seed(prefix)
    return f"{base}-{group}" + ("" if seed is None else f"-s{seed}")
