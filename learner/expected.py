"""What an epoch expects: samples of living actors, of ids that were given out, each in its turn.

Whatever else arrives is a stray: of a left-over process, or of nobody that this run knows.
"""

from collections.abc import Mapping

from optimus.config import Layout
from optimus.wire import Sample


class Expected:
    """See the module docstring.

    Attributes:
      actors: incarnation -> index, of those that have a session in this epoch.

    Args:
      layout: which lanes each actor has.
      ids: episodes of the schedule of a synchronous epoch, where each lane's next window is known;
        None: ids are given out on the way.
    """

    def __init__(self, layout: Layout, ids: range | None) -> None:
        self._lanes, self._per_actor = layout.total_lanes, layout.groups * layout.lanes
        self._ids = range(0) if ids is None else ids
        self._next: dict[int, tuple[int, int]] = {}  # lane -> (episode, window)
        if ids is not None:
            self._next = {lane: (ids.start + lane, 0) for lane in range(self._lanes)}
        self.actors: dict[str, int] = {}

    def give(self, first: int, count: int) -> None:
        """These ids, which follow those before them, have been given out."""
        self._ids = range(self._ids.start if self._ids else first, first + count)

    def problem(self, sample: Sample) -> tuple[str, str] | None:
        """(reason, what is known) of a stray, or None."""
        if self.actors.get(sample.incarnation) != sample.actor:
            return "unknown_actor", f"actor {sample.actor}, life {sample.incarnation!r:.40}"
        if sample.episode not in self._ids:
            return "unknown_episode", f"given out are {self._ids.start} ... {self._ids.stop - 1}"
        if self._next:
            lane = self._lane(sample.episode)
            episode, window = self._next[lane]
            if lane // self._per_actor != sample.actor:
                return "unknown_episode", f"lane {lane} is not of actor {sample.actor}"
            if (sample.episode, sample.window) != (episode, window):
                return "unknown_episode", f"next is window {window} of episode {episode}"
        return None

    def took(self, sample: Sample) -> None:
        """The sample was accepted: its lane moves on."""
        if self._next:
            self._move_on(sample.episode, sample.window, sample.last)

    def resume(self, accepted: Mapping[int, int], still_open: Mapping[int, int]) -> None:
        """The lanes are where these newest windows by episode left them."""
        for episode in sorted(accepted) if self._next else ():
            if episode in self._ids:
                self._move_on(episode, accepted[episode], episode not in still_open)

    def _lane(self, episode: int) -> int:
        return (episode - self._ids.start) % self._lanes

    def _move_on(self, episode: int, window: int, last: bool) -> None:
        next_one = (episode + self._lanes, 0) if last else (episode, window + 1)
        self._next[self._lane(episode)] = next_one
