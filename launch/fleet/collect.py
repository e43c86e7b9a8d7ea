"""Brings a run directory and the hosts' logs home."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath


def unpack(archive: Path, places: dict[str, Path]) -> None:
    """Unpacks each top folder of an archive into its place.

    Plain files only, none outside its place: what comes from a host is not trusted further. Each
    file appears whole or not at all, so a copy that is being watched stays readable.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            first, *rest = PurePosixPath(member.name).parts or ("",)
            if not member.isfile() or first not in places or ".." in rest or not rest:
                continue
            source = tar.extractfile(member)
            assert source is not None  # it is a file
            target = places[first].joinpath(*rest)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            with open(part, "wb") as file:
                shutil.copyfileobj(source, file)
            part.replace(target)
