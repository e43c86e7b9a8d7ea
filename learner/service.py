"""The learner as actors call it: an encoded `Call` in, an encoded `Answer` out. No servers here."""

import reprlib
from typing import Any

from learner.learner import Learner
from optimus.wire import Entrance, Version, served

_MOST_ACTORS = 20_000
_MOST_EPISODES = 2**20  # ids of one call; an actor asks for 256


class Service(Entrance):
    """Checks what comes, then asks the learner; what is refused is counted in its metrics.

    Args:
      learner: who answers. actors: how many there are; None where others may join.
    """

    exposed = ("session", "parameters", "reserve_episodes")

    def __init__(self, learner: Learner, actors: int | None) -> None:
        super().__init__(learner.run_id)
        self._actors = actors or _MOST_ACTORS
        self.learner = learner
        learner.refused_calls = self.refused

    @served
    def session(self, actor: int, incarnation: str) -> bytes:
        """See `ParameterSource.session`."""
        if not 0 <= actor < self._actors or not 0 < len(incarnation) <= 100:
            raise ValueError(f"actor {actor!s:.40} {incarnation!r:.40}; want one of {self._actors}")
        return self.learner.session(actor, incarnation)

    @served
    def parameters(self, have: list[int]) -> list[Any]:
        """See `ParameterSource.parameters`: [] for no version; [], or [epoch, step, weights]."""
        if have and [type(number) for number in have] != [int, int]:
            raise ValueError(f"version {reprlib.repr(have)}; want [epoch, step], or []")
        answer = self.learner.parameters(Version(*have) if have else None)
        return [] if answer is None else [*answer[0], answer[1]]

    @served
    def reserve_episodes(self, count: int) -> int:
        """See `ParameterSource.reserve_episodes`."""
        if not 1 <= count <= _MOST_EPISODES:
            raise ValueError(f"{count!s:.40} episodes; want 1 ... {_MOST_EPISODES}")
        return self.learner.reserve_episodes(count)
