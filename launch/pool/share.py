"""Which workers serve which actor: a pure function, so nobody hands out leases that could be lost.

Round-robin over sorted lists keeps shares within one of each other; rendezvous hashing, which moves
fewer workers when the list changes, capped utilisation at 91-94 % (distributed fact sheet, 5).
While actors have seen different lists, two of them may call one worker: it answers "busy".
"""

from __future__ import annotations

from collections.abc import Iterable


def share(workers: Iterable[str], actors: Iterable[str], me: str) -> list[str]:
    """The workers of actor `me`; [] when it is not among the actors.

    With more actors than workers everybody still gets one: worker k mod (number of workers).

    Args:
      workers: addresses. actors: what identifies each actor. me: one of them.
    """
    have, ranked = sorted(set(workers)), sorted(set(actors))
    if me not in ranked or not have:
        return []
    mine = ranked.index(me)
    return have[mine :: len(ranked)] or [have[mine % len(have)]]
