"""Holds public docstrings to what they promise: shapes of arrays, and `Args` of long signatures.

    python scripts/check_docstrings.py [PATH ...]      # lists what is missing, then the shares

A function is public if neither its name nor its class's begins with an underscore. It is an array
function if an annotation names an array; its docstring (or jaxtyping's annotation) gives a shape in
brackets, such as `[N, D]`, or says "scalar". A function of four and more parameters has `Args:`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("optimus", "workers", "learner", "launch")
_ARRAY = re.compile(r"\b(Array|ndarray|ArrayLike)\b")
_SHAPED = re.compile(r"\[[^\[\]]*\]|\bscalars?\b|\bshapes? of\b|\bas x\b", re.IGNORECASE)
_JAXTYPING = re.compile(r"\b(Float|Int|Bool|Shaped|Num|Key)\[")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(tree: ast.Module) -> Iterator[tuple[str, _Function]]:
    """Qualified name and node of each public function and method of a module."""

    def inside(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, _Function]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from inside(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, _Function) and not node.name.startswith("_"):
                yield f"{prefix}{node.name}", node

    yield from inside(tree.body, "")


def annotations(node: _Function) -> list[str]:
    """The annotations of all parameters and of the result, as text."""
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [each for each in (arguments.vararg, arguments.kwarg) if each]
    found = [ast.unparse(each.annotation) for each in every if each.annotation]
    return found + ([ast.unparse(node.returns)] if node.returns else [])


def parameters(node: _Function) -> int:
    """How many parameters a call may give, `self` and `cls` aside."""
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([each for each in every if each.arg not in ("self", "cls")])


def missing(path: Path) -> tuple[list[str], int, int]:
    """(complaints, array functions, long signatures) of a file."""
    complaints, arrays, long = [], 0, 0
    for name, node in public_functions(ast.parse(path.read_text(encoding="utf-8"))):
        text, types = ast.get_docstring(node) or "", " ".join(annotations(node))
        where = f"{path}:{node.lineno} {name}"
        if _ARRAY.search(types):
            arrays += 1
            if not _SHAPED.search(text) and not _JAXTYPING.search(types):
                complaints.append(f"{where}: no shape")
        if parameters(node) >= 4:
            long += 1
            if "Args:" not in text:
                complaints.append(f"{where}: {parameters(node)} parameters and no Args")
    return complaints, arrays, long


def main(arguments: list[str]) -> int:
    """Lists what is missing; 1 where more than a tenth of the shapes or any `Args` is."""
    files = []
    for place in map(Path, arguments or PACKAGES):
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    complaints, arrays, long = [], 0, 0
    for path in files:
        found, more_arrays, more_long = missing(path)
        complaints, arrays, long = complaints + found, arrays + more_arrays, long + more_long
    shapeless = sum(each.endswith("no shape") for each in complaints)
    without_args = len(complaints) - shapeless
    print(*complaints, sep="\n")
    print(f"array functions with a shape: {arrays - shapeless} of {arrays}")
    print(f"functions of four and more parameters with Args: {long - without_args} of {long}")
    return int(shapeless > arrays / 10 or without_args > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
