"""Lanes: which episode each is in, when a new one begins, and how a group of them is saved.

A lane is one episode at a time: a task, a start, a positive and a negative trajectory. Episode ids
and lengths follow from the configuration alone, so that a synchronous run is reproducible.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workers.unroll.base import LaneArrays, arrays_from_names, arrays_to_names


@dataclass
class Lane:
    """Position of one lane.

    Attributes:
      index: global index of the lane, 0 ... total_lanes - 1.
      begun: episodes begun so far by this lane.
      episode: id of the current episode, -1 before the first.
      window: index of the next window in the episode.
      length: windows of the current episode.
      versions: (epoch, step) of the weights of each window of the episode so far.
      over: whether the next window must begin a new episode.
    """

    index: int
    begun: int = 0
    episode: int = -1
    window: int = 0
    length: int = 0
    versions: list[list[int]] = field(default_factory=list)
    over: bool = True


NextEpisode = Callable[[Lane], int]


def scheduled_episodes(first_episode: int, total_lanes: int) -> NextEpisode:
    """Synchronous ids: the k-th episode of lane l is `first_episode + k * total_lanes + l`."""
    return lambda lane: first_episode + lane.begun * total_lanes + lane.index


def reserved_episodes(reserve: Callable[[int], int], block: int = 256) -> NextEpisode:
    """Asynchronous ids: taken in order from blocks the head hands out and never reuses."""
    ids: list[int] = []

    def take(_: Lane) -> int:
        if not ids:
            first = reserve(block)
            ids.extend(range(first + block - 1, first - 1, -1))
        return ids.pop()

    return take


def begin_episode(lane: Lane, episode: int, windows: int) -> None:
    """Moves a lane to a new episode of `windows` windows.

    The first episode of lane l is `l mod windows` windows shorter, so that lanes do not all start
    and end together; the time feature still starts at zero.
    """
    shorter = lane.index % windows if lane.begun == 0 else 0
    lane.begun += 1
    lane.episode, lane.window, lane.length = episode, 0, windows - shorter
    lane.versions, lane.over = [], False


def end_window(lane: Lane, failed: bool) -> bool:
    """Advances past a scored window; True when the episode ended with it."""
    lane.window += 1
    lane.over = failed or lane.window >= lane.length
    return lane.over


class LaneGroup:
    """G lanes that share one compiled program; `arrays` is None before their first window."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.arrays: LaneArrays | None = None

    def save(self, windows: int) -> dict[str, np.ndarray]:
        """Named arrays; `versions` int64 `[G, windows, 2]`, -1 where there is none yet."""
        assert self.arrays is not None
        versions = np.full((len(self.lanes), windows, 2), -1, np.int64)
        for k, lane in enumerate(self.lanes):
            if lane.versions:
                versions[k, : len(lane.versions)] = lane.versions
        rows = [[ln.index, ln.begun, ln.window, ln.length, ln.over] for ln in self.lanes]
        saved = {"lanes": np.asarray(rows, np.int64), "versions": versions}
        saved["episode"] = np.asarray([lane.episode for lane in self.lanes], np.int64)
        arrays = arrays_to_names(self.arrays)
        return saved | {f"arrays/{name}": leaf for name, leaf in arrays.items()}

    def load(self, saved: dict[str, np.ndarray], epoch: int, state_type: Any) -> None:
        """Inverse of `save`.

        Args:
          saved: named arrays, `lanes` int64 `[G, 5]`.
          epoch: of the learner; what the lanes have done counts as done in it.
          state_type: of the rule's state.
        """
        rows, versions = saved["lanes"], saved["versions"]
        for k, (index, begun, window, length, over) in enumerate(rows.tolist()):
            kept = [[epoch, step] for old, step in versions[k].tolist() if old >= 0]
            episode = int(saved["episode"][k])
            self.lanes[k] = Lane(index, begun, episode, window, length, kept, bool(over))
        self.arrays = arrays_from_names(subtree(saved, "arrays/"), state_type)


def subtree(named: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays (of shapes of any kind) whose names begin with `prefix`, by what follows it."""
    return {name[len(prefix) :]: leaf for name, leaf in named.items() if name.startswith(prefix)}
