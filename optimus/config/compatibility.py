"""Configurations that earlier versions wrote, in today's form.

What was removed from the program stands here with the only value that changes nothing: it is
dropped. Any other value asks for something that this version cannot do, and is refused.
"""

from collections.abc import Mapping
from typing import Any

from optimus.errors import ConfigError

FORMAT = 2  # of `config.json`; 1: files without the key
PHASE_GROUPS = ("estimator", "meta", "layout")

# Dotted path of a removed key -> the value at which it did nothing.
REMOVED: dict[str, Any] = {
    "estimator.tail": 0.0,
    "estimator.difference_clip": 0.0,
    "optimizer.branch": "encoder",
    "optimizer.coord_pos": "none",
    "optimizer.axes": 0,
}
# Dotted path of a key -> values of it that were removed.
REMOVED_VALUES: dict[str, tuple[str, ...]] = {
    "meta_loss.kind": ("ratio", "raw"),
    "optimizer.time_features": ("paper",),
}


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `config.json` of any version as this one has them, without "format".

    Raises:
      ConfigError: it is of a newer version, or asks for something that was removed; the line names
        the last commit that can.
    """
    tree = dict(values)
    written = tree.pop("format", 1)
    if type(written) is not int or not 1 <= written <= FORMAT:
        raise ConfigError(f"format: got {written!r}, this version of optimus reads 1 to {FORMAT}")
    return tree if written == FORMAT else _in_phases(without_removed(tree))


def _in_phases(tree: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had the estimator, meta-optimizer and layout of a run without phases at the top, and
    every phase said how long it was."""
    alone = {key: tree.pop(key) for key in PHASE_GROUPS if key in tree}
    phases = tree.pop("phases", None) or [alone]
    if isinstance(phases, list) and all(isinstance(phase, Mapping) for phase in phases):
        phases = [without_removed(phase, f"phases.{k}.") for k, phase in enumerate(phases)]
        phases[-1].pop("updates", None)
    return {**tree, "phases": phases}


def layout_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """The first phase's layout in a `config.json` of any version; {} in a damaged one."""
    phases = values.get("phases")
    first = phases[0] if isinstance(phases, list) and phases else values
    layout = (first if isinstance(first, dict) else {}).get("layout", values.get("layout"))
    return layout if isinstance(layout, dict) else {}


def without_removed(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """A tree of values without what is no more.

    Args:
      values: groups of fields by name. where: stands before those names in messages.

    Raises:
      ConfigError: one of these is not at the value that changes nothing.
    """
    tree = {key: dict(v) if isinstance(v, Mapping) else v for key, v in values.items()}
    for path in (*REMOVED, *REMOVED_VALUES):
        group, _, key = path.partition(".")
        inner = tree.get(group)
        if isinstance(inner, dict) and key in inner:
            value = inner.pop(key) if path in REMOVED else inner[key]
            if value != REMOVED.get(path, value) or value in REMOVED_VALUES.get(path, ()):
                why = "which this version no longer has; commit 7acff6f is the last that can run it"
                raise ConfigError(f"{where}{path}: got {value!r}, {why}")
    return tree
