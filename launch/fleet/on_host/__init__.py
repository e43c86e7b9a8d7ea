"""What runs on a fleet's hosts: the standard library only, CPython 3.10.

`program` is sent over a host's standard input:

    python3.10 - "$(echo '{"action": "look", "root": "~/optimus-fleet"}' | base64)" < PROGRAM
"""

import re
from pathlib import Path

_PARTS = ("state", "supervisord", "actions")
_NOT_SENT = r"(?m)^from (?:launch\.fleet\.on_host\.\w+|__future__) import (?:\([^)]*\)|[^\n]*)\n"


def program() -> str:
    """The parts one after the other, without their imports of each other."""
    folder = Path(__file__).parent
    parts = ((folder / f"{name}.py").read_bytes().decode() for name in _PARTS)
    text = re.sub(_NOT_SENT, "", "\n\n".join(parts))
    template = repr((folder / "supervisord.conf").read_bytes())
    text = text.replace('(Path(__file__).parent / "supervisord.conf").read_bytes()', template)
    return f"from __future__ import annotations\n\n{text}"
