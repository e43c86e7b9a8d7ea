"""Interfaces between services. Each arrives through a constructor, so a test needs no server."""

from concurrent.futures import Future
from typing import Protocol

from optimus.errors import UserError
from optimus.wire.messages import LossReply, LossRequest, Version


class LossPool(Protocol):
    """Workers that evaluate losses, however many and wherever they are."""

    def submit(self, request: LossRequest) -> Future[LossReply]:
        """Starts an evaluation. Each try has the request's budget. The future ends with a reply;
        with `LossUnavailable` when tries on several workers failed, so that the request itself is
        suspected; or with `NoWorkers` when for long nobody answered anything."""

    def close(self) -> None:
        """Releases threads and connections; pending futures end with `LossUnavailable`."""


class LossUnavailable(UserError, RuntimeError):
    """The request was abandoned; the message names it and the last cause."""


class NoWorkers(UserError, RuntimeError):
    """No worker has answered anything for long; the message says how long and the last cause."""


class Refused(UserError, RuntimeError):
    """The head does not take this process, or a message; one line says why, one word counts it."""

    final = True

    def __init__(self, message: str, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


class Stopped(Exception):
    """The program is stopping: raised out of a wait, caught by the role's `run`."""


class SampleWriter(Protocol):
    """The actor's end of the sample stream."""

    def put(self, sample: bytes, timeout: float) -> bool:
        """Appends one sample; blocks while the stream is full. False when `timeout` s passed:
        the sample may still arrive, so call again with `b""` to wait on, never with the same."""

    def close(self) -> None:
        """Drops what is pending."""


class SampleReader(Protocol):
    """The learner's end of the sample stream: each sample is read once, in order of arrival."""

    def get(self, timeout: float) -> bytes | None:
        """The next sample, or None when `timeout` s passed without one."""

    def close(self) -> None:
        """Stops reading."""


class ParameterSource(Protocol):
    """Where an actor gets its weights and its episode ids: the learner, near or far."""

    def session(self, actor: int, incarnation: str) -> bytes:
        """An encoded `Session` for this life (`incarnation`, new at each start) of an actor. A
        synchronous learner begins a new epoch when it has met another life of the same actor:
        the lanes of the old one are lost, and every update needs all lanes."""

    def parameters(self, have: Version | None) -> tuple[Version, bytes] | None:
        """The newest weights as packed float32 `[P]`, or None when `have` equals their version."""

    def reserve_episodes(self, count: int) -> int:
        """First of `count` consecutive episode ids that nobody else will ever get."""
