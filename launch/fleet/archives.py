"""Archives from hosts: a host may be compromised, so what it packs is not trusted."""

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

_MOST_FILES = 100_000  # in an archive
_LONGEST_NAME = 240  # bytes of one part of a path
_LONGEST_HEADER = 2**20  # bytes of names and attributes before a member
_SPARE = 2**28  # bytes of disk that stay free


class _Header(tarfile.TarInfo):
    """Of a member; refuses sizes below 0, and names and attributes that would fill memory."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
        """See `tarfile`."""
        made = super().frombuf(buf, encoding, errors)
        plain = made.type in tarfile.REGULAR_TYPES
        if made.size < 0 or (made.size > _LONGEST_HEADER and not plain):
            raise tarfile.ReadError(f"a member of {made.size} bytes that is no file")
        return made


def unpack(archive: Path, places: dict[str, Path], ours: list[Path]) -> list[str]:
    """Unpacks each top folder of an archive into its place.

    Plain files only, none outside its place: what comes from a host is not trusted further. Each
    file appears whole or not at all, so a copy that is being watched stays readable.

    Args:
      archive: gzipped.
      places: by the top folder's name.
      ours: files and folders of these places that an archive does not change.

    Returns:
      Names of what was left out.
    """
    left = []
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "r:gz", tarinfo=_Header) as tar:
        for count, member in enumerate(tar, 1):
            free = min(shutil.disk_usage(place).free for place in places.values())
            if count > _MOST_FILES:
                raise tarfile.ReadError(f"more than {_MOST_FILES} files")
            if not 0 <= member.size <= free - _SPARE:
                raise tarfile.ReadError(f"a file of {member.size} bytes, {free} are free")
            target = _target_of(member, places, ours)
            if target is not None:
                _write(tar, member, target)
            elif not member.isdir():
                left.append(member.name)
    return left


def _target_of(member: tarfile.TarInfo, places: dict[str, Path], ours: list[Path]) -> Path | None:
    """Where a member belongs; None for what is no plain file, would lie elsewhere or is ours."""
    first, *rest = PurePosixPath(member.name).parts or ("",)
    plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
    short = all(len(os.fsencode(part)) < _LONGEST_NAME for part in rest)
    inside = first in places and rest and ".." not in rest
    if not (plain and short and inside and member.name.isprintable()):
        return None
    target = places[first].joinpath(*rest)
    real = target.parent.resolve() / target.name  # links that are here may lead elsewhere
    folded = Path(str(real).casefold())  # file systems may not tell A from a
    taken = any(folded.is_relative_to(str(path.resolve()).casefold()) for path in ours)
    return target if real.is_relative_to(places[first].resolve()) and not taken else None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(member)
    assert source is not None  # it is a file
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)  # if it is a link, it leads elsewhere
    try:
        with open(part, "xb") as file:
            shutil.copyfileobj(source, file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
