"""Messages between members (loss workers, actors) and the coordinator."""

from dataclasses import dataclass
from typing import Any, Literal

PROTOCOL = 3  # raised when a message or what it means changes; peers of another one are refused
Role = Literal["worker", "actor"]


@dataclass(frozen=True)
class Member:
    """One loss worker or one actor.

    Attributes:
      role: what it does. address: host:port of a worker; "" for an actor, which nobody calls.
      incarnation: names this life of the process; sorts members, so it is the key.
      index: an actor's number, which decides its lanes; -1 asks for a free one.
    """

    role: Role
    address: str
    incarnation: str
    index: int = -1


@dataclass(frozen=True)
class Heartbeat:
    """Registers members, or says that they are still there.

    Attributes:
      protocol: `PROTOCOL` of the sender.
      config_hash: hash of the sender's configuration, or "" when it has none yet.
      members: each as the fields of a `Member`; one process sends for all of its own.
      have: version of the last `View` seen, "" for none.
      leaving: whether they go now.
      run_id: of the run they belong to.
    """

    protocol: int
    config_hash: str
    members: list[dict[str, Any]]
    have: str = ""
    leaving: bool = False
    run_id: str = ""


@dataclass(frozen=True)
class View:
    """The coordinator's answer.

    Attributes:
      refused: why the sender may not take part, or "".
      stopping: the run is over.
      settled: False while the coordinator is so young that living members may still be missing.
      version: of the list.
      current: whether the sender has that list already, so that `members` is left empty.
      members: fields of every `Member`, sorted.
      indices: incarnation -> index, for the sender's actors.
    """

    refused: str
    stopping: bool
    settled: bool
    version: str
    current: bool
    members: list[dict[str, Any]]
    indices: dict[str, int]


@dataclass(frozen=True)
class Head:
    """Where the head of the run is and what it runs: all that a newcomer needs.

    Attributes:
      protocol: `PROTOCOL` of the head. config: the resolved configuration as JSON.
      learner, stream: host:port. run_id: of the run.
    """

    protocol: int
    config: str
    learner: str
    stream: str
    run_id: str = ""
