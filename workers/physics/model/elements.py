"""XML as elements that know their file and line, so that what is wrong with one is one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np


@dataclass
class Element:
    """An XML element. `attributes` hold the default class's values too, once resolved."""

    tag: str
    attributes: dict[str, str]
    path: Path
    line: int
    children: list[Element] = field(default_factory=list)

    def fail(self, what: str) -> NoReturn:
        """ValueError: file, line, element, what is wrong."""
        name = self.attributes.get("name")
        label = f"<{self.tag} name={name!r}>" if name else f"<{self.tag}>"
        raise ValueError(f"{self.path}, line {self.line}: {label}: {what}")

    def require(self, holds: object, what: str) -> None:
        """Fails unless the condition holds."""
        if not holds:
            self.fail(what)

    def all(self, tag: str) -> list[Element]:
        return [child for child in self.children if child.tag == tag]

    def one(self, tag: str) -> Element:
        """The first child with this tag, which must be there."""
        return next(iter(self.all(tag)), None) or self.fail(f"lacks <{tag}>")

    def get(self, key: str, default: str = "") -> str:
        return self.attributes.get(key, default)

    def numbers(self, key: str, count: int | None, default: str | None = None) -> np.ndarray:
        """The attribute as finite numbers `[count]`; count None: any positive number of them."""
        words = self.attributes.get(key, default)
        if words is None:
            self.fail(f"lacks {key}")
        try:
            values = np.array([float(word) for word in words.split()])
        except ValueError:
            values = np.array([])
        right = len(values) == count if count is not None else len(values) > 0
        want = "finite numbers" if count is None else f"{count} finite number(s)"
        self.require(right and np.isfinite(values).all(), f"{key} needs {want}, got {words!r}")
        return values

    def number(self, key: str, default: float | None = None) -> float:
        text = None if default is None else repr(default)
        return float(self.numbers(key, 1, text)[0])

    def choice(self, key: str, default: str, values: tuple[str, ...]) -> str:
        value = self.get(key, default)
        self.require(value in values, f"{key} is {value!r}, want one of {', '.join(values)}")
        return value

    def known(self, keys: frozenset[str]) -> None:
        """Refuses attributes nobody knows: a misspelt one would change the model silently."""
        for key in sorted(self.attributes.keys() - keys):
            self.fail(f"has no attribute {key!r}")

    def refuse(self, *zero: str) -> None:
        """Refuses attributes that would change the motion, unless they are zero."""
        for key in zero:
            nothing = key not in self.attributes or not self.numbers(key, None).any()
            self.require(nothing, f"{key} is not supported, want 0 or nothing")

    def unit(self, key: str, values: np.ndarray) -> np.ndarray:
        """The vector `[3]` or quaternion `[4]` at length 1; its length must not be zero."""
        norm = float(np.linalg.norm(values))
        self.require(norm >= 1e-10, f"{key} has length zero")
        return values / norm


def parse(path: Path, root: str) -> Element:
    """The root element, of this tag; ValueError with file and line where the XML is broken.

    NUL bytes behind the last tag are not looked at.
    """
    parser = expat.ParserCreate()
    roots: list[Element] = []
    stack: list[Element] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, dict(attributes), path, parser.CurrentLineNumber)
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    try:
        parser.Parse(path.read_bytes().rstrip(b"\0"), True)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except expat.ExpatError as error:
        message = expat.ErrorString(error.code)
        raise ValueError(f"{path}, line {error.lineno}: not well-formed XML ({message})") from error
    roots[0].require(roots[0].tag == root, f"the root element must be <{root}>")
    return roots[0]
