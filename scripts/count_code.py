"""Counts the code of the four packages: lines, files, functions, docstrings.

    python scripts/count_code.py [FOLDER ...]

A code line carries at least one token that is neither a comment nor part of a docstring.
"""

from __future__ import annotations

import ast
import statistics
import sys
import tokenize
from pathlib import Path

PACKAGES = ("optimus", "workers", "learner", "launch")
_SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def docstring_lines(node: ast.AST) -> set[int]:
    """Numbers of the lines that a definition's docstring takes."""
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        first = node.body[0]
        return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return set()


def attribute_docstrings(tree: ast.Module) -> set[int]:
    """Numbers of the lines of string statements below a dataclass's fields."""
    found: set[int] = set()
    for node in ast.walk(tree):
        for each in getattr(node, "body", ()) if isinstance(node, ast.ClassDef) else ():
            value = each.value if isinstance(each, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found |= set(range(each.lineno, (each.end_lineno or each.lineno) + 1))
    return found


def code_lines(path: Path) -> tuple[set[int], ast.Module]:
    """Numbers of the code lines of a file, and its tree."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = attribute_docstrings(tree)
    for node in ast.walk(tree):
        silent |= docstring_lines(node)
    lines: set[int] = set()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in _SILENT:
                lines |= set(range(token.start[0], token.end[0] + 1))
    return lines - silent, tree


def main(folders: list[str]) -> int:
    """Prints the table."""
    print("package    files   code  lines median   p90 longest")
    totals = [0, 0, 0]
    everything: list[int] = []
    long_functions: list[tuple[int, str]] = []
    for folder in folders:
        sizes, code = [], 0
        for path in sorted(Path(folder).rglob("*.py")):
            lines, tree = code_lines(path)
            sizes.append(len(path.read_text(encoding="utf-8").splitlines()))
            code += len(lines)
            for node in ast.walk(tree):
                if isinstance(node, _FUNCTIONS):
                    inside = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                    count = len(set(inside) - docstring_lines(node))
                    long_functions.append((count, f"{path}:{node.lineno} {node.name}"))
        full = sorted(size for size in sizes if size > 2) or [0]
        everything += full
        p90 = full[int(0.9 * (len(full) - 1))]
        print(
            f"{folder:<10} {len(sizes):>5} {code:>6} {sum(sizes):>6} "
            f"{statistics.median(full):>6.0f} {p90:>5} {full[-1]:>7}"
        )
        totals = [totals[0] + len(sizes), totals[1] + code, totals[2] + sum(sizes)]
    everything.sort()
    print(
        f"{'all':<10} {totals[0]:>5} {totals[1]:>6} {totals[2]:>6} "
        f"{statistics.median(everything):>6.0f} {everything[int(0.9 * (len(everything) - 1))]:>5} "
        f"{everything[-1]:>7}"
    )
    print("functions over 60 lines outside docstrings:")
    for count, where in sorted(long_functions, reverse=True):
        if count > 60:
            print(f"  {count} {where}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(PACKAGES)))
