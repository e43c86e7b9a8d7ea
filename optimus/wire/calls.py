"""Calls to the head: each names its run, and a refusal is an answer, not an exception."""

import functools
import logging
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optimus.errors import printable
from optimus.wire.codec import CodecError
from optimus.wire.membership import PROTOCOL
from optimus.wire.messages import MAX_CALL_BYTES, T, check_type, decode, encode
from optimus.wire.protocols import Refused

_LOG = logging.getLogger(__name__)
_LONGEST = 500  # characters of a message


@dataclass(frozen=True)
class Call:
    """One call. protocol, run_id: of the caller. arguments: of the method."""

    protocol: int
    run_id: str
    arguments: list[Any]


@dataclass(frozen=True)
class Answer:
    """Answer to a `Call`.

    Attributes:
      status: "ok"; "refused": so would be every other try; "failed": the next one may not be.
      value: what the method returned. message: one line, unless ok.
    """

    status: Literal["ok", "refused", "failed"]
    value: Any = None
    message: str = ""


def received(
    cls: type[T], arguments: Sequence[Any], named: Mapping[str, Any], most: int = MAX_CALL_BYTES
) -> T:
    """The one argument of a call from outside; raises `CodecError` for any other.

    Args:
      cls: the message it is. arguments, named: of the call.
      most: bytes it may have; what is larger is not looked into.
    """
    if named or len(arguments) != 1 or not isinstance(arguments[0], bytes):
        kinds = [type(argument).__name__ for argument in (*arguments, *named.values())]
        raise CodecError(f"want one argument of type bytes, got {', '.join(kinds[:9]) or 'none'}")
    return decode(cls, arguments[0], most)


def require_own(protocol: int, run_id: str, own: str) -> None:
    """Raises `Refused` for a message of another protocol, or of another run than `own`."""
    if protocol != PROTOCOL:
        ours = f"this run's is {PROTOCOL}; install the same version"
        raise Refused(f"protocol {protocol}, {ours}", "protocol")
    if run_id != own:
        raise Refused(f"of run {run_id!r:.40}, this is run {own!r}", "foreign_run")


class Entrance:
    """An object whose `served` methods others may call.

    Attributes:
      exposed: their names, and those of others that take what comes and raise nothing.
      run_id: of this run. refused: calls so far, by reason.
    """

    exposed: tuple[str, ...] = ()

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.refused: Counter[str] = Counter()


def served(method: Callable[..., Any]) -> Callable[..., bytes]:
    """A method of an `Entrance` as others call it: an encoded `Call` in, an encoded `Answer` out.

    What is malformed, of another protocol or of another run does not reach it. Arguments are
    checked against its annotations. A `ValueError` of it refuses the call, any other error says
    that it failed. Nothing is raised.
    """
    name = method.__name__

    @functools.wraps(method)
    def answer(self: Entrance, *arguments: Any, **named: Any) -> bytes:
        try:
            call = received(Call, arguments, named)
            require_own(call.protocol, call.run_id, self.run_id)
            _check(method, call.arguments)
            return encode(Answer("ok", method(self, *call.arguments)))
        except (Refused, ValueError) as error:
            self.refused[error.reason if isinstance(error, Refused) else "malformed"] += 1
            return encode(Answer("refused", message=printable(f"{name}: {error}"[:_LONGEST], "")))
        except Exception as error:  # the caller hears of it, and this process lives on
            what = printable(f"{name}: {type(error).__name__}: {error}"[:_LONGEST], "")
            _LOG.warning(what)
            return encode(Answer("failed", message=what))

    return answer


def _check(method: Callable[..., Any], arguments: list[Any]) -> None:
    hints = typing.get_type_hints(method)
    hints.pop("return", None)
    if len(arguments) != len(hints):
        raise CodecError(f"got {len(arguments)} arguments, want {', '.join(hints) or 'none'}")
    for (name, hint), value in zip(hints.items(), arguments):
        check_type(name, hint, value)
