"""How many loss workers each host runs."""

from __future__ import annotations

from collections.abc import Mapping


def spread(total: int, cores: Mapping[str, int]) -> dict[str, int]:
    """`total` workers over hosts, as even per core as whole numbers allow.

    Each next worker goes where there would be fewest per core, ties by name, so that a larger total
    never takes a worker from a host.

    Args:
      total: workers, 0 or more. cores: by host, at least 1 each.
    """
    placed = dict.fromkeys(sorted(cores), 0)
    for _ in range(total):
        host = min(placed, key=lambda name: ((placed[name] + 1) / cores[name], name))
        placed[host] += 1
    return placed
