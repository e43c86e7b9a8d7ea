"""The page's HTML pieces, from `page.html`, filled so that nothing out of a file can be markup."""

import functools
import html
import re
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

_FILE = Path(__file__).with_name("page.html")


class Html(str):
    """Text that is markup already; any other text is escaped when it is filled in."""


def join(parts: Iterable[Html], separator: str = "") -> Html:
    """Pieces one after the other, empty ones left out."""
    return Html(separator.join(part for part in parts if part))


def fill(piece: str, /, **values: object) -> Html:
    """The piece that `page.html` has under this name, with $words replaced; a word that is missing
    or unknown is a `KeyError`."""
    known = {key: escape(value) for key, value in values.items()}
    return Html(_pieces()[piece].substitute(known))


def escape(value: object) -> Html:
    """Any value as markup."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


@functools.cache
def _pieces() -> dict[str, string.Template]:
    _, *parts = re.split(r"(?m)^<!-- == (\w+) -->\n", _FILE.read_text(encoding="utf-8"))
    return {k: string.Template(text.rstrip("\n")) for k, text in zip(parts[::2], parts[1::2])}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """All columns but the first hold numbers; a cell that begins with "*" is its row's best."""

    def cell(k: int, value: object) -> Html:
        text = str(value)
        kind = " ".join(["n"] * (k > 0) + ["best"] * text.startswith("*"))
        return fill("cell", kind=kind, text=text.removeprefix("*"))

    top = join(fill("column", kind="n" if k else "", text=text) for k, text in enumerate(head))
    lines = (join(cell(k, value) for k, value in enumerate(row)) for row in rows)
    return fill("table", head=top, rows=join(fill("row", cells=cells) for cells in lines))
