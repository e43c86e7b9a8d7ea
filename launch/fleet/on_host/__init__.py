"""What runs on a fleet's hosts: the standard library only, CPython 3.10.

`program` is sent over a host's standard input:

    python3.10 - "$(echo '{"action": "look", "root": "~/optimus-fleet"}' | base64)" < PROGRAM
"""

from __future__ import annotations

import re
from pathlib import Path

_PARTS = ("state", "supervisord", "actions")
_NOT_SENT = re.compile(
    r"^from (?:launch\.fleet\.on_host\.\w+|__future__) import (?:\([^)]*\)|[^\n]*)\n", re.MULTILINE
)


def program() -> str:
    """The parts one after the other, without their imports of each other."""
    texts = (Path(__file__).with_name(f"{name}.py").read_text() for name in _PARTS)
    return "from __future__ import annotations\n\n" + _NOT_SENT.sub("", "\n\n".join(texts))
