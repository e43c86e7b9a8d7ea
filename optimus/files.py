"""Paths and small JSON files, checked: whatever is wrong with one is a `UserError` of one line.

Every path that a user may type goes through `path_of`, every JSON file through `read_json`.
"""

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optimus.errors import ConfigError, UserError, require

LARGEST = 64 << 20  # bytes of a JSON file
DEEPEST = 64  # lists and objects inside one another; more than fits Python's stack ends a process
_WRONG_PATH = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL, errno.EBUSY),
)
_DIGITS = 1000  # of an integer
_NAME, _PATH = 255, 3840  # bytes: Linux takes 255 and 4095, and folders hold files of ours


def path_of(given: str | os.PathLike[str], where: str = "path") -> Path:
    """The path that a user gave, as this process can open it whatever the locale.

    Args:
      given: as typed, or as a file says it.
      where: names it in messages.

    Raises:
      ConfigError: no file can have this path: it is empty, too long, or has a NUL in it.
    """
    text = os.fspath(given)
    try:
        data = text.encode("utf-8", "surrogateescape")  # undecoded bytes of `sys.argv` among them
    except UnicodeEncodeError:
        raise ConfigError(f"{where} {text!r}: no file can have this name") from None
    require(bool(data), f"{where}: got nothing, want a path")
    require(b"\0" not in data, f"{where} {text!r}: no file can have a NUL in its name")
    longest = max(map(len, data.split(b"/")))
    require(longest <= _NAME, f"{where} {text!r}: a part has {longest} bytes, want at most {_NAME}")
    whole = f"{where} {text!r}: {len(data)} bytes, want at most {_PATH}"
    require(len(data) <= _PATH, whole)
    path = Path(os.fsdecode(data))
    try:
        path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle; no current directory
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{where} {text!r}: {reason}") from None
    return path


def folder_of(given: str | os.PathLike[str], where: str) -> Path:
    """The path of a folder that is there or can be made; raises `ConfigError` as `path_of` does."""
    path = path_of(given, where)
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    wrong = "a folder that cannot be written into" if there.is_dir() else "no folder"
    require(usable, f"{where} {path}: {there} is {wrong}")
    return path


def refused(path: Path, error: OSError) -> UserError:
    """The error for a file that cannot be written: the user's where the path is wrong, else (a full
    disk, say) that of work that failed."""
    kind = ConfigError if error.errno in _WRONG_PATH else UserError
    return kind(f"cannot write {path}: {error.strerror or error}")


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """What a JSON file says.

    Args:
      path: the file.
      largest: bytes it may have.

    Raises:
      ConfigError: it cannot be read, is no ordinary file (a pipe would be waited for), is too
        large, or is not JSON as `parse_json` takes it.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            ordinary = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(largest + 1) if ordinary else b""
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    require(ordinary, f"cannot read {path}: it is no ordinary file")
    require(len(data) <= largest, f"{path} is larger than {largest >> 20} MiB: no file of ours is")
    try:
        return parse_json(data)
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def parse_json(data: bytes | str) -> Any:
    """What JSON text says; NaN and Infinity are read as such.

    Raises:
      ValueError: in one line. No JSON, not UTF-8, nested too deeply, an integer of more than 1000
        digits, or a key twice in an object: of the two, a reader takes one and people another.
    """
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    deep = f"lists and objects are nested more than {DEEPEST} deep"
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        raise ValueError(deep) from None
    if text.count("[") + text.count("{") > DEEPEST and len([*levels(value)]) > DEEPEST:
        raise ValueError(deep)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {key!r} is there twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def levels(tree: Any) -> Iterator[list[Any]]:
    """The dicts, lists and tuples of a tree: first the outermost, then those inside, and so on."""
    level = [tree]
    while inner := [each for each in level if isinstance(each, (dict, list, tuple))]:
        yield inner
        level = [v for each in inner for v in (each.values() if isinstance(each, dict) else each)]
