"""Configurations that earlier versions wrote, in today's form.

What was removed from the program stands here with the only value that changes nothing: it is
dropped. Any other value asks for something that this version cannot do, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimus.errors import ConfigError

LAST = "7acff6f"  # the last commit that can run what is refused here

# Dotted path of a removed key -> the value at which it did nothing.
REMOVED: dict[str, Any] = {
    "estimator.tail": 0.0,
    "estimator.difference_clip": 0.0,
}
# Dotted path of a key -> values of it that were removed.
REMOVED_VALUES: dict[str, tuple[str, ...]] = {"meta_loss.kind": ("ratio", "raw")}


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `config.json` of any version as this one has them.

    Raises:
      ConfigError: it asks for something that was removed; the line names the last commit that can.
    """
    tree = _without_removed(values, "")
    if isinstance(tree.get("phases"), list):
        tree["phases"] = [
            _without_removed(phase, f"phases.{k}.") if isinstance(phase, Mapping) else phase
            for k, phase in enumerate(tree["phases"])
        ]
    return tree


def _without_removed(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    tree = {key: dict(v) if isinstance(v, Mapping) else v for key, v in values.items()}
    for path, default in REMOVED.items():
        group, _, key = path.partition(".")
        inner = tree.get(group)
        if isinstance(inner, dict) and key in inner and inner.pop(key) != default:
            raise _refusal(where + path, values[group][key])
    for path, gone in REMOVED_VALUES.items():
        group, _, key = path.partition(".")
        inner = tree.get(group)
        if isinstance(inner, dict) and inner.get(key) in gone:
            raise _refusal(where + path, inner[key])
    return tree


def _refusal(path: str, value: Any) -> ConfigError:
    return ConfigError(
        f"{path}: got {value!r}, which this version no longer has; commit {LAST} is the last that "
        "can run it"
    )
