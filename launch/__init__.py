"""The system around the optimizer: configurations, runners, program, monitoring, commands."""

import contextlib
import io
import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

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


def run_alone(words: Sequence[str], timeout: float, **options: Any) -> tuple[int | None, str]:
    """Runs a program in a session of its own, all of whose processes end with it.

    Args:
      words: the command.
      timeout: s it may take.
      **options: of `subprocess.Popen`.

    Returns:
      Its exit code, None where the time was up, and what it printed.
    """
    import subprocess  # supervisors import this package, and stay small
    import tempfile

    with tempfile.TemporaryFile() as output:
        options |= {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(words, start_new_session=True, **options)
        try:
            code: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:  # also at Ctrl-C
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return code, output.read().decode(errors="replace")


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
