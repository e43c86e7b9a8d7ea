"""The system around the optimizer: configurations, runners, program, monitoring, commands."""

import contextlib
import io
import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator

Say = Callable[[str], None]  # takes lines for the user


def command(*words: object) -> str:
    """A command for the user to paste into a shell, whatever is in its words."""
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    data = word.encode("utf-8", "surrogateescape")
    plain = (chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in data)
    return f"$'{''.join(plain)}'"  # as bash and zsh read it


def patient(say: Say) -> Say:
    """`say`, whose lines are lost where nobody takes them (a full disk, a closed pipe): what goes
    on for long does not end for that."""

    def told(line: str) -> None:
        with contextlib.suppress(OSError):
            say(line)

    return told


def stop_on_signals() -> threading.Event:
    """An event that the first SIGINT or SIGTERM sets; the next one is a `KeyboardInterrupt`."""
    stop = threading.Event()

    def handle(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


@contextlib.contextmanager
def handlers_restored() -> Iterator[None]:
    """After the block signals that mean "stop" are handled as before it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def alongside(work: Callable[..., None], *arguments: object) -> Iterator[None]:
    """Runs `work(*arguments, wait)` on a thread until the block ends, as `wait(seconds)` says."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(*arguments, over.wait), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5.0)


class Log(io.TextIOBase):
    """Text to a file descriptor, at once; what a full disk refuses is lost, not raised."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        """Takes all of it."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode(errors="replace"))
        return len(text)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor
