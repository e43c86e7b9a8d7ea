"""Runs the code blocks of Markdown pages, one after the other, as a reader would paste them.

    python scripts/run_pages.py docs/tutorials/minimise.md [...]    # here, in the folder you are in

Blocks marked `python` share one session, blocks marked `sh` go to bash; both share the folder. A
block marked `text` behind one is its output: numbers may differ, `...` stands for anything, and
lines that say how far a run is are not compared.
A block below the comment `<!-- not run: REASON -->` is left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>.*?) -->\n)?"
    r"^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PROGRESS = re.compile(r"^(?:starting \.\.\.|update \d+/\d+).*\n?", re.MULTILINE)
_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?"


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
      language: python, sh or another.
      code: its text.
      line: of its first line of code, from 1.
      output: what the page shows as its output, or None.
      never: why it is not run, or "".
    """

    language: str
    code: str
    line: int
    output: str | None
    never: str


def blocks(text: str) -> list[Block]:
    """The blocks of a page, but those of outputs."""
    found: list[Block] = []
    fences = list(_FENCE.finditer(text))
    for fence, follower in zip(fences, [*fences[1:], None]):
        if fence["language"] == "text":
            continue
        output = None
        if follower and follower["language"] == "text":
            between = text[fence.end() : follower.start()]
            output = None if between.strip() else follower["code"]
        line = text.count("\n", 0, fence.start("code")) + 1
        found.append(Block(fence["language"], fence["code"], line, output, fence["reason"] or ""))
    return found


def agrees(shown: str, printed: str) -> bool:
    """Whether an output is the one that a page shows, but for numbers and what `...` stands for."""

    def pattern(line: str) -> str:
        pieces = re.split(rf"(\.\.\.|{_NUMBER})", " ".join(line.split()))
        return "".join(
            re.escape(piece) if k % 2 == 0 else (".*" if piece == "..." else _NUMBER)
            for k, piece in enumerate(pieces)
        )

    shown, printed = (_PROGRESS.sub("", text).strip() for text in (shown, printed))
    whole = r"\s*".join(pattern(line) for line in shown.splitlines())
    return re.fullmatch(whole, " ".join(printed.split()), re.DOTALL) is not None


class Session:
    """Runs blocks in turn, in one folder and one Python namespace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, Any] = {"__name__": "__page__"}
        self._shells: list[int] = []
        before = os.environ.get("PYTHONPATH", "")
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{before}" if before else str(ROOT),
            "COLUMNS": "80",
        }

    def run(self, block: Block, name: str, code: str) -> str:
        """What the block prints, standard error of commands included; it must not fail.

        Args:
          block: whose language decides how.
          name: of the page, for tracebacks.
          code: what to run.
        """
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as stdout, _in(self._folder):
                lines = "\n" * (block.line - 1)
                exec(compile(lines + code, name, "exec"), self._names)
            return stdout.getvalue()
        # A group of its own: what a block leaves in the background ends with the session.
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._shells.append(shell.pid)
        printed, _ = shell.communicate(timeout=900)
        if shell.returncode:
            raise RuntimeError(f"{name}:{block.line}: exit code {shell.returncode}\n{printed}")
        return printed

    def close(self) -> None:
        """Ends what blocks have left in the background."""
        for group in self._shells:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main(pages: list[str]) -> int:
    """Runs pages as they stand and prints what they print; 1 if an output is not the one shown."""
    session, differing = Session(Path.cwd()), 0
    for page in pages:
        for block in blocks(Path(page).read_text()):
            print(f"== {page}:{block.line}", flush=True)
            if block.never or block.language not in ("python", "sh"):
                print(f"-- not run: {block.never or block.language}")
                continue
            printed = session.run(block, page, block.code)
            print(printed.rstrip())
            if block.output is not None and not agrees(block.output, printed):
                differing += 1
                print("-- differs from the page")
    session.close()
    return 1 if differing else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
